# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""
The `collap` command: `collap COMMAND [arguments]`.

An error of the input is one line and exit status 1; `collap --debug COMMAND ...` shows the traceback.
"""

import importlib
import logging
import sys
from argparse import ArgumentDefaultsHelpFormatter, RawDescriptionHelpFormatter
from collections.abc import Callable

# Command -> where its function is, imported when it is called, and its line of `collap --help`.
COMMANDS = {
    "convert-beats": (
        "collap.modeling_collap.convert_beats_checkpoint:convert_beats",
        "convert a BEATs checkpoint of Microsoft to a folder for from_pretrained",
    ),
    "validate": ("collap.data.validation:validate", "decode all songs of a manifest and report every issue"),
    "card": ("collap.hub.push:print_card", "print the model card of a trained model"),
    "publish": ("collap.hub.push:publish", "write a model repository with code and card, and push it to the Hub"),
}


class HelpFormatter(ArgumentDefaultsHelpFormatter, RawDescriptionHelpFormatter):
    """Shows the docstring of a script as it stands, and the default of each argument."""


def usage() -> str:
    """The text of `collap --help`."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {summary}" for name, (_, summary) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: collap [--debug] COMMAND [arguments]",
            "",
            *lines,
            "",
            "`collap COMMAND --help` lists the arguments of a command; --debug shows the traceback of an error.",
        ]
    )


def load_command(name: str) -> Callable[[list[str]], int | None]:
    """The function of a command: it takes the arguments, and returns the exit status (None is 0)."""
    module, _, function = COMMANDS[name][0].partition(":")
    return getattr(importlib.import_module(module), function)


def main(arguments: list[str] | None = None) -> int:
    """Runs a command and returns the exit status: 0, 1 for an error of the input, 2 for an unknown command."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    debug = given[:1] == ["--debug"]
    given = given[debug:]
    if not given or given[0] in ("-h", "--help"):
        print(usage())
        return 0
    name, rest = given[0], given[1:]
    if name not in COMMANDS:
        print(f"collap: there is no command {name!r}; it must be one of {', '.join(COMMANDS)}.", file=sys.stderr)
        return 2
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        return load_command(name)(rest) or 0
    except (OSError, RuntimeError, ValueError) as error:
        if debug:
            raise
        print(f"collap {name}: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
