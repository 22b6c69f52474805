# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""The examples of docs/integrations.md run as they stand, one after the other, with a tiny model."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import urlopen

import pytest
import soundfile
from tiny_retrieval import tiny_collap, write_songs

REPOSITORY = Path(__file__).resolve().parents[1]
PAGE = (REPOSITORY / "docs" / "integrations.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```(python|bash)\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
CAPTIONS = ["a slow piano. then drums", "a choir sings"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """What the page says is in the folder; and the examples of the checkout."""
    folder = tmp_path_factory.mktemp("integrations")
    for part in tiny_collap():
        part.save_pretrained(folder / "my-collap")
    (folder / "songs").mkdir()
    first, second = write_songs(folder, (2.0, 1.3)).values()
    Path(first).rename(folder / "songs" / "first.wav")
    soundfile.write(folder / "songs" / "second.flac", *soundfile.read(second))
    rows = [
        {"audio": f"songs/{name}", "text": text}
        for name, text in zip(("first.wav", "second.flac"), CAPTIONS, strict=True)
    ]
    (folder / "songs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "examples").symlink_to(REPOSITORY / "examples")
    return folder


def test_each_door_has_an_example_and_a_limit():
    sections = PAGE.split("\n## ")[1:]
    assert len(sections) == 7
    for section in sections:
        assert "```" in section, section
        assert section.count("**Limit:**") == 1, section


@pytest.mark.slow
def test_the_examples_run(folder, monkeypatch):
    mteb = pytest.importorskip("mteb")
    pytest.importorskip("onnxruntime")
    from tiny_mteb import make_task

    paths = [str(folder / "songs" / name) for name in ("first.wav", "second.flac")]
    tasks = [make_task(paths, CAPTIONS, (0, 1), with_audio_queries) for with_audio_queries in (False, True)]
    monkeypatch.setattr(mteb, "get_tasks", lambda names: tasks if len(names) == 2 else None)
    monkeypatch.setenv("MTEB_CACHE", str(folder / "mteb"))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.chdir(folder)
    for language, code in EXAMPLES:
        if language == "python":
            exec(code, {"__name__": "__main__"})
        elif "app.py" in code:
            serve(code)
        else:
            subprocess.run(["bash", "-ec", code], check=True)


def serve(code: str) -> None:
    """Runs commands whose last one serves a page, until it answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {"GRADIO_SERVER_PORT": str(port)}
    process = subprocess.Popen(["bash", "-ec", code], env=environment, start_new_session=True)
    try:
        deadline = time.monotonic() + 300
        while process.poll() is None and time.monotonic() < deadline:
            try:
                with urlopen(f"http://127.0.0.1:{port}/", timeout=60) as page:
                    assert page.status == 200
                return
            except OSError:
                time.sleep(0.1)
        pytest.fail("the page does not answer")
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)
