# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""
The `collap` command: `collap COMMAND [arguments]`.

An error of the input is one line and exit status 1; `collap --debug COMMAND ...` shows the traceback.
"""

import importlib
import logging
import os
import sys
import traceback
from argparse import REMAINDER, Action, ArgumentDefaultsHelpFormatter, ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Callable
from pathlib import Path

import torch
from huggingface_hub.errors import StrictDataclassError

# Command -> its function, imported when it is called, and its line of `collap --help`. A function takes the arguments
# and returns the exit status, None for 0.
COMMANDS = {
    "convert-beats": (
        "collap.modeling_collap.convert_beats_checkpoint:convert_beats",
        "convert a BEATs checkpoint of Microsoft to a folder for from_pretrained",
    ),
    "index": ("collap.search.cli:index_songs", "encode the songs of folders, or bring an index up to date"),
    "search": ("collap.search.cli:search_songs", "find songs of an index by descriptions or audio, and the moments"),
    "app": ("collap.search.app:app", "search an index on a page in the browser, and play the moments"),
    "caption": ("collap.captioning.cli:caption", "caption the songs of a folder, with sections: a manifest"),
    "validate": ("collap.data.validation:validate", "decode all songs of a manifest and report every issue"),
    "calibrate": ("collap.search.calibration:calibrate", "fit the match probabilities of a model on held-out songs"),
    "export": ("collap.export.export:export", "write the graphs of a model: ONNX with a search, or torch.export"),
    "publish": ("collap.hub.push:publish", "write a model repository with code and card, and push it to the Hub"),
    "publish-dataset": ("collap.hub.dataset:publish_dataset", "write songs and texts as a data set, and push it"),
}
INPUT_ERRORS = (ImportError, OSError, StrictDataclassError, ValueError)
INTERRUPTED = 130  # the exit status of a program that Ctrl-C ends


class HelpFormatter(ArgumentDefaultsHelpFormatter, RawDescriptionHelpFormatter):
    """Shows the docstring of a script as it stands, and the default of each argument that has one."""

    def _get_help_string(self, action: Action) -> str | None:
        if action.const is False:  # HfArgumentParser adds it to an option that is true by default
            return f"Same as --{action.dest} false."
        return action.help if action.default in (None, []) else super()._get_help_string(action)


def run_script(script: Callable[[], object]) -> None:
    """
    Calls the `main` of a script and leaves the group of its processes. An error of the input is one line there, too,
    unless Python runs with `-X dev`.
    """
    name = Path(sys.argv[0]).name
    try:
        script()
    except INPUT_ERRORS as error:
        if sys.flags.dev_mode or not _is_clear(error):
            raise
        sys.exit(f"{name}: {error}")
    except KeyboardInterrupt:
        print(f"{name}: interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)
    if torch.distributed.is_initialized():  # threads of the group that are alive at the exit abort the process
        torch.distributed.destroy_process_group()


def _is_clear(error: Exception) -> bool:
    """Whether the message of an error says what is wrong: those of PyTorch and numpy do not name the input."""
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    return isinstance(error, OSError) or frame.f_globals["__name__"].partition(".")[0] not in ("numpy", "torch")


def main(arguments: list[str] | None = None) -> int:
    """Runs a command and returns the exit status: 0, or 1 for an error of the input."""
    parser = ArgumentParser("collap", formatter_class=RawDescriptionHelpFormatter)
    width = max(map(len, COMMANDS))
    parser.epilog = "\n".join(f"{name:<{width}}  {summary}" for name, (_, summary) in COMMANDS.items())
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND", help="one of those below")
    parser.add_argument("arguments", nargs=REMAINDER, help="`collap COMMAND --help` lists them")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    module, _, function = COMMANDS[given.command][0].partition(":")
    try:
        status = getattr(importlib.import_module(module), function)(given.arguments) or 0
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of the output, such as `head`, has ended
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (*INPUT_ERRORS, RuntimeError) as error:
        if given.debug or not _is_clear(error):
            raise
        print(f"collap {given.command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"collap {given.command}: interrupted", file=sys.stderr)
        return INTERRUPTED
    return status
