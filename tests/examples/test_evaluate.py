# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""`examples/evaluate.py` from songs and texts to a result: alone, in two processes, with songs missing."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_clap import tiny_clap
from tiny_models import CHUNK_LENGTH_S, tiny_config
from tiny_tokenizer import tiny_tokenizer

from collap import CollapFeatureExtractor, CollapModel, CollapProcessor
from collap.data.sets import registry
from collap.data.sets.registry import SETS
from collap.encode import extract_features
from collap.evaluation.result import EvaluationResult

TESTS = Path(__file__).resolve().parents[1]
SCRIPT = TESTS.parent / "examples" / "evaluate.py"
sys.path.insert(0, str(TESTS / "evaluation"))
from tiny_retrieval import TEXTS, tiny_collap, write_songs  # noqa: E402

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


@pytest.fixture
def main(monkeypatch):
    """The script's; loaded under another name, as `evaluate` is a library."""
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    spec = importlib.util.spec_from_file_location("evaluate_script", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "evaluate_script", script)  # dataclasses look there
    spec.loader.exec_module(script)
    return script.main


def arguments(folder: Path, output: Path, *more: str) -> list[str]:
    given = ["--manifest", str(folder / "songs.jsonl"), "--model_name_or_path", str(folder / "model")]
    return [*given, "--output_dir", str(output), "--use_cpu", *more]


@torch.no_grad()
def live_scores(folder: Path, texts: list[str], **options) -> np.ndarray:
    model, processor = CollapModel.from_pretrained(folder / "model"), CollapProcessor.from_pretrained(folder / "model")
    songs = [str(folder / f"{index}.wav") for index in range(len(SECONDS))]
    audio = model.get_audio_features(**processor(audio=songs, return_tensors="pt"))
    text = model.get_text_features(**processor(text=texts, return_tensors="pt"))
    return model.score(audio, text, **options).T.numpy()


def test_a_manifest_is_evaluated(folder, main, tmp_path, capsys):
    result = main(arguments(folder, tmp_path, "--save_scores"))
    scores, ids = np.load(tmp_path / "scores.npy"), json.loads((tmp_path / "scores.json").read_text())
    assert ids == {"texts": ["s0#1", "s1#1", "s2#1", "s3#1", "s4#1", "s0#2"], "songs": ["s0", "s1", "s2", "s3", "s4"]}
    expected = live_scores(folder, [line["text"] for line in read_lines(folder / "songs.jsonl")])
    np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-5)

    ranks = [1 + (row > row[song]).sum() for row, song in zip(expected, [0, 1, 2, 3, 4, 0], strict=True)]
    assert result.figures["text_to_audio"]["median_rank"] == np.median(ranks)
    assert result.figures["text_to_audio"]["recall@1"] == np.mean(np.array(ranks) == 1)
    assert (result.gallery_size, result.num_texts, result.missing) == (5, 6, [])
    assert (result.heard["max"], result.heard["songs_cut"]) == (pytest.approx(2.24, abs=0.01), 0)
    assert result.model == f"CollapModel {folder / 'model'}"
    assert (result.options["use_time"], result.options["processes"], result.options["truncated_texts"]) == (True, 1, 0)

    saved = EvaluationResult.load(tmp_path / "results.json")
    assert (saved.figures, saved.manifest_hash) == (result.figures, result.manifest_hash)
    assert result.format() in capsys.readouterr().out
    assert not (tmp_path / "blocks").exists()


def test_other_ways_of_scoring_take_the_same_embeddings(folder, main, tmp_path):
    texts = [line["text"] for line in read_lines(folder / "songs.jsonl")]
    for option, keyword in (("--use_time=false", "use_time"), ("--section_query=true", "section_query")):
        output = tmp_path / keyword
        main([*arguments(folder, output, option), "--save_scores", "--embeddings_dir", str(tmp_path / "kept")])
        expected = live_scores(folder, texts, **{keyword: keyword == "section_query"})
        np.testing.assert_allclose(np.load(output / "scores.npy"), expected, rtol=0, atol=1e-5)
    main([*arguments(folder, tmp_path / "cut", "--truncate_texts"), "--embeddings_dir", str(tmp_path / "kept")])
    assert len(list(tmp_path.glob("kept/*/shard-*"))) == 1  # nothing was heard twice


def test_results_are_compared(folder, main, tmp_path, capsys):
    for name, option in (("time", "true"), ("no_time", "false")):
        main([*arguments(folder, tmp_path / name, f"--use_time={option}"), "--embeddings_dir", str(tmp_path / "kept")])
    capsys.readouterr()
    main(["--compare", str(tmp_path / "time" / "results.json"), str(tmp_path / "no_time" / "results.json")])
    said = capsys.readouterr().out
    # figures and differences, in each direction
    assert said.count(f"| CollapModel {folder / 'model'} (without time)") == 4
    assert said.count(f"| minus CollapModel {folder / 'model'} ") == 2
    assert said.index("text -> audio") < said.index("audio -> text")


def test_texts_of_moments_are_scored_as_such(folder, main, tmp_path, monkeypatch):
    """As the set says, if the arguments say nothing."""
    load = registry.load_set

    def load_moments(*given):
        evaluation_set = load(*given)
        evaluation_set.description["section_query"] = True
        return evaluation_set

    monkeypatch.setattr(registry, "load_set", load_moments)
    assert main(arguments(folder, tmp_path / "moments")).options["section_query"]
    assert not main(arguments(folder, tmp_path / "songs", "--section_query=false")).options["section_query"]


def test_a_quick_look_says_that_it_is_one(folder, main, tmp_path, capsys):
    result = main(arguments(folder, tmp_path, "--max_songs=2"))
    assert (result.gallery_size, result.num_texts) == (2, 3)
    assert "NOTE: only the first 2 of 5 songs were taken" in capsys.readouterr().out
    with pytest.raises(ValueError, match="--max_songs must be at least 1, got 0"):
        main(arguments(folder, tmp_path, "--max_songs=0"))


def test_missing_and_broken_songs(folder, main, tmp_path, capsys):
    lines = read_lines(folder / "songs.jsonl")
    for line in lines:
        line["audio"] = str(folder / line["audio"])
    lines[1]["audio"] = str(folder / "gone.wav")
    manifest = write_lines(tmp_path / "songs.jsonl", lines)
    given = [*arguments(folder, tmp_path / "out")[2:], "--manifest", str(manifest)]
    with pytest.raises(ValueError, match=r"manifest songs: 1 of 5 songs are missing:\n  .*gone\.wav: "):
        main(given)
    # Its head is good, so that only who decodes it finds out.
    whole = (folder / "2.wav").read_bytes()
    (tmp_path / "torn.wav").write_bytes(whole[:60])
    lines[2]["audio"] = str(tmp_path / "torn.wav")
    write_lines(manifest, lines)
    result = main([*given, "--on_bad_audio", "skip"])
    assert result.set_description["texts_of_missing_songs"] == 2
    assert result.set_description["audio"]["longest_s"] == 3.0
    assert (result.gallery_size, result.num_texts) == (3, 4)
    assert sorted(song["id"] for song in result.missing) == ["s1", "s2"]
    assert "NOTE: 2 songs are missing" in capsys.readouterr().out


def test_kept_features_and_the_beginning(folder, main, tmp_path):
    model, processor = CollapModel.from_pretrained(folder / "model"), CollapProcessor.from_pretrained(folder / "model")
    songs = [str(folder / f"{index}.wav") for index in range(len(SECONDS))]
    extract_features(songs, tmp_path / "features", model.audio_model, processor.feature_extractor)
    kept = main(arguments(folder, tmp_path / "kept", "--save_scores", "--features", str(tmp_path / "features")))
    assert kept.options["kept_features"]
    live = live_scores(folder, [line["text"] for line in read_lines(folder / "songs.jsonl")])
    np.testing.assert_allclose(np.load(tmp_path / "kept" / "scores.npy"), live, rtol=0, atol=0.05)

    cut = main(arguments(folder, tmp_path / "cut", "--max_length_s=0.32"))
    assert cut.heard["max"] == 0.16
    assert cut.heard["songs_cut"] == 3  # by more than a second
    assert "first 0.32 s" in cut.model


def test_a_clap(folder, main, tmp_path):
    model, processor = tiny_clap(*[joined(text) for text in TEXTS])
    for part in (model, processor):
        part.save_pretrained(tmp_path / "clap")
    given = arguments(folder, tmp_path / "mean")
    given[3] = str(tmp_path / "clap")
    assert "mean of 1 s windows" in main(given).model
    first = main([*given, "--windows=first", "--output_dir", str(tmp_path / "first")])
    assert "first 1 s" in first.model
    assert first.heard["max"] == 1.0
    with pytest.raises(ValueError, match="features is for CoLLAPs alone"):
        main([*given, "--features", "somewhere"])


def test_a_mean_pooling_baseline_scores_in_its_own_way(folder, main, tmp_path):
    model, processor = CollapModel.from_pretrained(folder / "model"), CollapProcessor.from_pretrained(folder / "model")
    model.save_pretrained(tmp_path / "mean")
    processor.save_pretrained(tmp_path / "mean")
    config = json.loads((tmp_path / "mean" / "config.json").read_text())
    (tmp_path / "mean" / "config.json").write_text(json.dumps({**config, "architectures": ["MeanPoolingCollap"]}))
    given = arguments(folder, tmp_path / "out", "--save_scores")
    given[3] = str(tmp_path / "mean")
    assert main(given).model.startswith("MeanPoolingCollap ")
    texts = [line["text"] for line in read_lines(folder / "songs.jsonl")]
    assert np.abs(np.load(tmp_path / "out" / "scores.npy") - live_scores(folder, texts)).max() > 0.01


def test_texts_that_are_too_long(folder, main, tmp_path, capsys):
    tokenizer = tiny_tokenizer("a piano")
    model = CollapModel(tiny_config())
    model.save_pretrained(tmp_path / "model")
    extractor = CollapFeatureExtractor(chunk_length_s=CHUNK_LENGTH_S)
    CollapProcessor(extractor, tokenizer, max_text_tokens=6).save_pretrained(tmp_path / "model")
    given = arguments(folder, tmp_path / "out")
    given[3] = str(tmp_path / "model")
    with pytest.raises(ValueError, match="at most 6 tokens"):
        main(given)
    assert not (tmp_path / "out").exists()  # no song has been heard yet
    result = main([*given, "--truncate_texts"])
    assert result.options["truncated_texts"] == 3
    assert "3 different texts were too long for the model and were cut" in capsys.readouterr().out


def test_what_contradicts_itself(folder, main, tmp_path):
    given = arguments(folder, tmp_path)
    name = next(iter(SETS))
    with pytest.raises(ValueError, match="Give --set or --manifest, one of the two"):
        main(given[2:])
    with pytest.raises(ValueError, match="Give --set or --manifest, one of the two"):
        main([*given, "--set", name])
    with pytest.raises(ValueError, match="--data_dir is for a --set"):
        main([*given, "--data_dir", "somewhere"])
    with pytest.raises(ValueError, match=f"Give --data_dir, the folder of {name}"):
        main([*given[2:], "--set", name])
    with pytest.raises(ValueError, match="manifest takes the arguments split, column, name, got year"):
        main([*given, "--set_arguments", "year=2024"])
    with pytest.raises(ValueError, match="must be given as NAME=VALUE, got 'all'"):
        main([*given, "--set_arguments", "all"])
    with pytest.raises(ValueError, match="--manifest: there is no file or folder gone"):
        main(["--manifest", "gone", *given[2:]])
    for option in ("num_workers", "block_frames", "block_texts"):
        with pytest.raises(ValueError, match=f"--{option} must be at least 1, got 0"):
            main([*given, f"--{option}=0"])
    with pytest.raises(ValueError, match="Give --model_name_or_path"):
        main(given[:2])


def test_arguments_of_the_set(folder, main, tmp_path):
    result = main(arguments(folder, tmp_path, "--set_arguments", "column=text", "name=mine"))
    assert result.set_name == "mine"


def test_help_lists_all_sets_and_each_is_described(main, capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    said = capsys.readouterr().out
    assert SETS
    for name, entry in SETS.items():
        assert f"    {name} " in said
        assert entry.summary in said
        main(["--describe", name])
        described = capsys.readouterr().out
        assert entry.licence in described
        assert entry.download in described
        assert all(argument in described for argument in entry.arguments)


@pytest.mark.slow
def test_two_processes_find_what_one_finds(folder, tmp_path):
    """As commands; what one process has left half done, two finish."""

    def run(num_processes: int, output: Path, num_songs: int = 5) -> EvaluationResult:
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={num_processes}"]
        command += [str(SCRIPT), *arguments(folder, output, "--save_scores", f"--max_songs={num_songs}")]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        found = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        assert found.returncode == 0, found.stderr[-4000:]
        assert found.stdout.count(f"{num_songs} songs (audio ") == 1
        return EvaluationResult.load(output / "results.json")

    one = run(1, tmp_path / "one")
    run(1, tmp_path / "two", num_songs=2)
    two = run(2, tmp_path / "two")
    assert (one.options["processes"], two.options["processes"]) == (1, 2)
    assert len(list(tmp_path.glob("two/embeddings/*/shard-*"))) == 3
    for same in ("figures", "intervals", "manifest_hash", "audio_hash", "revision", "heard", "missing"):
        assert getattr(one, same) == getattr(two, same)
    np.testing.assert_array_equal(np.load(tmp_path / "one" / "scores.npy"), np.load(tmp_path / "two" / "scores.npy"))
