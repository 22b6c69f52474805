# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""examples/app/ as a Space runs it: a copy of the folder, songs and a model beside it, and nothing else."""

import json
import os
import re
import runpy
import shutil
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from packaging.requirements import Requirement
from tiny_library import save_tiny_model, write_tagged

from collap.search.app import FIELDS
from collap.search.index import SongIndex

REPOSITORY = Path(__file__).resolve().parents[2]
APP = REPOSITORY / "examples" / "app"


def requirements() -> tuple[set[str], set[str]]:
    """What the Space installs, and what pyproject.toml names for it and for the page; each as `name>=version`."""
    lines = (APP / "requirements.txt").read_text(encoding="utf-8").splitlines()
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    return set(lines), {*project["dependencies"], *extras["train"], *extras["app"]}


def test_the_space_installs_what_the_package_names():
    installed, named = requirements()
    assert installed <= named


def test_the_space_has_the_gradio_of_the_tests():
    """A Space installs the version of the header, whatever the requirements say."""
    version = re.search(r"^sdk_version: (.+)$", (APP / "README.md").read_text(encoding="utf-8"), re.MULTILINE)[1]
    assert f"gradio=={version}" in (REPOSITORY / "constraints.txt").read_text(encoding="utf-8").splitlines()


# A library that is None in sys.modules is not found: the page needs none that the Space does not install.
START = """
import runpy, sys
sys.modules.update(dict.fromkeys(sys.argv[1:]))
runpy.run_path("app.py", run_name="__main__")
"""


@contextmanager
def running(folder: Path) -> Iterator[tuple[str, Path]]:
    """The address of `python app.py` in this folder, when it answers, and the file of its log."""
    installed, named = requirements()
    absent = [Requirement(line).name.replace("-", "_") for line in named - installed]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folder.parent / "home").mkdir(exist_ok=True)
    told = {"HOME": str(folder.parent / "home"), "GRADIO_SERVER_NAME": "0.0.0.0", "GRADIO_SERVER_PORT": str(port)}
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("COLLAP_", "HF_"))}
    log = folder.parent / "log.txt"
    command = [sys.executable, "-c", START, *absent]
    with log.open("w") as file:
        process = subprocess.Popen(command, cwd=folder, env=environment | told, stdout=file, stderr=file)
    try:
        deadline = time.monotonic() + 300
        while process.poll() is None and time.monotonic() < deadline:
            try:
                urlopen(f"http://127.0.0.1:{port}/", timeout=60).close()
                break
            except OSError:
                time.sleep(0.1)
        else:
            pytest.fail(log.read_text())
        yield f"http://127.0.0.1:{port}", log
    finally:
        process.terminate()
        process.wait(30)


def search(address: str, text: str) -> list[str]:
    """Titles of the songs that the page shows for a description, as the browser asks for them."""
    event = json.load(urlopen(f"{address}/config"))["dependencies"][0]
    asked = {"data": [text, *[""] * (len(FIELDS) - 1)], "fn_index": event["id"], "trigger_id": event["targets"][0][0]}
    asked |= {"session_hash": "test", "event_data": None}
    headers = {"Content-Type": "application/json"}
    urlopen(Request(f"{address}/gradio_api/queue/join", json.dumps(asked).encode(), headers)).close()
    for line in urlopen(f"{address}/gradio_api/queue/data?session_hash=test"):
        message = json.loads(line.removeprefix(b"data:")) if line.startswith(b"data:") else {}
        if message.get("msg") == "process_completed":
            songs = message["output"]["data"][0]["songs"]
            for song in songs:
                assert urlopen(f"{address}/audio/{song['id']}").status == 200
            return sorted(song["title"] for song in songs)
    raise AssertionError("no answer")


@pytest.mark.slow
def test_the_first_start_makes_the_index_and_later_ones_encode_what_is_new(tmp_path):
    folder = shutil.copytree(APP, tmp_path / "app")
    save_tiny_model(folder / "model")
    write_tagged(folder / "songs" / "a.mp3", 3.0, 0, title="Alpha")
    write_tagged(folder / "songs" / "deep" / "b.flac", 3.0, 1, title="Beta")
    (folder / "songs" / "c.mp3").write_bytes(b"no song")
    with running(folder) as (address, log):
        assert search(address, "A slow piano. Then drums.") == ["Alpha", "Beta"]
        assert "2 songs in 3 files" in log.read_text()
    assert "2 songs encoded" in log.read_text()
    assert "c.mp3 was left out: " in log.read_text()

    write_tagged(folder / "songs" / "d.ogg", 3.0, 2, title="Delta")
    with running(folder) as (address, log):
        assert search(address, "A slow piano. Then drums.") == ["Alpha", "Beta", "Delta"]
    assert "2 are cached already" in log.read_text()
    assert "1 songs encoded" in log.read_text()


@pytest.mark.parametrize(
    ("there", "missing"), [("songs", "COLLAP_MODEL"), ("model", "folder songs"), ("index", "gone is not there")]
)
def test_what_is_missing_is_said_in_one_line(tmp_path, monkeypatch, there, missing):
    for name in ("INDEX", "SONGS", "MODEL"):
        monkeypatch.delenv(f"COLLAP_{name}", raising=False)
    folder = shutil.copytree(APP, tmp_path / "app")
    (folder / there).mkdir()
    if there == "index":  # whose model stayed on another machine
        SongIndex.create(folder / "index", save_tiny_model(tmp_path / "gone"))
        shutil.rmtree(tmp_path / "gone")
    with pytest.raises(SystemExit, match=missing):
        runpy.run_path(str(folder / "app.py"))
    assert there == "index" or not (folder / "index").exists()
