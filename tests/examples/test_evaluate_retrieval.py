# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""`examples/evaluate_retrieval.py` from a manifest to a result: in one process, in several, with songs missing."""

import json
import runpy
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from processes import run_processes
from tiny_clap import tiny_clap
from tiny_models import CHUNK_LENGTH_S, tiny_config
from tiny_pe_audio import tiny_pe_audio
from tiny_retrieval import TEXTS, tiny_collap, write_songs
from tiny_tokenizer import tiny_tokenizer
from transformers import PeAudioFrameLevelModel

from collap import CollapFeatureExtractor, CollapModel, CollapProcessor
from collap.data.manifest import load_manifest
from collap.encode import extract_features
from collap.evaluation.result import EvaluationResult
from collap.files import write_json

TESTS = Path(__file__).resolve().parents[1]
SCRIPT = TESTS.parent / "examples" / "evaluate_retrieval.py"

SECONDS = (1.5, 0.4, 2.0, 3.0, 1.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A saved CoLLAP, and five songs with a text each and a second one for the first."""
    folder = tmp_path_factory.mktemp("evaluate")
    for part in tiny_collap():
        part.save_pretrained(folder / "model")
    songs = list(write_songs(folder, SECONDS).values())
    lines = [
        {"audio": Path(song).name, "song_id": f"s{index}", "text": text}
        for index, (song, text) in enumerate(zip(songs, map(joined, TEXTS), strict=True))
    ]
    write_lines(folder / "songs.jsonl", [*lines, {**lines[0], "text": "a piano"}])
    return folder


def joined(text: str | list[str]) -> str:
    return text if isinstance(text, str) else ". ".join(text) + "."


def write_lines(manifest: Path, lines: list[dict]) -> Path:
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return manifest


def read_lines(manifest: Path) -> list[dict]:
    return [json.loads(line) for line in manifest.read_text().splitlines()]


@pytest.fixture(scope="module")
def main():
    """The script's."""
    return runpy.run_path(str(SCRIPT))["main"]


def arguments(folder: Path, output: Path, *more: str, model: Path | None = None) -> list[str]:
    given = ["--manifest", str(folder / "songs.jsonl"), "--model_name_or_path", str(model or folder / "model")]
    return [*given, "--output_dir", str(output), "--use_cpu", *more]


@torch.no_grad()
def expected_scores(folder: Path, **options) -> np.ndarray:
    model, processor = CollapModel.from_pretrained(folder / "model"), CollapProcessor.from_pretrained(folder / "model")
    songs = [str(folder / f"{index}.wav") for index in range(len(SECONDS))]
    texts = [line["text"] for line in read_lines(folder / "songs.jsonl")]
    audio = model.get_audio_features(**processor(audio=songs, return_tensors="pt"))
    text = model.get_text_features(**processor(text=texts, return_tensors="pt"))
    return model.similarity(audio, text, **options).T.numpy()


def test_a_manifest_is_evaluated(folder, main, tmp_path, capsys):
    result = main(arguments(folder, tmp_path, "--save_scores"))
    scores, ids = np.load(tmp_path / "scores.npy"), json.loads((tmp_path / "scores.json").read_text())
    assert ids == {"texts": ["s0#1", "s1#1", "s2#1", "s3#1", "s4#1", "s0#2"], "songs": ["s0", "s1", "s2", "s3", "s4"]}
    expected = expected_scores(folder)
    np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-6)

    ranks = [1 + (row > row[song]).sum() for row, song in zip(expected, [0, 1, 2, 3, 4, 0], strict=True)]
    assert result.metrics["text_to_audio"]["median_rank"] == np.median(ranks)
    assert result.metrics["text_to_audio"]["recall@1"] == np.mean(np.array(ranks) == 1)
    assert (result.gallery_size, result.num_texts, result.missing) == (5, 6, [])
    assert (result.encoded["max"], result.encoded["songs_cut"]) == (pytest.approx(2.24, abs=0.01), 0)
    assert result.model == f"CollapModel {folder / 'model'}"
    assert (result.options["use_time"], result.options["processes"], result.options["truncated_texts"]) == (True, 1, 0)
    assert (result.options["precision"], result.notes) == (None, [])

    saved = EvaluationResult.load(tmp_path / "results.json")
    assert (saved.metrics, saved.manifest_hash) == (result.metrics, result.manifest_hash)
    assert result.format() in capsys.readouterr().out


def test_other_options_use_the_same_cache_and_are_compared(folder, main, tmp_path, capsys):
    for option, value in (("use_time", True), ("use_time", False), ("section_query", True)):
        output = tmp_path / f"{option}_{value}"
        main(arguments(folder, output, f"--{option}={value}", "--save_scores", f"--cache_dir={tmp_path / 'cache'}"))
        expected = expected_scores(folder, **{option: value})
        np.testing.assert_allclose(np.load(output / "scores.npy"), expected, rtol=0, atol=1e-6)
    main(arguments(folder, tmp_path / "cut", "--truncate_texts", f"--cache_dir={tmp_path / 'cache'}"))
    assert len(list(tmp_path.glob("cache/*/shard-*"))) == 1  # nothing was encoded twice
    capsys.readouterr()
    main(["--compare", *(str(tmp_path / f"use_time_{value}" / "results.json") for value in (True, False))])
    table = capsys.readouterr().out
    # metrics and differences, in each direction
    assert table.count(f"| CollapModel {folder / 'model'} (without time)") == 4
    assert table.count(f"| minus CollapModel {folder / 'model'} ") == 2
    assert table.index("text -> audio") < table.index("audio -> text")


def test_features_of_the_first_seconds(folder, main, tmp_path):
    """They are evaluated by the option that they were made with."""
    model, processor = tiny_collap()
    for part in (model, processor):
        part.save_pretrained(tmp_path / "model")
    songs = load_manifest(folder / "songs.jsonl")["audio"]
    processor.feature_extractor.max_length_s = 0.64
    extract_features(songs, tmp_path / "features", model.audio_model, processor.feature_extractor, truncation=True)
    given = arguments(folder, tmp_path / "out", f"--features={tmp_path / 'features'}", model=tmp_path / "model")
    with pytest.raises(ValueError, match=r"max_length_s: 0\.64 in the cache, None here"):
        main(given)
    result = main([*given, "--max_length_s=0.64"])
    assert (result.encoded["max"], result.encoded["songs_cut"]) == (pytest.approx(0.48), 4)


def test_texts_with_spans_are_looked_for_in_their_songs(folder, main, tmp_path, capsys):
    lines = [{**line, "audio": str(folder / line["audio"])} for line in read_lines(folder / "songs.jsonl")]
    for line in lines:
        line["spans_s"] = [[0.1, 0.3], [0.35, 0.4]]
    write_lines(tmp_path / "songs.jsonl", lines)
    result = main(arguments(tmp_path, tmp_path / "out", model=folder / "model"))
    assert result.options["section_query"]
    assert [row["text"] for row in result.moments] == ["s0#1", "s0#2", "s1#1", "s2#1", "s3#1", "s4#1"]
    for row in result.moments:
        assert all(0 <= start < end <= SECONDS[int(row["song"][1:])] for start, end in row["spans"])
    values = [row["metrics"]["map"] for row in result.moments]
    assert result.metrics["moments"]["map"] == pytest.approx(np.mean(values))

    texts = [line["text"] for line in lines]
    for part in tiny_pe_audio(*texts, model_class=PeAudioFrameLevelModel):
        part.save_pretrained(tmp_path / "pe-a-frame")
    baseline = main(arguments(tmp_path, tmp_path / "out-frame", model=tmp_path / "pe-a-frame"))
    assert [row["text"] for row in baseline.moments] == [row["text"] for row in result.moments]
    assert [row["spans"] for row in baseline.moments] != [row["spans"] for row in result.moments]
    assert baseline.metrics["chance"] == result.metrics["chance"]
    main(["--compare", *(str(tmp_path / name / "results.json") for name in ("out", "out-frame"))])
    assert "moments\n" in capsys.readouterr().out

    for part in tiny_clap(*texts):
        part.save_pretrained(tmp_path / "clap")
    of_clap = main(arguments(tmp_path, tmp_path / "out-clap", model=tmp_path / "clap"))
    assert of_clap.notes == [
        "The set has spans of its texts, but this model has no frames to find them with: no moments."
    ]
    assert of_clap.manifest_hash == result.manifest_hash


def test_provenance_says_whether_texts_describe_sections(folder, main, tmp_path):
    lines = [{**line, "audio": str(folder / line["audio"])} for line in read_lines(folder / "songs.jsonl")]
    write_lines(tmp_path / "songs.jsonl", lines)
    write_json(tmp_path / "provenance.json", {"name": "my set", "section_query": True})
    result = main(arguments(tmp_path, tmp_path / "sections", "--max_songs=2", model=folder / "model"))
    assert result.options["section_query"]
    assert (result.set_name, result.gallery_size, result.num_texts) == ("my set", 2, 3)
    assert result.notes == ["Only the first 2 of 5 songs were evaluated (--max_songs)."]
    assert result.model.endswith("(section query)")
    given = arguments(tmp_path, tmp_path / "songs", "--section_query=false", model=folder / "model")
    assert not main(given).options["section_query"]


def test_equal_recordings_are_noted(folder, main, tmp_path):
    lines = [{**line, "audio": str(folder / line["audio"])} for line in read_lines(folder / "songs.jsonl")]
    lines[3]["audio"] = str(shutil.copy(folder / "2.wav", tmp_path / "copy.wav"))
    write_lines(tmp_path / "songs.jsonl", lines)
    result = main(arguments(tmp_path, tmp_path / "out", "--precision=bfloat16", model=folder / "model"))
    (note,) = result.notes
    assert note.startswith("1 songs are the same recording as another")
    assert result.options["precision"] == "bfloat16"
    assert result.ranks["text_to_audio"]["s2#1"] > 1


def test_missing_and_broken_songs(folder, main, tmp_path, capsys):
    lines = [{**line, "audio": str(folder / line["audio"])} for line in read_lines(folder / "songs.jsonl")]
    lines[1]["audio"] = str(folder / "gone.wav")
    write_lines(tmp_path / "songs.jsonl", lines)
    given = arguments(tmp_path, tmp_path / "out", model=folder / "model")
    with pytest.raises(ValueError, match=r"songs: 1 of 5 songs are missing:\n  .*gone\.wav: no such file"):
        main(given)
    # Its header is good: only decoding finds the fault.
    (tmp_path / "torn.wav").write_bytes((folder / "2.wav").read_bytes()[:60])
    lines[2]["audio"] = str(tmp_path / "torn.wav")
    write_lines(tmp_path / "songs.jsonl", lines)
    result = main([*given, "--on_bad_audio", "skip"])
    assert (result.gallery_size, result.num_texts) == (3, 4)
    assert sorted(song["id"] for song in result.missing) == ["s1", "s2"]
    assert "NOTE: 2 songs are missing" in capsys.readouterr().out


def test_texts_that_are_too_long(folder, main, tmp_path, capsys):
    CollapModel(tiny_config()).save_pretrained(tmp_path / "model")
    extractor = CollapFeatureExtractor(chunk_length_s=CHUNK_LENGTH_S)
    CollapProcessor(extractor, tiny_tokenizer("a piano"), max_text_tokens=6).save_pretrained(tmp_path / "model")
    given = arguments(folder, tmp_path / "out", model=tmp_path / "model")
    with pytest.raises(ValueError, match="at most 6 tokens"):
        main(given)
    assert not (tmp_path / "out").exists()  # no song has been encoded yet
    result = main([*given, "--truncate_texts"])
    assert result.options["truncated_texts"] == 3
    assert "3 different texts were cut" in capsys.readouterr().out


@pytest.mark.slow
def test_processes_find_what_one_finds(folder, tmp_path):
    """As commands; what one process has left undone, two finish."""
    lines = [{**line, "audio": str(folder / line["audio"])} for line in read_lines(folder / "songs.jsonl")]
    write_lines(tmp_path / "songs.jsonl", [{**line, "spans_s": [[0.1, 0.3]]} for line in lines])

    def run(num_processes: int, output: Path, num_songs: int = 5) -> EvaluationResult:
        given = arguments(tmp_path, output, "--save_scores", f"--max_songs={num_songs}", model=folder / "model")
        printed = run_processes(num_processes, SCRIPT, *given, "--block_frames=10")  # a block a song
        assert printed.count(f"{num_songs} songs (audio ") == 1
        return EvaluationResult.load(output / "results.json")

    one = run(1, tmp_path / "1")
    run(1, tmp_path / "2", num_songs=2)
    for num_processes in (2, 3):
        several = run(num_processes, tmp_path / str(num_processes))
        assert (one.options["processes"], several.options["processes"]) == (1, num_processes)
        for same in (
            "metrics",
            "moments",
            "intervals",
            "manifest_hash",
            "audio_hash",
            "revision",
            "encoded",
            "missing",
        ):
            assert getattr(one, same) == getattr(several, same)
        scores = [np.load(tmp_path / str(number) / "scores.npy") for number in (1, num_processes)]
        np.testing.assert_array_equal(*scores)  # to the last bit
    assert len(list(tmp_path.glob("2/cache/*/shard-*"))) == 3
