# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Issues of real files and texts, all found in one pass, in workers and in processes."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from tiny_models import CHUNK_LENGTH_S
from tiny_tokenizer import tiny_tokenizer

from collap import CollapFeatureExtractor, CollapProcessor

datasets = pytest.importorskip("datasets", reason="the manifest reader needs the extra 'train'")

from collap.cli import main  # noqa: E402 - after the skip
from collap.data.manifest import load_manifest  # noqa: E402 - after the skip
from collap.data.validation import find_issues, validate_manifest  # noqa: E402

RATE = 16_000


def noise(seconds):
    return np.random.default_rng(0).uniform(-0.1, 0.1, round(RATE * seconds)).astype(np.float32)


@pytest.fixture
def processor():
    extractor = CollapFeatureExtractor(chunk_length_s=CHUNK_LENGTH_S, max_length_s=20.0)
    return CollapProcessor(extractor, tiny_tokenizer("a b c d e"), "sentence", max_text_tokens=8)


@pytest.fixture
def write(tmp_path):
    def make(name, waveform, keep=1.0, **options):
        path = tmp_path / name
        soundfile.write(path, waveform, RATE, **options)
        whole = path.read_bytes()
        path.write_bytes(whole[: round(len(whole) * keep)])
        return str(path)

    return make


def kinds_of(rows, processor, **options):
    return [(row.index, row.kind) for row in find_issues(rows, processor, **options)]


@pytest.mark.parametrize("suffix", ["wav", "flac", "mp3", "ogg", "aiff"])
def test_complete_files_have_no_issue(write, processor, suffix):
    row = {"audio": write(f"a.{suffix}", noise(4)), "text": "A b. C.", "duration_s": 4.0}
    row["sections"] = [{"start_s": 0.0, "end_s": 4.3, "text": "A b."}]
    assert find_issues([row], processor) == []


@pytest.mark.parametrize("suffix", ["wav", "aiff", "au", "mp3", "flac", "ogg"])
def test_files_that_are_cut_off(write, processor, suffix):
    path = write(f"a.{suffix}", noise(8), keep=0.6)
    (row,) = find_issues([{"audio": path, "text": "A."}], processor)
    assert (row.index, row.song, row.kind) == (0, path, "audio is cut off")
    assert re.match(r"it ends after [34]\.\d s", row.issue)
    assert ("its head says 8." in row.issue) == (suffix != "ogg")
    (row,) = find_issues([{"audio": {"bytes": Path(path).read_bytes(), "path": None}, "text": "A."}], processor)
    assert (row.song, row.kind) == ("a song without a name", "audio is cut off")


def test_audio_of_another_length_than_the_row_says(write, processor):
    shorter = {"audio": write("a.ogg", noise(4)), "text": "A.", "duration_s": 8.0}
    longer = {"audio": write("a.wav", noise(4)), "text": "A.", "duration_s": 2.0}
    expected = [(index, "duration_s is not the length of the audio") for index in range(2)]
    assert kinds_of([shorter, longer], processor) == expected
    # A second is tolerated.
    assert kinds_of([{**shorter, "duration_s": 4.9}, {**longer, "duration_s": 3.1}], processor) == []


def test_a_wav_whose_header_has_no_length_is_complete(write, processor):
    """As written to a pipe: the sizes in the header are those of an endless file."""
    path = Path(write("a.wav", noise(4)))
    content = bytearray(path.read_bytes())
    size = content.index(b"data") + 4
    content[4:8] = content[size : size + 4] = b"\xff\xff\xff\xff"
    path.write_bytes(content)
    assert find_issues([{"audio": str(path), "text": "A."}], processor) == []


@pytest.fixture
def rows(write, tmp_path):
    """A song without issues, then one for each issue, and one with three."""
    (tmp_path / "noise.mp3").write_bytes(b"this is no music")
    with_nan = noise(2)
    with_nan[100] = np.nan
    audio = [
        write("good.wav", noise(2)),
        str(tmp_path / "nowhere.wav"),
        str(tmp_path / "noise.mp3"),
        write("cut.flac", noise(8), keep=0.6),
        write("short.wav", noise(0.1)),
        write("nan.wav", with_nan, subtype="FLOAT"),
        write("loud.wav", noise(2) * 1000, subtype="FLOAT"),
        write("silent.wav", noise(2) * 0),
        write("long.wav", noise(21)),
        *[write(f"more{number}.wav", noise(2)) for number in range(3)],
    ]
    rows = [{"audio": path, "text": "A b. C d.", "duration_s": None, "sections": None} for path in audio]
    rows[9]["text"] = "A. " + "a b c d " * 3 + "."
    rows[10]["sections"] = [
        {"start_s": start_s, "end_s": start_s + 1.0, "text": "A b."} for start_s in (0.0, 1.7, 3.0)
    ]
    rows[11] |= {"text": "A. " + "b " * 20 + ".", "duration_s": 9.0}
    rows[11]["sections"] = [{"start_s": 0.0, "end_s": 9.0, "text": "A."}]
    return rows


EXPECTED = [
    (1, "audio is missing"),
    (2, "audio can't be decoded"),
    (3, "audio is cut off"),
    (4, "audio is refused"),
    (5, "audio is refused"),
    (6, "audio is refused"),
    (7, "audio is silent"),
    (8, "audio is too long"),
    (9, "text is refused"),
    (10, "sections go beyond the end of the song"),
    (11, "duration_s is not the length of the audio"),
    (11, "sections go beyond the end of the song"),
    (11, "text is refused"),
]


def test_every_issue_is_found_in_one_pass(rows, processor, tmp_path):
    found = find_issues(rows, processor)
    assert [(row.index, row.kind) for row in found] == EXPECTED
    issues = {row.index: row.issue for row in found}
    assert issues[1] == f"no audio file (No such file or directory): {tmp_path / 'nowhere.wav'}"
    assert issues[3].startswith("it ends after 4.")
    names = {index: f"audio ({rows[index]['audio']!r})" for index in (4, 5, 6)}
    assert issues[4].startswith(f"{names[4]} must have at least 2800 samples")
    assert issues[5] == f"{names[5]} must be finite, but holds NaN or infinity."
    assert issues[6].startswith(f"{names[6]} must be in [-1, 1], got samples from -99")
    assert issues[7] == "all samples of its 2.0 s are 0"
    assert issues[8].startswith("audio must be no longer than max_length_s=20, got 21 s")
    assert issues[9].startswith("sentence 0 of text must have at most 8 tokens")
    assert issues[10] == "2 section(s) up to 4.0 s, the audio has 2.0 s"
    # In worker processes the same, in the same order.
    assert find_issues(rows, processor, num_workers=2) == found


def test_what_will_be_truncated_is_no_issue(rows, processor):
    expected = [one for one in EXPECTED if one[1] not in ("audio is too long", "text is refused")]
    assert kinds_of(rows, processor, truncate_songs=True, truncate_texts=True) == expected


def test_a_manifest_is_validated(rows, processor, tmp_path):
    lines = [{name: value for name, value in row.items() if value is not None} for row in rows]
    for line in lines:
        line.pop("sections", None)
    path = tmp_path / "songs.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(ValueError, match=r"line 2: no audio file .*nowhere.wav"):
        load_manifest(path)
    report = validate_manifest(path, processor)
    assert [(row.index, row.kind) for row in report.issues] == [one for one in EXPECTED if "sections" not in one[1]]
    assert str(report).startswith("10 of 12 rows have issues:\n  audio is refused: 3\n    line 5, ")
    assert not report.is_valid
    path.write_text("".join(json.dumps({**line, "text": "A b."}) + "\n" for line in lines[:1]))
    report = validate_manifest(path, processor)
    assert (report.is_valid, str(report)) == (True, "All 1 rows are valid.")
    path.write_text('{"audio": "a.wav", "text": ""}\n' * 7)
    report = validate_manifest(path, processor)
    assert not report.is_valid
    assert len(report.manifest_issues) == 7
    assert "line 5: text must be" in str(report)
    assert "line 7: text must be" in report.text(most=7)


def test_the_command_reports_and_sets_the_exit_status(rows, processor, tmp_path, capsys):
    processor.save_pretrained(tmp_path / "model")
    path = tmp_path / "songs.jsonl"
    path.write_text(json.dumps({"audio": rows[9]["audio"], "text": rows[9]["text"]}))
    assert main(["validate", str(path)]) == 0
    assert capsys.readouterr().out == "All 1 rows are valid.\n"
    assert main(["validate", str(path), "--model", str(tmp_path / "model")]) == 1
    assert "1 of 1 rows have issues:\n  text is refused: 1" in capsys.readouterr().out
    assert main(["validate", str(path), "--model", str(tmp_path / "model"), "--truncate_texts"]) == 0


SCRIPT = """
import json, sys
from accelerate import PartialState
from collap import CollapProcessor
from collap.data.validation import find_issues
state = PartialState(cpu=True)
assert state.num_processes == 2
rows = json.load(open(sys.argv[1]))
found = find_issues(rows, CollapProcessor.from_pretrained(sys.argv[2]))
json.dump([(row.index, row.kind) for row in found], open(f"{sys.argv[1]}.{state.process_index}", "w"))
state.wait_for_everyone()
state.destroy_process_group()
"""


@pytest.mark.slow
def test_rows_are_split_between_processes(rows, processor, tmp_path):
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    (tmp_path / "script.py").write_text(SCRIPT)
    processor.save_pretrained(tmp_path / "processor")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    command += [str(tmp_path / "script.py"), str(tmp_path / "rows.json"), str(tmp_path / "processor")]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert result.returncode == 0, result.stderr[-4000:]
    for process in range(2):
        found = json.loads((tmp_path / f"rows.json.{process}").read_text())
        assert [tuple(one) for one in found] == EXPECTED
