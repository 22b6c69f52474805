# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Fetch the test files of the installed transformers: `python tests/hf/fetch_transformers_tests.py`.

They are in transformers' source distribution only, not in its wheel, and go to the git-ignored
`tests/hf/.transformers/`. Without them tests/hf is skipped; in CI (environment variable CI=true) it fails.
"""

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from importlib.metadata import version
from pathlib import Path

FOLDER = Path(__file__).resolve().parent / ".transformers"


def in_ci() -> bool:
    """Whether this is a run of continuous integration, in which nothing may be skipped for a missing download."""
    return os.environ.get("CI", "").lower() in ("1", "true")


def fetched_version() -> str | None:
    """The version of transformers whose test files lie in `FOLDER`; None when there are none."""
    stamp = FOLDER / "VERSION"
    return stamp.read_text() if stamp.is_file() else None


def fetch(wanted: str) -> None:
    """Download the source distribution of transformers `wanted` and put its `tests/` into `FOLDER`.

    Raises:
        subprocess.CalledProcessError: If pip cannot get it.
    """
    with tempfile.TemporaryDirectory() as scratch:
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet"]
        # pip reads the archive's metadata with the setuptools that is here instead of fetching another one.
        options = ["--no-deps", "--no-binary", "transformers", "--no-build-isolation", "--dest", scratch]
        subprocess.run([*pip, *options, f"transformers=={wanted}"], check=True)
        (archive,) = Path(scratch).glob("*.tar.gz")
        with tarfile.open(archive) as tar:
            members = [member for member in tar.getmembers() if "/tests/" in member.name and member.isfile()]
            for member in members:
                member.name = member.name.split("/", 1)[1]
            # The "data" filter refuses names that would leave the folder.
            tar.extractall(Path(scratch) / "files", members=members, filter="data")
        tests = Path(scratch) / "files" / "tests"
        # The configuration tests load this folder as a package by its __init__.py, which the archive does not have.
        (tests / "__init__.py").touch()
        shutil.rmtree(FOLDER, ignore_errors=True)
        FOLDER.mkdir()
        shutil.move(tests, FOLDER / "tests")
        (FOLDER / "VERSION").write_text(wanted)


def main() -> int:
    wanted = version("transformers")
    if fetched_version() == wanted:
        return 0
    try:
        fetch(wanted)
    except subprocess.CalledProcessError:
        print(f"pip cannot get the source distribution of transformers {wanted}, which tests/hf needs.")
        return int(in_ci())
    print(f"The test files of transformers {wanted} are in {FOLDER}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
