# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
import json
import re
import shlex
from dataclasses import replace

import numpy as np
import pytest

from collap.data.cache import CachedSong
from collap.evaluation.evaluation_set import EvaluationSet, EvaluationText, MissingSong
from collap.evaluation.result import EvaluationResult, compare
from collap.metrics import bootstrap_intervals


def make_set(**changes) -> EvaluationSet:
    """Three songs; the first has two texts, the second one, the third none."""
    texts = [
        EvaluationText("t0", "A flute.", ("a",)),
        EvaluationText("t1", "A slow flute.", ("a",)),
        EvaluationText("t2", "A drum.", ("b",)),
    ]
    fields = {"name": "three songs", "songs": {"a": "a.wav", "b": "b.wav", "c": "c.wav"}, "texts": texts}
    fields |= {"missing": [MissingSong("d", "d.wav", "no such file")], "notes": ["1 row gave no text."]}
    return EvaluationSet(**{**fields, "provenance": {"licence": "CC0"}, **changes})


HASHES = {"a": "0", "b": "1", "c": "2"}
SONGS = [  # a chunk of b lacks 0.08 s, which is rounding; the second half of c was cut off
    CachedSong("shard", 60, 10, 10),
    CachedSong("shard", 120, 19.92, 20),
    CachedSong("shard", 180, 30, 60, is_truncated=True),
]
SCORES = np.array([[0.9, 0.1, 0.2], [0.3, 0.1, 0.5], [0.2, 0.8, 0.1]])


def make_result(**changes) -> EvaluationResult:
    return replace(result_of(SCORES, make_set(), HASHES, SONGS, "tiny"), **changes)


def result_of(*arguments) -> EvaluationResult:
    return EvaluationResult.of(*arguments, "abc", {"use_time": True}, 3)


def test_metrics_by_hand():
    metrics = make_result().metrics
    # Texts: ranks 1, 2 and 1. k of 5 and more is left out of a gallery of 3.
    assert metrics["text_to_audio"] == {
        "recall@1": pytest.approx(2 / 3),
        "map@10": pytest.approx((1 + 1 / 2 + 1) / 3),
        "mrr": pytest.approx((1 + 1 / 2 + 1) / 3),
        "median_rank": 1,
    }
    # Songs: a has texts 0 and 1 at ranks 1 and 2, b text 2 at rank 1; c has no text and is no query.
    assert metrics["audio_to_text"]["recall@1"] == pytest.approx((1 / 2 + 1) / 2)
    assert metrics["audio_to_text"]["hit_rate@1"] == 1
    assert metrics["audio_to_text"]["map@10"] == 1
    assert make_result().ranks == {"text_to_audio": {"t0": 1, "t1": 2, "t2": 1}, "audio_to_text": {"a": 1, "b": 1}}
    assert make_result().song_of_text == {"t0": "a", "t1": "a", "t2": "b"}


def test_how_it_was_made(monkeypatch):
    command = ["evaluate.py", "--manifest", "my songs.jsonl"]
    monkeypatch.setattr("sys.argv", command)
    result = make_result()
    assert result.gallery_size == result.num_texts == 3
    assert result.encoded == {"min": 10, "median": 19.92, "max": 30, "share": pytest.approx(0.6667), "songs_cut": 1}
    assert result.missing == [{"id": "d", "path": "d.wav", "reason": "no such file"}]
    assert (result.provenance, result.manifest_hash) == ({"licence": "CC0"}, make_set().manifest_hash)
    assert {"python", "torch", "numpy"} <= set(result.versions)
    assert shlex.split(result.command)[-2:] == command[1:]
    lines = replace(result, options={"truncated_texts": 2}).format()
    assert lines.count("NOTE: ") == 4
    for words in (
        "66.7 [",
        "33.3 % of all audio was cut off.",
        "1 songs were cut",
        "1 songs are missing",
        "1 row gave",
        "2 different texts",
    ):
        assert words in lines
    assert result.manifest_hash in lines
    assert result.command in lines


def test_it_is_saved_and_read_again(tmp_path):
    file = tmp_path / "results" / "tiny.json"
    make_result().save(file)
    again = EvaluationResult.load(file)
    assert again.metrics == json.loads(json.dumps(make_result().metrics))
    assert again.format() == replace(make_result(), date=again.date).format()


def test_only_results_of_the_same_songs_are_compared():
    table = compare([make_result(), make_result(model="other")], "text_to_audio")
    assert "other" in table
    assert "recall@5" not in table
    fewer = make_set(songs={"a": "a.wav", "b": "b.wav"})
    other = result_of(SCORES[:, :2], fewer, HASHES, SONGS[:2], "other")
    with pytest.raises(ValueError, match=r"different songs or texts; .* \(3 songs\), other .* \(2 songs"):
        compare([make_result(), other], "text_to_audio")
    other_files = result_of(SCORES, make_set(), HASHES | {"b": "7"}, SONGS, "other")
    assert other_files.manifest_hash == make_result().manifest_hash
    with pytest.raises(ValueError, match=r"different recordings; audio_hash: tiny"):
        compare([make_result(), other_files], "text_to_audio")


def test_differences_of_the_same_queries_by_hand():
    """Twelve songs, a text each: the first model finds all but the last, the second half of them at rank 2."""
    count = 12
    ids = [f"s{number}" for number in range(count)]
    texts = [EvaluationText(f"t{number}", "A tune.", (song,)) for number, song in enumerate(ids)]
    songs = EvaluationSet("twelve", {song: f"{song}.wav" for song in ids}, texts)
    good, worse = np.eye(count), np.eye(count)
    good[-1, 0] = 2
    for number in range(0, count, 2):
        worse[number, (number + 1) % count] = 2
    first, second = (
        result_of(scores, songs, dict.fromkeys(ids, "0"), SONGS[:1] * count, name)
        for name, scores in (("good", good), ("worse", worse))
    )
    assert second.ranks["text_to_audio"] == {f"t{number}": 2 - number % 2 for number in range(count)}
    change = np.array([0 if number % 2 else -1 for number in range(count - 1)] + [1])
    lower, upper = bootstrap_intervals({"hits": change}, ids)["hits"]
    expected = f"{100 * change.mean():+.1f} [{100 * lower:+.1f}, {100 * upper:+.1f}]"
    lines = re.sub(" +", " ", compare([first, second], "text_to_audio").split("\n\n")[1]).splitlines()
    assert lines[0] == "| minus good | hits@1 | hits@5 | hits@10 | mrr |"
    assert lines[2].startswith(f"| worse | {expected} | +0.0 [+0.0, +0.0] |")
    assert "hits" not in compare([first], "text_to_audio")


def test_queries_are_matched_by_their_ids():
    """Another order of the songs and texts is the same set."""
    base = make_set()
    turned = replace(base, songs=dict(reversed(base.songs.items())), texts=base.texts[::-1])
    other = result_of(SCORES[::-1, ::-1], turned, HASHES, SONGS, "other")
    table = compare([make_result(), other], "text_to_audio").split("\n\n")[1]
    assert re.findall(r"[+-]\d+\.\d", table) == ["+0.0"] * 6  # hits@1 and mrr: the gallery has three songs


def moment(text: str, song: str, iou: float) -> dict:
    metrics = {"iou": iou, "r1@0.5": float(iou >= 0.5), "map": iou / 2}
    chance = {"iou": 0.2, "r1@0.5": 0.0, "map": 0.1}
    return {"text": text, "song": song, "spans": [[0, 1]], "metrics": metrics, "chance": chance}


def test_moments_are_in_the_result(tmp_path):
    moments = [moment("t0", "a", 0.9), moment("t1", "a", 0.5), moment("t2", "b", 0.1)]
    result = EvaluationResult.of(SCORES, make_set(), HASHES, SONGS, "tiny", "abc", {}, 3, moments)
    assert result.metrics["moments"] == pytest.approx({"iou": 0.5, "r1@0.5": 2 / 3, "map": 0.25})
    assert result.metrics["chance"] == pytest.approx({"iou": 0.2, "r1@0.5": 0, "map": 0.1})
    assert result.intervals["moments"]["iou"] == pytest.approx((0.1, 0.7))  # songs are drawn: both b, or both a
    assert re.search(r"\| +iou \| +50.0 \[10.0, 70.0\] \| +20.0 \|".replace(" +iou", " iou +"), result.format())
    assert "3 moments" in result.format()
    result.save(tmp_path / "results.json")
    assert EvaluationResult.load(tmp_path / "results.json").format() == result.format()
    # Another model, better by 0.1 in two of the moments, which come in another order.
    others = [moment("t2", "b", 0.2), moment("t1", "a", 0.5), moment("t0", "a", 1.0)]
    better = EvaluationResult.of(SCORES, make_set(), HASHES, SONGS, "better", "abc", {}, 3, others)
    lines = re.sub(" +", " ", compare([result, better], "moments")).splitlines()
    assert lines[0] == "| | iou | r1@0.5 | map |"
    assert lines[-3] == "| minus tiny | iou | r1@0.5 | map |"
    assert lines[-1] == "| better | +6.7 [+5.0, +10.0] | +0.0 [+0.0, +0.0] | +3.3 [+2.5, +5.0] |"
    assert not make_result().moments
    assert "random spans" not in make_result().format()
