# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""
The `collap` command: `collap COMMAND [arguments]`.

An error of the input is one line and exit status 1; `collap --debug COMMAND ...` shows the traceback.
"""

import importlib
import logging
import sys
import traceback
from argparse import REMAINDER, Action, ArgumentDefaultsHelpFormatter, ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Callable
from pathlib import Path

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


class HelpFormatter(ArgumentDefaultsHelpFormatter, RawDescriptionHelpFormatter):
    """Shows the docstring of a script as it stands, and the default of each argument that has one."""

    def _get_help_string(self, action: Action) -> str | None:
        if action.const is False:  # HfArgumentParser adds it to an option that is true by default
            return f"Same as --{action.dest} false."
        return action.help if action.default in (None, []) else super()._get_help_string(action)


def run_script(script: Callable[[], object]) -> None:
    """Calls the `main` of a script; an error of the input is one line there, too, unless Python runs with `-X dev`."""
    try:
        script()
    except (ImportError, OSError, ValueError) as error:
        *_, (frame, _) = traceback.walk_tb(error.__traceback__)
        package = frame.f_globals["__name__"].partition(".")[0]
        clear = ("__main__", "collap", "huggingface_hub", "transformers")  # PyTorch does not say which input is wrong
        if sys.flags.dev_mode or not (isinstance(error, OSError) or package in clear):
            raise
        sys.exit(f"{Path(sys.argv[0]).name}: {error}")


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
        return getattr(importlib.import_module(module), function)(given.arguments) or 0
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        if given.debug:
            raise
        print(f"collap {given.command}: {error}", file=sys.stderr)
        return 1
