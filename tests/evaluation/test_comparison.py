# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
import re

import numpy as np
import pytest
from test_results import HASHES, SCORES, make_result, make_set

from collap.data.evaluation_set import EvaluationSet, EvaluationText
from collap.evaluation.result import EvaluationResult, compare
from collap.metrics import bootstrap_intervals


def test_only_what_was_measured_on_the_same_songs_is_compared():
    table = compare([make_result(), make_result(model="other")])
    assert "other" in table
    assert "recall@5" not in table
    fewer = make_set(songs={"a": "a.wav", "b": "b.wav"})
    other = EvaluationResult.of(SCORES[:, :2], fewer, HASHES, [10, 20], [10, 20], "other", "abc")
    with pytest.raises(ValueError, match=r"different songs or texts .* \(3 songs\), other .* \(2 songs\)"):
        compare([make_result(), other])
    other_files = EvaluationResult.of(SCORES, make_set(), HASHES | {"b": "7"}, [10] * 3, [10] * 3, "other", "abc")
    assert other_files.manifest_hash == make_result().manifest_hash
    with pytest.raises(ValueError, match=r"different recordings .*; audio_hash: tiny"):
        compare([make_result(), other_files])
    with pytest.raises(ValueError, match="direction must be one of text_to_audio, audio_to_text, got 'both'"):
        compare([make_result()], direction="both")


def test_rows_of_one_model_are_told_apart():
    table = compare([make_result(), make_result(options={"use_time": False}), make_result(model="other")])
    assert [line.split("|")[1].strip() for line in table.split("\n\n")[0].splitlines()[2:]] == [
        "tiny (use_time=True)",
        "tiny (use_time=False)",
        "other",
    ]
    table = compare([make_result(), make_result(revision="def")])
    assert [line.split("|")[1].strip() for line in table.split("\n\n")[0].splitlines()[2:]] == [
        "tiny (abc)",
        "tiny (def)",
    ]


def test_differences_of_the_same_queries_by_hand():
    """Twelve songs, a text each: the first model finds all but the last, the second half of them in second place."""
    count = 12
    ids = [f"s{number}" for number in range(count)]
    texts = [EvaluationText(f"t{number}", "A tune.", (song,)) for number, song in enumerate(ids)]
    songs = EvaluationSet("twelve", {song: f"{song}.wav" for song in ids}, texts)
    good, worse = np.eye(count), np.eye(count)
    good[-1, 0] = 2
    for number in range(0, count, 2):
        worse[number, (number + 1) % count] = 2
    first, second = (
        EvaluationResult.of(scores, songs, dict.fromkeys(ids, "0"), [9] * count, [9] * count, name, "abc")
        for name, scores in (("good", good), ("worse", worse))
    )
    assert second.ranks["text_to_audio"] == {f"t{number}": 2 - number % 2 for number in range(count)}
    change = np.array([0 if number % 2 else -1 for number in range(count - 1)] + [1])
    lower, upper = bootstrap_intervals({"hits": change}, ids)["hits"]
    expected = f"{100 * change.mean():+.1f} [{100 * lower:+.1f}, {100 * upper:+.1f}]"
    said = re.sub(" +", " ", compare([first, second]).split("\n\n")[1])
    assert said.splitlines()[0] == "| minus good | hits@1 | hits@5 | hits@10 | mrr |"
    assert said.splitlines()[2].startswith(f"| worse | {expected} | +0.0 [+0.0, +0.0] |")
    assert "hits" not in compare([first])


def test_queries_are_matched_by_their_ids():
    """Another order of the songs and texts is the same set."""
    same = make_set()
    turned = EvaluationSet(
        same.name, dict(reversed(same.songs.items())), same.texts[::-1], same.description, same.missing
    )
    other = EvaluationResult.of(SCORES[::-1, ::-1], turned, HASHES, [10] * 3, [10] * 3, "other", "abc")
    said = compare([make_result(), other]).split("\n\n")[1]
    assert re.findall(r"[+-]\d+\.\d", said) == ["+0.0"] * 6  # hits@1 and mrr: the gallery has three songs
