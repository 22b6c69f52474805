# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""WikiMuTe in miniature: lists in cells, articles on several recordings, recordings in several articles."""

import pytest

pytest.importorskip("pyarrow", reason="reading tables needs the extra 'train'")

from set_miniatures import pairs, write_audio, write_csv

from collap.data.sets.wikimute import load_wikimute


def row(file, page, sentences, aspects=()):
    return {
        "file": file,
        "pageid": page,
        "aspects": repr(list(aspects)),
        "sentences": repr(list(sentences)),
        "audio_url": f"https://upload.wikimedia.org/{file}",
        "url": f"https://en.wikipedia.org/?curid={page}",
    }


TAKE_ON_ME = ['It is a "synth-pop" song.', "It has a keyboard riff, and it's fast."]
ROWS = [
    row("A-ha-Take on Me.ogg", 1, TAKE_ON_ME, ["synth-pop", "fast"]),
    row("A-ha-Take on Me.ogg", 2, ["A falsetto is sung."]),
    row("Étude No. 1.ogg", 3, ["A piano study."], ["piano"]),
    row("Étude No. 2.ogg", 3, ["A piano study."], ["piano"]),
]


@pytest.fixture
def data_dir(tmp_path):
    write_csv(tmp_path / "data" / "all.csv", ROWS)
    write_csv(tmp_path / "data" / "filtered_sf.csv", ROWS[:1])
    for name in ("A-ha-Take on Me.ogg", "Étude No. 1.ogg", "Étude_No._2.ogg"):
        write_audio(tmp_path / "data" / "audios" / name)
    return tmp_path


def test_an_article_is_a_query_for_each_of_its_recordings(data_dir):
    loaded = load_wikimute(data_dir)
    assert [text.song_ids for text in loaded.texts] == [
        ("A-ha-Take on Me.ogg",),
        ("A-ha-Take on Me.ogg",),
        ("Étude No. 1.ogg", "Étude No. 2.ogg"),
    ]
    assert loaded.texts[0].text == TAKE_ON_ME
    assert loaded.targets().sum(1).tolist() == [1, 1, 2]
    assert loaded.missing == []
    assert loaded.description["count_note"] is None


def test_sentences_and_aspects_can_be_the_queries(data_dir):
    sentences = load_wikimute(data_dir, texts="sentence")
    assert pairs(sentences)[:2] == [("A-ha-Take on Me.ogg", sentence) for sentence in TAKE_ON_ME]
    assert sentences.description["section_query"]
    assert len(sentences.texts) == 4
    aspects = load_wikimute(data_dir, texts="aspects")
    assert [text.text for text in aspects.texts] == ["synth-pop, fast", "piano"]
    assert aspects.description["rows_left_out"]["first"] == ["row 2 (A-ha-Take on Me.ogg): no aspects"]


def test_tables_are_chosen_by_name(data_dir):
    assert len(load_wikimute(data_dir, table="filtered_sf").songs) == 1
    with pytest.raises(ValueError, match=r"must hold 'filtered_mc.csv'"):
        load_wikimute(data_dir, table="filtered_mc")
    with pytest.raises(ValueError, match="table must be one of all, filtered_sf, filtered_mc, got 'none'"):
        load_wikimute(data_dir, table="none")


def test_a_text_keeps_the_recordings_that_are_there(data_dir):
    (data_dir / "data/audios/Étude No. 1.ogg").unlink()
    loaded = load_wikimute(data_dir)
    assert loaded.texts[-1].song_ids == ("Étude No. 2.ogg",)
    assert loaded.description["texts_of_missing_songs"] == 0
    assert [song.id for song in loaded.missing] == ["Étude No. 1.ogg"]


def test_a_recording_of_another_kind_is_missing_with_the_reason(data_dir):
    write_csv(data_dir / "data/all.csv", [*ROWS, row("Notes.mid", 4, ["Played by a computer."])])
    (data_dir / "data/audios/Notes.mid").write_bytes(b"MThd\x00\x00\x00\x06")
    loaded = load_wikimute(data_dir)
    assert loaded.missing[0].reason.startswith("unreadable audio")
    assert loaded.description["texts_of_missing_songs"] == 1


@pytest.mark.parametrize("cell", ["A piano study.", "{'a': 1}", "[1, 2]", "[", "__import__('os')"])
def test_a_cell_that_is_no_list_of_texts_is_refused(data_dir, cell):
    write_csv(data_dir / "data/all.csv", [{**ROWS[0], "sentences": cell}])
    with pytest.raises(ValueError, match=r"all.csv, row 1: sentences must be a list"):
        load_wikimute(data_dir)


def test_a_name_out_of_the_folder_is_refused(data_dir):
    write_csv(data_dir / "data/all.csv", [row("../../secret.ogg", 1, ["A song."])])
    with pytest.raises(ValueError, match=r"all.csv, row 1: file must be a path inside of the folder of audio"):
        load_wikimute(data_dir)


def test_a_row_of_no_article_is_refused(data_dir):
    write_csv(data_dir / "data/all.csv", [row("A-ha-Take on Me.ogg", "", ["A song."])])
    with pytest.raises(ValueError, match=r"all.csv, row 1: pageid must be that of an article, got ''"):
        load_wikimute(data_dir)
