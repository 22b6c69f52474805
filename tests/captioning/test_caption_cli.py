# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""`collap caption`: a folder of songs to a manifest, stopped, continued, and trained on."""

import json
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pytest
import soundfile
import torch
from tiny_captioners import save_tiny_captioner, save_tiny_tagger
from tiny_library import save_tiny_model

from collap import CollapFeatureExtractor
from collap.captioning import captioner as captioner_module
from collap.captioning.cli import caption_songs, read_lines
from collap.captioning.tags import TagCaptioner
from collap.cli import main
from collap.data.manifest import load_manifest
from collap.training.dataset import SongReader
from examples import train

RATE = 16_000


@pytest.fixture(scope="module")
def tagger(tmp_path_factory) -> str:
    return save_tiny_tagger(tmp_path_factory.mktemp("tagger"), "wav2vec2")


@pytest.fixture
def songs(tmp_path: Path) -> Path:
    """Three songs of 20 to 24 s, low and then high, one of which lies in a folder below."""
    folder = tmp_path / "songs"
    (folder / "below").mkdir(parents=True)
    for number, name in enumerate(("a.wav", "b.wav", "below/c.wav")):
        noise = np.random.default_rng(number).standard_normal((20 + 2 * number) * RATE)
        low = np.cumsum(noise[: 10 * RATE])
        waveform = np.concatenate([low / low.std(), noise[10 * RATE :]])
        soundfile.write(folder / name, 0.05 * waveform, RATE)
    return folder


def read(file: Path) -> list[dict]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def caption_by_tags(songs: Path, tagger: str, output: Path) -> int:
    return main(["caption", str(songs), "--captioner", "tags", "--tagger", tagger, "--output", str(output)])


def test_a_manifest_with_sections_and_where_they_come_from(songs, tagger, tmp_path, capsys) -> None:
    output = tmp_path / "out" / "songs.jsonl"
    assert caption_by_tags(songs, tagger, output) == 0
    licence, report = capsys.readouterr().out.splitlines()
    assert licence.startswith(f"The licence of {tagger} is cc-by-4.0: ")
    assert report == "3 songs: 3 captioned, 0 refused, 0 done already."  # and no file of what was refused
    rows = load_manifest(output, keep_extra_columns=True)
    assert [Path(path).name for path in rows["audio"]] == ["a.wav", "b.wav", "c.wav"]
    assert rows["duration_s"] == [20, 22, 24]
    assert len(set(rows["song_id"])) == 3
    assert set(rows[0]["captioner"]) == {"model", "revision", "prompts", "collap_version"}
    assert rows[0]["coverage"] == 1
    reader = SongReader.__new__(SongReader)  # what training asks before it crops and reorders a song
    reader._split, reader.processor = list, SimpleNamespace(feature_extractor=CollapFeatureExtractor())
    assert [reader.find_section_problem(row) for row in rows] == [None] * 3
    for row in rows:
        (first, second) = row["sections"]
        assert first["start_s"] == 0
        assert first["end_s"] == second["start_s"] == pytest.approx(10, abs=0.5)
        assert second["end_s"] == row["duration_s"]
        assert row["text"][-len(first["text"] + second["text"]) :] == first["text"] + second["text"]


def test_it_continues_where_it_was_killed(songs, tagger, tmp_path, capsys) -> None:
    output = tmp_path / "songs.jsonl"
    captioner = TagCaptioner(tagger)
    assert caption_songs([songs / "a.wav"], captioner, output, []).startswith("1 song: 1 captioned")
    with output.open("a", encoding="utf-8") as file:
        file.write('{"audio": "b.wav", "te')  # the beginning of a line
    (songs / "a.wav").rename(songs / "moved.wav")
    assert caption_by_tags(songs, tagger, output) == 0
    assert "3 songs: 2 captioned, 0 refused, 1 done already." in capsys.readouterr().out
    assert [Path(row["audio"]).name for row in read(output)] == ["a.wav", "b.wav", "c.wav"]
    assert caption_by_tags(songs, tagger, output) == 0
    assert "3 songs: 0 captioned, 0 refused, 3 done already." in capsys.readouterr().out
    captioner.provenance = captioner.provenance | {"model": "the same under another name"}
    assert "1 done already" in caption_songs([songs / "b.wav"], captioner, output, read_lines(output))
    captioner.provenance = captioner.provenance | {"prompts": "others"}
    assert "1 captioned" in caption_songs([songs / "b.wav"], captioner, output, read_lines(output))
    assert len(read(output)) == 4


def test_a_last_line_without_its_end_is_kept_if_it_is_whole(tmp_path) -> None:
    output, rows = tmp_path / "songs.jsonl", [{"audio": "a.wav", "text": ["Ö."]}, {"audio": "b.wav", "captioner": "I"}]
    whole = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows).encode()
    for content, expected in [(whole, rows), (whole[:-1], rows[:1]), (whole[: whole.index(b"\x96")], []), (b"", [])]:
        output.write_bytes(content)
        assert read_lines(output) == read_lines(output) == expected
    for line in (b'{"audio": ', b"12"):
        output.write_bytes(b"\n" + line + b"\n")  # a blank line is none
        with pytest.raises(ValueError, match=r"songs.jsonl has 1 issue.*:\n  line 2.* JSON"):
            read_lines(output)


def test_rows_of_others_stay_and_their_songs_are_captioned(songs, tagger, tmp_path, capsys) -> None:
    output, row = tmp_path / "songs.jsonl", {"audio": "b.wav", "text": ["By hand."], "captioner": "me"}
    output.write_text(json.dumps(row) + "\n", encoding="utf-8")
    assert caption_by_tags(songs, tagger, output) == 0
    assert "3 captioned" in capsys.readouterr().out
    assert (read(output)[0], len(read(output))) == (row, 4)


def test_a_captioner_that_fails_ends_the_run_and_names_the_song(songs, tagger, tmp_path, monkeypatch, capsys) -> None:
    for error, told in [
        (torch.OutOfMemoryError("CUDA out of memory."), "memory.'). A smaller --batch-size needs less memory."),
        (TypeError("no batch"), "no batch')."),
    ]:
        monkeypatch.setattr(TagCaptioner, "caption", Mock(side_effect=error))
        assert caption_by_tags(songs, tagger, tmp_path / "songs.jsonl") == 1
        message = capsys.readouterr().err.splitlines()[-1]
        assert message.startswith(f"collap caption: {songs / 'a.wav'} could not be captioned: {type(error).__name__}(")
        assert message.endswith(told)
    assert not list(tmp_path.glob("*.refused.jsonl"))


def test_what_is_refused_is_kept_and_not_asked_again(songs, tmp_path, capsys, monkeypatch) -> None:
    """Random weights give no JSON. A song that cannot be read is tried again, the others are not."""
    monkeypatch.setattr(captioner_module, "MAX_NEW_TOKENS", 4)
    model = save_tiny_captioner(tmp_path / "model", "qwen2_audio")
    (songs / "b.wav").write_bytes(b"no audio")
    soundfile.write(songs / "d.wav", np.zeros(RATE // 2), RATE)
    command = ["caption", str(songs), "--captioner", model, "--output", str(tmp_path / "songs.jsonl")]
    assert main(command) == 0
    assert "4 songs: 0 captioned, 4 refused, 0 done already." in capsys.readouterr().out
    assert not (tmp_path / "songs.jsonl").exists()
    first, damaged, _, short = read(tmp_path / "songs.refused.jsonl")
    assert first["refused"][0]["part_s"] == [0, 20]
    assert [answer["problem"] for answer in first["refused"][0]["answers"]] == [
        "it has no JSON object that can be read"
    ] * 2
    assert all(isinstance(answer["answer"], str) for answer in first["refused"][0]["answers"])
    assert short["refused"][0]["answers"][0]["problem"] == "it is shorter than a second"
    assert "b.wav" in damaged["refused"][0]["answers"][0]["problem"]
    assert main(command) == 0
    report = capsys.readouterr().out
    assert "4 songs: 0 captioned, 2 refused, 2 done already. What was refused, now or before, is in " in report
    assert len(read(tmp_path / "songs.refused.jsonl")) == 4  # the same problem of the same file is told once


def test_songs_captioned_in_prose_are_done(songs, tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.setattr(captioner_module, "MAX_NEW_TOKENS", 4)
    prose = lambda _, rows, **__: ["A guitar plays. It ends."] * len(rows)  # noqa: E731
    monkeypatch.setattr(captioner_module.Qwen3OmniAudioProcessor, "batch_decode", prose)
    model = save_tiny_captioner(tmp_path / "model", "qwen3_omni_moe")
    command = ["caption", str(songs), "--captioner", model, "--output", str(tmp_path / "songs.jsonl")]
    for report in ("3 captioned, 0 refused, 0 done already", "0 captioned, 0 refused, 3 done already"):
        assert main(command) == 0
        assert report in capsys.readouterr().out
    rows = load_manifest(tmp_path / "songs.jsonl", keep_extra_columns=True)
    assert rows[0]["text"] == ["A guitar plays.", "It ends."] * 3  # the song, and its sections
    assert [(row["boundaries"], row["captioner"]["model"]) for row in rows] == [("novelty", model)] * 3


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--captioner", "tags", "--output", "a.jsonl"], "needs --tagger"),
        (["--captioner", "x", "--tagger", "y", "--output", "a.jsonl"], "needs --tagger"),
        (["--captioner", "x", "--output", "a.csv"], "--output must be a .jsonl"),
        (["--captioner", "x", "--output", "a.jsonl", "--batch-size", "0"], "--batch-size 1 or more"),
    ],
)
def test_bad_arguments(songs, arguments, problem, capsys) -> None:
    with pytest.raises(SystemExit):
        main(["caption", str(songs), *arguments])
    assert problem in capsys.readouterr().err


def test_a_folder_without_songs(tmp_path, capsys) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        assert main(["caption", str(folder), "--captioner", "x", "--output", "a.jsonl"]) == 1
        assert capsys.readouterr().err == f"collap caption: {folder} is no folder of songs.\n"


@pytest.mark.slow
def test_songs_to_captions_to_a_model_to_an_index(songs, tagger, tmp_path, capsys) -> None:
    output, model, index = tmp_path / "songs.jsonl", tmp_path / "model", tmp_path / "index"
    assert caption_by_tags(songs, tagger, output) == 0
    metrics = train.main([
        f"--model_name_or_path={save_tiny_model(tmp_path / 'start')}", f"--train_manifest={output}", "--use_cpu",
        f"--eval_manifest={output}", f"--output_dir={model}", "--max_steps=2", "--contrastive_batch_size=3",
        "--section_loss_weight=1", "--section_crop_probability=1", "--report_to=none", "--disable_tqdm=true",
    ])  # fmt: skip
    assert np.isfinite(metrics["eval_loss"])
    assert main(["index", str(songs), "--model", str(model), "--index", str(index)]) == 0
    capsys.readouterr()
    assert main(["search", "It begins with guitar. It ends with drums.", "--index", str(index), "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["matches"]) == 3
