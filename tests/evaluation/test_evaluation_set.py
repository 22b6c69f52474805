# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Manifests with and without provenance.json as sets to evaluate on."""

import json
from pathlib import Path

import numpy as np
import pytest

from collap.evaluation.evaluation_set import EvaluationSet, EvaluationText, MissingSong, load_evaluation_set
from collap.files import write_json


def write_manifest(folder: Path, rows: list[dict], **provenance) -> Path:
    """A manifest, with an empty file for each song that is not called gone.wav."""
    for row in rows:
        if row["audio"] != "gone.wav":
            (folder / row["audio"]).touch()
    manifest = folder / "manifest.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    if provenance:
        write_json(folder / "provenance.json", provenance)
    return manifest


def queries(evaluation_set: EvaluationSet) -> list[tuple]:
    return [(text.id, text.text, text.song_ids) for text in evaluation_set.texts]


def test_rows_of_a_song_and_texts_of_several_songs(tmp_path):
    rows = [
        {"audio": "a.wav", "song_id": "a", "text": "A flute.", "texts": ["A flute.", "A calm flute."]},
        {"audio": "b.wav", "song_id": "b", "text": "A drum.", "texts": ["A calm flute.", "A loud drum."]},
        {"audio": "other.wav", "song_id": "a", "text": "A drum.", "texts": ["A slow flute."]},
    ]
    evaluation_set = load_evaluation_set(write_manifest(tmp_path, rows))
    assert evaluation_set.songs == {"a": str(tmp_path / "a.wav"), "b": str(tmp_path / "b.wav")}
    assert queries(evaluation_set) == [
        ("a#1", "A flute.", ("a",)),
        ("a#2", "A calm flute.", ("a", "b")),
        ("b#1", "A drum.", ("b", "a")),
        ("b#2", "A loud drum.", ("b",)),
        ("a#3", "A slow flute.", ("a",)),
    ]
    np.testing.assert_array_equal(evaluation_set.targets()[:3], [[True, False], [True, True], [True, True]])
    assert (evaluation_set.name, evaluation_set.section_query, evaluation_set.missing) == ("manifest", False, [])
    assert set(evaluation_set.provenance) == {"manifest"}


def test_text_ids_say_which_texts_are_one_query(tmp_path):
    rows = [
        {"audio": "a.wav", "song_id": "a", "text": ["A flute."], "text_ids": ["1"]},
        {"audio": "b.wav", "song_id": "b", "text": ["A flute."], "text_ids": ["2"]},
        {"audio": "c.wav", "song_id": "c", "text": ["A flute."], "text_ids": ["1"]},
    ]
    evaluation_set = load_evaluation_set(write_manifest(tmp_path, rows))
    assert queries(evaluation_set) == [("1", ["A flute."], ("a", "c")), ("2", ["A flute."], ("b",))]
    rows[2]["text"] = ["A drum."]
    with pytest.raises(ValueError, match=r"row 3 .* another text of the id '1'"):
        load_evaluation_set(write_manifest(tmp_path, rows))
    rows[2]["text_ids"] = ["3", "4"]
    with pytest.raises(ValueError, match=r"row 3 .* has 1 texts but 2 text_ids"):
        load_evaluation_set(write_manifest(tmp_path, rows))


def test_spans_of_texts(tmp_path):
    rows = [
        {
            "audio": "a.wav",
            "song_id": "a",
            "text": "A flute.",
            "texts": ["A flute.", "A pipe."],
            "spans_s": [[3, 4.5]],
        },
        {"audio": "a.wav", "song_id": "a", "text": "A flute.", "texts": ["A flute."], "spans_s": [[1, 2], [3, 4.5]]},
        {"audio": "b.wav", "song_id": "b", "text": "A flute.", "texts": ["A flute."], "spans_s": [[0, 9]]},
    ]
    evaluation_set = load_evaluation_set(write_manifest(tmp_path, rows))
    assert [(text.text, text.spans) for text in evaluation_set.texts] == [
        ("A flute.", {"a": [(1, 2), (3, 4.5)], "b": [(0, 9)]}),
        ("A pipe.", {"a": [(3, 4.5)]}),
    ]
    assert evaluation_set.section_query  # what has spans is not the whole song
    assert evaluation_set.keep_songs(["a"], "").texts[0].spans == {"a": [(1, 2), (3, 4.5)]}
    rows[2]["spans_s"] = [[0, 8]]
    other = load_evaluation_set(write_manifest(tmp_path, rows))
    assert other.manifest_hash != evaluation_set.manifest_hash
    rows[2]["spans_s"] = []
    assert not load_evaluation_set(write_manifest(tmp_path, [rows[2]])).section_query


@pytest.mark.parametrize("spans", [[[4, 3]], [[-1, 3]], [[1, 2, 3]], [["one", "two"]]])
def test_spans_that_are_none(tmp_path, spans):
    manifest = write_manifest(tmp_path, [{"audio": "a.wav", "text": "A flute.", "spans_s": spans}])
    with pytest.raises(ValueError, match=r"row 1 of .* must have pairs of 0 <= start < end in spans_s, got \[\["):
        load_evaluation_set(manifest)


def test_provenance_is_taken_over(tmp_path):
    (tmp_path / "silent.wav").touch()
    rows = [{"audio": "a.wav", "song_id": "a", "text": "A flute."}, {"audio": "gone.wav", "text": "A drum."}]
    provenance = {
        "name": "some set",
        "licence": "CC0",
        "section_query": True,
        "missing": [{"id": "d", "path": "d.mp3", "reason": "unreadable audio"}],
        "songs_without_text": [{"audio": "silent.wav", "song_id": "s"}],
        "notes": ["1 of 3 songs has no usable audio."],
        "manifest": {"name": "manifest.jsonl", "sha256": "0"},
    }
    evaluation_set = load_evaluation_set(write_manifest(tmp_path, rows, **provenance))
    assert evaluation_set.name == "some set"
    assert evaluation_set.section_query
    assert list(evaluation_set.songs) == ["s", "a"]
    assert [(song.id, song.reason) for song in evaluation_set.missing] == [
        ("d", "unreadable audio"),
        ("gone.wav", "no such file"),
    ]
    assert evaluation_set.notes == [
        provenance["notes"][0],
        "manifest.jsonl has changed since provenance.json was written.",
    ]
    assert evaluation_set.provenance["licence"] == "CC0"
    other = (tmp_path / "manifest.jsonl").rename(tmp_path / "other.jsonl")
    assert set(load_evaluation_set(other).provenance) == {"manifest"}


def test_another_column(tmp_path):
    rows = [
        {"audio": "a.wav", "text": ["A flute.", "A drum."], "text_new": ["Der Ton."], "sections": [
            {"start_s": 0, "end_s": 1, "text": ["A flute."], "query": ["A pipe."]},
            {"start_s": 1, "end_s": 2, "text": ["A drum."], "query": ["A tom."]},
        ]},
        {"audio": "b.wav", "text": ["A drum."], "text_new": None, "sections": None},
    ]  # fmt: skip
    manifest = write_manifest(tmp_path, rows)
    evaluation_set = load_evaluation_set(manifest, "text_new")
    assert queries(evaluation_set) == [("a.wav#1", ["Der Ton."], ("a.wav",))]
    assert evaluation_set.notes == ["1 of 2 rows have no text_new."]
    assert (evaluation_set.name, len(evaluation_set.songs)) == ("manifest text_new", 2)
    of_sections = load_evaluation_set(manifest, "sections.query")
    assert [text.text for text in of_sections.texts] == [["A pipe."], ["A tom."]]
    assert [text.spans for text in of_sections.texts] == [{"a.wav": [(0, 1)]}, {"a.wav": [(1, 2)]}]
    assert of_sections.section_query
    with pytest.raises(ValueError, match=r"text_column must .* has audio, .* got 'none'"):
        load_evaluation_set(manifest, "none")


def three_songs(**changes) -> EvaluationSet:
    texts = [EvaluationText("t0", "A flute.", ("a", "b")), EvaluationText("t1", "A drum.", ("b",))]
    fields = {"name": "three", "songs": {"a": "a.wav", "b": "b.wav", "c": "c.wav"}, "texts": texts}
    return EvaluationSet(**{**fields, **changes})


def test_some_of_the_songs():
    gone = MissingSong("b", "b.wav", "cannot be decoded")
    fewer = three_songs(missing=[MissingSong("d", "d.wav", "no such file")]).keep_songs(["a", "c"], "Why.", [gone])
    assert queries(fewer) == [("t0", "A flute.", ("a",))]
    assert [song.id for song in fewer.missing] == ["d", "b"]
    assert (list(fewer.songs), fewer.notes) == (["a", "c"], ["Why."])
    with pytest.raises(ValueError, match="1 songs and 0 texts"):
        three_songs().keep_songs(["c"], "Why.")


def test_the_hash_is_of_the_task():
    base = three_songs()
    moved = three_songs(name="moved", songs={"c": "x", "b": "y", "a": "z"}, texts=base.texts[::-1])
    assert moved.manifest_hash == base.manifest_hash
    assert base.keep_songs(["a", "b"], "").manifest_hash != base.manifest_hash
    other = three_songs(texts=[base.texts[0], EvaluationText("t1", "A drum!", ("b",))])
    assert other.manifest_hash != base.manifest_hash


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"texts": [EvaluationText("t", "A.", ("a",)), EvaluationText("t", "B.", ("a",))]}, "text id 't' twice"),
        ({"texts": [EvaluationText("t", "A.", ("x",))]}, "text 't' needs songs of the gallery"),
    ],
)
def test_sets_that_contradict_themselves(changes, message):
    with pytest.raises(ValueError, match=message):
        three_songs(**changes)


def test_a_name_on_the_hub_is_refused():
    with pytest.raises(ValueError, match="no file or folder user/songs; it cannot be a name on the Hub"):
        load_evaluation_set("user/songs")
