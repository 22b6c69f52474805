# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
import json
import shlex
from dataclasses import replace

import numpy as np
import pytest

from collap.data.evaluation_set import EvaluationSet, EvaluationText, MissingSong
from collap.evaluation.result import EvaluationResult
from collap.files import library_versions, write_json


def make_set(**changes) -> EvaluationSet:
    """Three songs; the first has two texts, the second one, the third none."""
    texts = [
        EvaluationText("t0", "A flute.", ("a",)),
        EvaluationText("t1", "A slow flute.", ("a",)),
        EvaluationText("t2", "A drum.", ("b",)),
    ]
    fields = {"name": "three songs", "songs": {"a": "a.wav", "b": "b.wav", "c": "c.wav"}, "texts": texts}
    fields["missing"] = [MissingSong("d", "d.wav", "there is no such file")]
    return EvaluationSet(**{**fields, **changes})


HASHES = {"a": "0", "b": "1", "c": "2"}
SCORES = np.array([[0.9, 0.1, 0.2], [0.3, 0.1, 0.5], [0.2, 0.8, 0.1]])


def make_result(**changes) -> EvaluationResult:
    result = EvaluationResult.of(
        SCORES, make_set(), HASHES, [10, 20, 30], [10, 20, 60], "tiny", "abc", {"use_time": True}, 3
    )
    return replace(result, **changes)


def test_figures_by_hand():
    figures = make_result().figures
    # Texts: ranks 1, 2 and 1. k of 5 and more is left out of a gallery of 3.
    assert figures["text_to_audio"] == {
        "recall@1": pytest.approx(2 / 3),
        "map@10": pytest.approx((1 + 1 / 2 + 1) / 3),
        "mrr": pytest.approx((1 + 1 / 2 + 1) / 3),
        "median_rank": 1,
    }
    # Songs: a has texts 0 and 1 in places 1 and 2, b text 2 in place 1; c has no text and does not search.
    assert figures["audio_to_text"]["recall@1"] == pytest.approx((1 / 2 + 1) / 2)
    assert figures["audio_to_text"]["hit_rate@1"] == 1
    assert figures["audio_to_text"]["map@10"] == 1
    assert make_result().ranks == {"text_to_audio": {"t0": 1, "t1": 2, "t2": 1}, "audio_to_text": {"a": 1, "b": 1}}
    assert make_result().song_of_text == {"t0": "a", "t1": "a", "t2": "b"}


def test_the_protocol_is_named():
    result = make_result()
    assert result.gallery_size == result.num_texts == 3
    assert result.heard == {"min": 10, "median": 20, "max": 30, "share": pytest.approx(0.6667), "songs_cut": 1}
    assert result.missing == [{"id": "d", "path": "d.wav", "reason": "there is no such file"}]
    assert result.manifest_hash == make_set().manifest_hash
    text = result.format()
    for words in ("recall@1", "66.7 [", "1 songs were not heard in full", "1 songs are missing", result.manifest_hash):
        assert words in text


def test_saved_and_read_again(tmp_path):
    result = make_result()
    file = tmp_path / "results" / "tiny.json"
    result.save(file)
    again = EvaluationResult.load(file)
    assert json.loads(json.dumps(result.figures)) == again.figures
    assert again.format() == result.format()
    assert [path.name for path in file.parent.iterdir()] == ["tiny.json"]


def test_a_result_that_cannot_be_written_leaves_the_last_one(tmp_path):
    file = tmp_path / "tiny.json"
    make_result().save(file)
    before = file.read_text()
    with pytest.raises(TypeError):
        make_result(options={"model": object()}).save(file)
    assert file.read_text() == before
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.json"]


def test_the_command_can_be_given_again(monkeypatch):
    arguments = ["evaluate.py", "--audio_dir", "my songs", "--set_arguments", "split=valid"]
    monkeypatch.setattr("sys.argv", arguments)
    result = make_result()
    assert shlex.split(result.command) == ["python", *arguments]
    assert result.command in result.format()


def test_json_is_written_as_it_reads_and_whole(tmp_path):
    file = tmp_path / "new" / "folder" / "x.json"
    write_json(file, {"title": "Für Elise", "seeds": [0]})
    assert file.read_text(encoding="utf-8") == '{\n  "title": "Für Elise",\n  "seeds": [\n    0\n  ]\n}\n'
    before = file.read_bytes()
    with pytest.raises(TypeError):
        write_json(file, {"title": object()})
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir()] == ["x.json"]


def test_versions_are_those_of_installed_packages():
    versions = library_versions(["numpy", "no-such-package"])
    assert list(versions) == ["python", "numpy"]
    assert versions["numpy"] == np.__version__


@pytest.mark.parametrize("seconds", [[1, 2, np.nan], [1, 2, -1], [0, 0, 0]])
def test_seconds_that_are_none(seconds):
    with pytest.raises(ValueError, match="encoded_s must hold seconds"):
        EvaluationResult.of(SCORES, make_set(), HASHES, seconds, [10, 20, 60], "tiny", "abc")


@pytest.mark.parametrize(
    ("scores", "heard", "message"),
    [(SCORES[:2], [1, 1, 1], "scores must have shape"), (SCORES, [1, 1], "one entry for each of the 3 songs")],
)
def test_bad_arguments(scores, heard, message):
    with pytest.raises(ValueError, match=message):
        EvaluationResult.of(scores, make_set(), HASHES, heard, heard, "tiny", "abc")
