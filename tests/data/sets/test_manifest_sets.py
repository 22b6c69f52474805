# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Manifests and the song corpus as sets, and the list of all sets."""

import inspect
import json
import re
from pathlib import Path

import pytest

pytest.importorskip("datasets", reason="manifests need the extra 'train'")

from set_miniatures import pairs, write_audio

from collap.data.sets.manifest import load_manifest_set
from collap.data.sets.registry import SETS, load_set
from collap.data.sets.song_corpus import load_song_corpus

DOCS = Path(__file__).resolve().parents[3] / "docs/evaluation_sets.md"
FLUTE = ["A flute.", "Then drums."]


def write_lines(path, lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


@pytest.fixture
def manifest(tmp_path):
    for name in "abc":
        write_audio(tmp_path / "songs" / f"{name}.wav")
    lines = [
        {"audio": "songs/a.wav", "text": FLUTE, "texts": [FLUTE, ["Flute, drums."]]},
        {"audio": "songs/b.wav", "text": ["A harp."], "texts": [["Harp."]]},
        {"audio": "songs/gone.wav", "text": ["Strings."], "texts": [["Strings play."]]},
    ]
    return write_lines(tmp_path / "mine.jsonl", lines)


def test_each_wording_of_a_manifest_is_a_query(manifest):
    loaded = load_manifest_set(manifest)
    assert pairs(loaded) == [
        ("songs/a.wav", "A flute. Then drums."),
        ("songs/a.wav", "Flute, drums."),
        ("songs/b.wav", "A harp."),
        ("songs/b.wav", "Harp."),
    ]
    assert [text.id for text in loaded.texts[:2]] == ["songs/a.wav#1", "songs/a.wav#2"]
    assert loaded.name == "manifest mine"
    assert loaded.description["texts_of_missing_songs"] == 2
    assert [song.reason for song in loaded.missing] == ["no file of audio"]


def test_one_column_of_a_manifest_can_be_chosen(manifest):
    assert [song for song, _ in pairs(load_manifest_set(manifest, column="text"))] == ["songs/a.wav", "songs/b.wav"]
    assert len(load_manifest_set(manifest, column="texts").texts) == 3
    with pytest.raises(ValueError, match="column must be one of all, text, texts, got 'title'"):
        load_manifest_set(manifest, column="title")
    write_lines(manifest, [{"audio": "songs/a.wav", "text": "A flute."}])
    with pytest.raises(ValueError, match=r"column must be one of all, text for .*mine.jsonl, got 'texts'"):
        load_manifest_set(manifest, column="texts")


def test_rows_of_one_song_id_are_texts_of_one_song(manifest):
    lines = [
        {"audio": "songs/a.wav", "song_id": "x", "text": "A flute."},
        {"audio": "songs/b.wav", "song_id": "y", "text": "A harp."},
        {"audio": "songs/c.wav", "song_id": "x", "text": "A slow flute."},
    ]
    loaded = load_manifest_set(write_lines(manifest, lines))
    assert list(loaded.songs) == ["x", "y"]
    assert loaded.songs["x"].endswith("a.wav")
    assert [text.song_ids for text in loaded.texts] == [("x",), ("y",), ("x",)]


def test_a_text_of_several_songs_has_several_right_answers(manifest):
    lines = [
        {"audio": "songs/a.wav", "texts": [["A flute."], ["Flute."]]},
        {"audio": "songs/b.wav", "texts": [["A flute."], ["A harp."]]},
        {"audio": "songs/gone.wav", "texts": [["Flute."], ["Strings."]]},
        {"audio": "songs/b.wav", "texts": [["A flute."], ["A loud harp."]]},
    ]
    loaded = load_manifest_set(write_lines(manifest, lines))
    assert [(text.id, " ".join(text.text), text.song_ids) for text in loaded.texts] == [
        ("songs/a.wav#1", "A flute.", ("songs/a.wav", "songs/b.wav")),
        ("songs/a.wav#2", "Flute.", ("songs/a.wav",)),  # the other song is missing, its text is not
        ("songs/b.wav#1", "A harp.", ("songs/b.wav",)),
        ("songs/b.wav#2", "A loud harp.", ("songs/b.wav",)),
    ]
    assert loaded.targets()[0].tolist() == [True, True]
    assert loaded.description["texts_of_several_songs"] == 2
    assert loaded.description["identical_texts"] == 0


def test_the_hash_of_a_manifest_does_not_depend_on_where_it_lies(manifest, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "mine.jsonl").write_bytes(manifest.read_bytes())
    moved = load_manifest_set(elsewhere / "mine.jsonl", manifest.parent)
    assert moved.songs["songs/a.wav"] == str(manifest.parent / "songs/a.wav")
    assert moved.manifest_hash == load_manifest_set(manifest).manifest_hash


def test_a_folder_of_songs_with_texts_is_a_set(tmp_path):
    write_audio(tmp_path / "first.wav")
    (tmp_path / "first.txt").write_text("A flute.", encoding="utf-8")
    assert pairs(load_manifest_set(tmp_path)) == [("first.wav", "A flute.")]


def test_no_manifest_and_no_folder_are_told(manifest, tmp_path_factory):
    with pytest.raises(ValueError, match="data_dir: there is no manifest"):
        load_manifest_set(manifest.with_name("other.jsonl"))
    absolute = [{"audio": str(manifest.parent / "songs/a.wav"), "text": "A flute."}]
    with pytest.raises(ValueError, match=r"audio_dir must be left out: no path in .* is relative"):
        load_manifest_set(
            write_lines(manifest.parent / "deep" / "songs.jsonl", absolute), tmp_path_factory.mktemp("other")
        )
    with pytest.raises(ValueError, match="audio_dir must be left out for a folder of songs"):
        load_manifest_set(manifest.parent, manifest.parent)
    with pytest.raises(ValueError, match="audio_dir: there is no folder"):
        load_manifest_set(manifest, manifest.parent / "nowhere")


def section(start_s, end_s, **queries):
    return {"start_s": start_s, "end_s": end_s, "query_tags": ["lead"], **queries}


@pytest.fixture
def corpus(tmp_path):
    lines = []
    for number in range(3):
        write_audio(tmp_path / "content" / f"{number:05d}.wav")
        sections = [
            section(0.0, 5.5, query=[f"A flute {number}."], query_new=["Flute."]),
            section(5.5, 9.0, query=[f"Drums {number}."], query_new=["Beats."]),
        ]
        if number == 1:
            sections[1]["query_freehand"] = ["Somebody drums."]
        lines.append(
            {
                "audio": f"content/{number:05d}.wav",
                "text": [f"Song {number}.", "It ends."],
                "text_new": [f"A piece, {number}."],
                "sections": sections,
            }
        )
    write_lines(tmp_path / "content.jsonl", lines)
    write_lines(
        tmp_path / "train.jsonl", [{"audio": lines[0]["audio"], "texts": [["One."], ["Two."]], "sections": []}]
    )
    (tmp_path / "corpus.json").write_text(json.dumps({"arguments": {"seed": 3}}), encoding="utf-8")
    return tmp_path


def test_captions_of_the_corpus_are_of_whole_songs(corpus):
    loaded = load_song_corpus(corpus, column="text_new")
    assert pairs(loaded) == [(f"content/{number:05d}", f"A piece, {number}.") for number in range(3)]
    assert loaded.texts[0].moment_s is None
    assert not loaded.description["section_query"]
    assert loaded.description["corpus"] == {"seed": 3}


def test_queries_of_the_corpus_are_of_sections(corpus):
    loaded = load_song_corpus(corpus, column="query")
    assert len(loaded.texts) == 6
    assert loaded.texts[3].id == "content/00001#2"
    assert (loaded.texts[3].text, loaded.texts[3].moment_s) == (["Drums 1."], (5.5, 9.0))
    assert loaded.description["section_query"]
    assert load_song_corpus(corpus, column="query_new").description["identical_texts"] == 6


def test_a_column_of_some_sections_gives_their_queries_and_names_the_songs_without(corpus):
    loaded = load_song_corpus(corpus, column="query_freehand")
    assert [text.song_ids for text in loaded.texts] == [("content/00001",)]
    assert len(loaded.songs) == 3
    assert loaded.description["rows_left_out"]["count"] == 2


def test_several_captions_of_a_training_song_are_texts_of_it(corpus):
    loaded = load_song_corpus(corpus, split="train", column="texts")
    assert [(text.id, text.text) for text in loaded.texts] == [
        ("content/00000#1", ["One."]),
        ("content/00000#2", ["Two."]),
    ]


def test_the_corpus_names_its_columns_and_splits(corpus):
    with pytest.raises(ValueError, match="column must be one of text, text_new, query, query_freehand, query_new in"):
        load_song_corpus(corpus, column="query_tags")
    with pytest.raises(ValueError, match=r"must hold 'order.jsonl', it holds content.jsonl"):
        load_song_corpus(corpus, split="order")


def test_the_corpus_may_lack_songs_but_not_have_them_twice_or_outside(corpus):
    (corpus / "content/00002.wav").unlink()
    assert [song.id for song in load_song_corpus(corpus).missing] == ["content/00002"]
    lines = (corpus / "content.jsonl").read_text(encoding="utf-8")
    (corpus / "content.jsonl").write_text(lines + lines, encoding="utf-8")
    with pytest.raises(ValueError, match=r"line 4 has the song 'content/00000' a second time"):
        load_song_corpus(corpus)
    write_lines(corpus / "content.jsonl", [{"audio": "../x.wav", "text": ["A."]}])
    with pytest.raises(ValueError, match=r"line 1: audio must be a path inside of the folder of audio"):
        load_song_corpus(corpus)


@pytest.mark.parametrize("name", SETS)
def test_every_set_says_what_it_is_and_takes_what_it_says(name):
    entry = SETS[name]
    parameters = inspect.signature(entry.load).parameters
    assert list(parameters)[:2] == ["data_dir", "audio_dir"]
    assert parameters["audio_dir"].default is None
    assert set(entry.arguments) == set(parameters) - {"data_dir", "audio_dir"}
    assert all(parameters[argument].default is not inspect.Parameter.empty for argument in entry.arguments)
    assert "\n" not in entry.summary
    assert entry.download
    assert entry.licence
    assert entry.paper_row


@pytest.mark.parametrize("name", SETS)
def test_every_set_has_a_command_in_the_docs_with_arguments_that_it_has(name):
    text = DOCS.read_text(encoding="utf-8")
    given = "--manifest " if name == "manifest" else f"--set {name} "
    commands = [block for block in text.replace("\\\n", " ").splitlines() if given in block and "evaluate.py" in block]
    assert commands, f"{DOCS} has no command for {name}"
    for command in commands:
        arguments = re.findall(r"(\w+)=\S+", command)
        assert set(arguments) <= set(SETS[name].arguments), command
    assert f"(`{name}`)" in text


def test_sets_are_loaded_by_name(manifest):
    assert load_set("manifest", manifest, column="text").name == "manifest mine"
    with pytest.raises(ValueError, match=r"name must be one of song_describer, .*, got 'nothing'"):
        load_set("nothing", manifest)
    with pytest.raises(ValueError, match="manifest takes the arguments split, column, name, got subset"):
        load_set("manifest", manifest, subset="valid")
