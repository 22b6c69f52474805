# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Probabilities of scores: what they mean, how they are fitted, where they are kept."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_retrieval import tiny_collap
from tiny_songs import write_song

from collap.cli import main
from collap.evaluation.retrievers import CollapRetriever
from collap.files import write_json
from collap.search.calibration import (
    CALIBRATION_FILE,
    ScoreFit,
    Trial,
    cross_fit,
    fit_scores,
    load_calibration,
    load_sets,
    score_sets,
    try_fit,
)
from collap.search.search import Description


def test_probabilities_by_hand() -> None:
    """Odds against "nothing" are exp(score / T + b) / N: here 3 / 2 and 1 / 2, so that all sum to 3."""
    fit = ScoreFit(temperature=0.5, bias=0.0)
    scores = np.array([math.log(3) / 2, 0.0])
    np.testing.assert_allclose(fit.probability(scores, 2), [1.5 / 3, 0.5 / 3])


def test_a_larger_library_makes_each_song_less_likely() -> None:
    fit = ScoreFit(temperature=1.0, bias=math.log(9))
    np.testing.assert_allclose(fit.probability(np.zeros(1), 1), [0.9])
    np.testing.assert_allclose(fit.probability(np.zeros(1), 9), [0.5])


def test_extreme_scores_overflow_nothing() -> None:
    fit = ScoreFit(temperature=1e-4, bias=0.0)
    np.testing.assert_array_equal(fit.probability(np.array([1.0, -1.0, -np.inf]), 3), [1, 0, 0])
    np.testing.assert_array_equal(fit.probability(np.array([-1.0, -1.0]), 2), [0, 0])


def draw_scores(num_songs: int, num_texts: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Scores of wrong songs from N(0, 1), of right ones from N(4, 1): the likelihood ratio is exp(4 s - 8)."""
    generator = np.random.default_rng(seed)
    targets = np.zeros((num_texts, num_songs), dtype=bool)
    targets[np.arange(num_texts), generator.integers(num_songs, size=num_texts)] = True
    return (generator.standard_normal(targets.shape) + 4 * targets).astype(np.float32), targets


def test_the_fit_finds_the_likelihood_ratio() -> None:
    fit = fit_scores(*draw_scores(num_songs=30, num_texts=6000))
    assert 1 / fit.temperature == pytest.approx(4, rel=0.05)
    assert fit.bias == pytest.approx(-8, rel=0.05)


def test_the_fit_is_the_best_of_a_grid() -> None:
    """Parity with the obvious likelihood, of each query with its song and without."""
    scores, targets = draw_scores(num_songs=7, num_texts=40)
    doubt = 1 / 42

    def likelihood(fit: ScoreFit) -> float:
        total = 0.0
        for row, is_right in zip(scores, targets, strict=True):
            with_song, without = fit.probability(row, 7), fit.probability(row[~is_right], 7)
            right, nothing = with_song[is_right].sum(), 1 - with_song.sum()
            total += (1 - doubt) * np.log(right) + doubt * np.log(nothing)
            total += (1 - doubt) * np.log(1 - without.sum()) + doubt * np.log(without.sum())
        return total

    best = fit_scores(scores, targets)
    for factor in (0.9, 1.1):
        assert likelihood(best) > likelihood(ScoreFit(best.temperature * factor, best.bias))
        assert likelihood(best) > likelihood(ScoreFit(best.temperature, best.bias * factor))


def test_a_model_without_an_error_keeps_a_doubt() -> None:
    scores = np.eye(20, dtype=np.float32)
    fit = fit_scores(scores, scores > 0)
    assert fit.temperature > 0.01
    found = fit.probability(scores, 20).max(1)
    assert (found > 0.9).all()
    assert (found < 0.99).all()


def test_the_error_by_hand() -> None:
    """Two answers of 0.95, one of them right; two of 0.25, both wrong: (2 * 0.45 + 2 * 0.25) / 4."""
    values = np.array([0.95, 0.95, 0.25, 0.25]), np.array([True, False, False, False])
    trial = Trial(*values, np.full(4, True), np.full(4, True))
    assert trial.error() == pytest.approx(0.35)
    assert trial.bins() == [(2, 0.25, 0.0), (2, pytest.approx(0.95), 0.5)]


def test_each_query_is_tried_with_its_song_and_without() -> None:
    scores = np.array([[4.0, 1.0, 0.0], [3.0, 2.0, 0.0]])
    targets = np.array([[True, False, False], [False, True, False]])
    trial = try_fit(scores, targets, ScoreFit(0.5, -3.0))
    assert trial.has_song.tolist() == [True, True, False, False]
    assert trial.is_right.tolist() == [True, False, False, False]  # the second text finds the first song
    assert trial.says_match.tolist() == [True, True, False, True]
    odds = np.exp([5.0, -1.0, -3.0]) / 3
    assert trial.probability[0] == pytest.approx(odds[0] / (1 + odds.sum()))
    assert trial.probability[2] == pytest.approx(odds[1] / (1 + odds[1:].sum()))


def test_halves_share_no_song_and_no_query() -> None:
    scores, targets = draw_scores(num_songs=24, num_texts=60)
    seen = []

    def fit(own_scores: np.ndarray, own_targets: np.ndarray) -> ScoreFit:
        seen.append(set(own_scores.ravel().tolist()))
        assert own_scores.shape[1] == 12
        assert own_targets.any(1).all()
        return fit_scores(own_scores, own_targets)

    trial = cross_fit(scores, targets, fit)
    assert len(trial.probability) == 2 * 60
    assert not seen[0] & seen[1]
    assert trial.error() < 0.1


@pytest.fixture
def model_and_manifest(tmp_path: Path) -> tuple[Path, Path]:
    """A tiny random model, and 20 songs with a text of two sentences each and a section."""
    model, processor = tiny_collap()
    model.save_pretrained(tmp_path / "model")
    processor.save_pretrained(tmp_path / "model")
    rows = []
    for index in range(20):
        write_song(tmp_path / f"{index}.wav", 0.7, index)
        words = [["slow", "fast"][index % 2], ["piano", "choir", "bass", "drums", "sings"][index % 5]]
        text = [f"a {' '.join(words)}", ["then drums", "a piano fades"][index // 10]]
        sections = [{"start_s": 0.0, "end_s": 0.3, "text": text}]
        rows.append({"audio": f"{index}.wav", "text": text, "sections": sections})
    manifest = tmp_path / "songs.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return tmp_path / "model", manifest


def test_the_command_writes_what_is_loaded(model_and_manifest, capsys) -> None:
    folder, manifest = model_and_manifest
    weights = CollapRetriever(*tiny_collap()).weights
    assert load_calibration(folder, weights) == {}
    assert main(["calibrate", str(manifest), "--model", str(folder)]) == 0
    printed = capsys.readouterr().out
    for kind in ("caption: 20 texts of 20 songs", "any_order: 20 texts of 20 songs", "section: 20 texts of 20 songs"):
        assert kind in printed
    assert "Expected calibration error" in printed

    calibrated = load_calibration(folder, weights)
    assert sorted(calibrated) == ["any_order", "caption", "section"]
    probabilities = calibrated["any_order"].probability(np.array([0.5, 0.4]), 20)
    assert probabilities.shape == (2,)
    assert (probabilities >= 0).all()
    assert probabilities.sum() < 1
    content = json.loads((folder / CALIBRATION_FILE).read_text())["kinds"]["caption"]
    assert content["num_songs"] == 20
    assert len(content["manifest"]["hash"]) == 16


def test_a_file_of_other_weights_is_not_used_and_a_damaged_one_is_an_error(tmp_path: Path, caplog) -> None:
    model, processor = tiny_collap()
    weights = CollapRetriever(model, processor).weights
    kinds = {"caption": {"temperature": 0.1, "bias": -3.0}}
    content = {"format_version": 1, "model_fingerprint": weights, "kinds": kinds}
    write_json(tmp_path / CALIBRATION_FILE, content)
    assert load_calibration(tmp_path, weights) == {"caption": ScoreFit(0.1, -3.0)}

    with torch.no_grad():
        next(model.parameters()).add_(1)
    assert load_calibration(tmp_path, CollapRetriever(model, processor).weights) == {}  # a search goes on without
    assert "made for other weights than those of the model. Write it again: collap calibrate" in caplog.text
    for wrong in (
        {**content, "format_version": 2},
        {**content, "kinds": {"caption": {"temperature": 0.0, "bias": 1.0}}},
        {**content, "kinds": {"caption": {"temperature": 1.0}}},
        {**content, "kinds": [1]},
        [],
    ):
        write_json(tmp_path / CALIBRATION_FILE, wrong)
        with pytest.raises(ValueError, match=r"calibration.json is damaged.*collap calibrate"):
            load_calibration(tmp_path, weights)
    (tmp_path / CALIBRATION_FILE).write_bytes(b"\xff{")
    with pytest.raises(ValueError, match="is damaged"):
        load_calibration(tmp_path, weights)


@pytest.fixture
def texts_of_each_kind(tmp_path: Path) -> tuple[Path, list[dict]]:
    """A manifest of 20 songs, each with a text of two sentences, one of two clauses and one of one event; its rows."""
    rows = []
    for index in range(20):
        write_song(tmp_path / f"{index}.wav", 0.4, index)
        texts = [f"A slow piano {index}. Drums.", f"A choir {index}, then a fast bass", f"A piano {index} fades"]
        rows.append({"audio": f"{index}.wav", "texts": texts})
    return write_rows(tmp_path / "texts.jsonl", rows), rows


def write_rows(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_texts_have_the_kind_of_their_search(texts_of_each_kind, tmp_path: Path) -> None:
    manifest, rows = texts_of_each_kind

    def kinds(manifest: Path, granularity: str) -> dict[str, list[str]]:
        sets = load_sets(str(manifest), tiny_collap(text_granularity=granularity, temporal_position=False)[1])
        return {kind: [text.text for text in found.texts] for kind, found in sets.items()}

    *whole, short = (list(texts) for texts in zip(*(row["texts"] for row in rows), strict=True))
    whole = [text for texts in zip(*whole, strict=True) for text in texts]
    assert kinds(manifest, "sentence") == {"caption": whole, "any_order": whole, "section": short}
    assert kinds(manifest, "document") == {"caption": [text for row in rows for text in row["texts"]]}

    only_short = [{"audio": row["audio"], "text": row["texts"][-1]} for row in rows]
    assert kinds(write_rows(tmp_path / "short.jsonl", only_short), "sentence") == {"section": short}
    sections = [{**row, "sections": [{"start_s": 0, "end_s": 0.1, "text": row["text"][2:]}]} for row in only_short]
    with_sections = kinds(write_rows(tmp_path / "sections.jsonl", sections), "sentence")
    assert with_sections == {"section": [text[2:] for text in short]}


def test_texts_are_scored_as_in_a_search(texts_of_each_kind) -> None:
    manifest, _ = texts_of_each_kind
    retriever = CollapRetriever(*tiny_collap())
    sets = load_sets(str(manifest), retriever.processor)
    frames = [retriever.embed_song(path).frames for path in list(sets["caption"].songs.values())[:3]]
    for kind, scores in score_sets(sets, retriever):
        texts = [Description(retriever, text.text, kind) for text in sets[kind].texts[:4]]
        assert {text.kind for text in texts} == {kind}
        expected = [[text.score(song, None) for song in frames] for text in texts]
        np.testing.assert_allclose(scores[:4, :3], expected, atol=1e-6)


def test_missing_songs_are_an_error_and_what_is_encoded_can_be_kept(model_and_manifest, tmp_path, capsys) -> None:
    folder, manifest = model_and_manifest
    rows = list(map(json.loads, manifest.read_text().splitlines()))
    command = ["calibrate", str(manifest), "--model", str(folder), "--cache_dir", str(tmp_path / "cache")]
    write_rows(manifest, [*rows, {"audio": "gone.wav", "text": ["a"]}])
    assert main(command) == 1
    assert f"line 21: no audio file (No such file or directory): {tmp_path / 'gone.wav'}" in capsys.readouterr().err
    (tmp_path / "damaged.wav").write_text("hello")
    write_rows(manifest, [*rows, {"audio": "damaged.wav", "text": ["a"]}])
    assert main(command) == 1
    assert "A kept cache has what was encoded." in capsys.readouterr().err
    write_rows(manifest, rows)
    assert main(command) == 0
    assert "0 are cached already and 20 of" in capsys.readouterr().out
    assert main(command) == 0
    assert "20 are cached already and 0 of" in capsys.readouterr().out


def test_bad_arguments_are_one_line(model_and_manifest, tmp_path: Path, capsys) -> None:
    folder, manifest = model_and_manifest
    few = tmp_path / "few.jsonl"
    few.write_text("".join(manifest.read_text().splitlines(keepends=True)[:3]))
    for arguments, message in (
        ([str(few), "--model", str(folder)], "must have captions or sections of at least 20 songs"),
        ([str(manifest), "--model", str(tmp_path / "none")], "--model must be a folder"),
        ([str(tmp_path / "none.jsonl"), "--model", str(folder)], "manifest: there is no file"),
    ):
        assert main(["calibrate", *arguments]) == 1
        assert message in capsys.readouterr().err
