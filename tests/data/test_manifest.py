# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
import csv
import json

import numpy as np
import pytest
import soundfile

datasets = pytest.importorskip("datasets", reason="the manifest reader needs the extra 'train'")

from collap.data.manifest import load_manifest  # noqa: E402 - after the skip

VERSE, CHORUS = {"start_s": 0, "end_s": 9.5, "text": "A verse."}, {"start_s": 8, "end_s": 20, "text": "A chorus."}
SONG = {"audio": "songs/a.wav", "text": "A song. A verse. A chorus. It ends."}
SEVERAL = {"audio": "songs/a.wav", "texts": ["A verse.", "The verse."]}


@pytest.fixture
def folder(tmp_path):
    """A folder with two songs and no manifest yet."""
    (tmp_path / "songs").mkdir()
    for name in ("a.wav", "b.wav"):
        soundfile.write(tmp_path / "songs" / name, np.zeros(1600), 16000)
    return tmp_path


def write_lines(folder, *rows):
    path = folder / "songs.jsonl"
    path.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows))
    return path


def test_json_lines(folder, monkeypatch):
    absolute = str(folder / "songs" / "b.wav")
    # An empty line is no song.
    rows = [{"audio": "songs/a.wav", "text": "A song.", "year": 1999}, "", {"audio": absolute, "text": "None"}]
    path = write_lines(folder, *rows)
    monkeypatch.chdir(folder)
    data = load_manifest("songs.jsonl")
    assert data.to_dict() == {"audio": [str(folder / "songs" / "a.wav"), absolute], "text": ["A song.", "None"]}
    assert load_manifest(str(path), keep_extra_columns=True)["year"][:] == [1999, None]


def test_extra_columns(folder):
    moods = {"audio": "songs/b.wav", "text": ["Three."], "moods": [{"name": "sad"}]}
    path = write_lines(folder, {"audio": "songs/a.wav", "text": ["One.", "Two."]}, moods)
    data = load_manifest(path, keep_extra_columns=True)
    assert data["text"][:] == [["One.", "Two."], ["Three."]]
    assert data["moods"][:] == [None, [{"name": "sad"}]]  # a column that only a later line has
    path = write_lines(folder, moods, {**moods, "moods": "sad"})
    assert load_manifest(path).column_names == ["audio", "text"]
    with pytest.raises(ValueError, match=r"line 2: 'moods' mixes types .*keep_extra_columns=False"):
        load_manifest(path, keep_extra_columns=True)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"audio": "songs/a.wav"}], r"needs the columns 'audio' and 'text'.*has \['audio'\]"),
        ([], "has no songs"),
        ([{"audio": "songs/a.wav", "text": "A song."}, "{"], "line 2 is not JSON"),
        (
            [{"audio": "songs/a.wav", "text": "A."}, {"audio": "songs/c.wav", "text": "B."}],
            r"line 2: no audio file \(No such file or directory\): ",
        ),
        ([{"audio": "songs/a.wav", "text": " "}], "line 1: text must be"),
        (
            [{**SONG, "sections": [VERSE]}, {**SONG, "sections": [{**VERSE, "text": ["A verse."]}]}],
            "line 2: 'sections' mixes types .*: write every text as a string",
        ),
        (
            [{**SEVERAL, "sections": [{**VERSE, "texts": ["A verse."]}]}],
            r"sections\[0\].texts must be a list of 2 texts",
        ),
    ],
)
def test_issues_of_a_manifest(folder, rows, message):
    with pytest.raises(ValueError, match=message):
        load_manifest(write_lines(folder, *rows))


def test_only_the_first_issues_are_listed(folder):
    path = write_lines(folder, *({"audio": f"songs/{n}.wav", "text": "A."} for n in range(8)))
    with pytest.raises(ValueError, match="has 8 issue") as error:
        load_manifest(path)
    assert "line 5" in str(error.value)
    assert "line 6" not in str(error.value)
    assert str(error.value).endswith("and 3 more")
    assert [issue.split(":")[0] for issue in error.value.issues] == [f"line {line}" for line in range(1, 9)]


def audio_data_set(folder):
    paths = [str(folder / "songs" / name) for name in ("a.wav", "b.wav")]
    data = datasets.Dataset.from_dict({"audio": paths, "text": ["A.", "B."], "year": [1, 2]})
    return data.cast_column("audio", datasets.Audio())


@pytest.mark.parametrize("splits", [False, True])
def test_data_set_saved_to_disk_stays_undecoded(folder, splits):
    data = audio_data_set(folder)
    saved = datasets.DatasetDict({"train": data, "test": data.select([0])}) if splits else data
    saved.save_to_disk(folder / "saved")
    loaded = load_manifest(folder / "saved", split="train" if splits else None)
    assert loaded.column_names == ["audio", "text"]
    assert set(loaded[0]["audio"]) == {"bytes", "path"}
    datasets.Dataset.from_dict({"audio": ["x"], "text": [None]}).save_to_disk(folder / "empty")
    with pytest.raises(ValueError, match="row 1: text must be"):
        load_manifest(folder / "empty")
    if splits:
        with pytest.raises(ValueError, match=r"splits \['test', 'train'\]"):
            load_manifest(folder / "saved")
        with pytest.raises(ValueError, match="split must be one of"):
            load_manifest(folder / "saved", split="dev")


@pytest.fixture
def own_cache(folder, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", folder / "cache")


def test_folder_of_parquet(folder, own_cache):
    (folder / "parquet").mkdir()
    audio_data_set(folder).to_parquet(folder / "parquet" / "train.parquet")
    loaded = load_manifest(folder / "parquet", split="train", keep_extra_columns=True)
    assert loaded.column_names == ["audio", "text", "year"]
    assert loaded[1]["audio"] == {"bytes": None, "path": str(folder / "songs" / "b.wav")}
    assert load_manifest(folder / "parquet")["text"][:] == ["A.", "B."]  # the only split needs no name


def test_sections_lengths_and_ids(folder):
    whole = {**SONG, "song_id": 7, "duration_s": 20, "sections": [{**VERSE, "label": "v"}, CHORUS]}
    path = write_lines(folder, whole, {**SONG, "song_id": "x", "group": 3, "sections": []}, SONG)
    data = load_manifest(path)
    assert data.column_names == ["audio", "text", "song_id", "duration_s", "sections", "group"]
    assert data["song_id"][:] == ["7", "x", None]
    assert data["group"][:] == [None, "3", None]
    assert data["duration_s"][:] == [20.0, None, None]
    assert data["sections"][:] == [[VERSE, CHORUS], None, None]  # sections may overlap
    with_label = load_manifest(path, keep_extra_columns=True)[0]["sections"]
    assert [section["label"] for section in with_label] == ["v", None]


def test_sections_of_several_wordings(folder):
    texts = [["A song.", "A verse.", "A chorus."], ["Verse first.", "Then a chorus."]]
    times = [{"start_s": 0.0, "end_s": 9.0}, {"start_s": 9.0, "end_s": 20.0}]
    told = [[["A verse."], ["Verse first."]], [["A chorus."], ["Then a chorus."]]]
    expected = [{**time, "texts": wordings} for time, wordings in zip(times, told, strict=True)]
    row = {"audio": "songs/a.wav", "texts": texts}
    assert load_manifest(write_lines(folder, {**row, "sections": expected}))[0]["sections"] == expected
    indices = [{**times[0], "sentences": [[1], [0]]}, {**times[1], "sentences": [[2], [1]]}]
    assert load_manifest(write_lines(folder, {**row, "sections": indices}))[0]["sections"] == expected
    one = {"audio": "songs/a.wav", "text": texts[0], "sections": [{**times[1], "sentences": [1, 2]}]}
    (section,) = load_manifest(write_lines(folder, one))[0]["sections"]
    assert section == {**times[1], "text": ["A verse.", "A chorus."]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sections": [{**VERSE, "start_s": -1}]}, r"sections\[0\] must have start_s >= 0 and a later end_s, got -1"),
        ({"sections": [VERSE, {**CHORUS, "end_s": 8}]}, r"sections\[1\] must have .* later end_s, got 8 and 8"),
        ({"sections": [{**VERSE, "end_s": 10**400}]}, "later end_s, got 0 and 1000000"),
        (
            {"sections": [VERSE, CHORUS], "duration_s": 19.4},
            "20 s, after the end of the song at duration_s=19.4",
        ),
        (
            {"sections": [{**VERSE, "text": "A bridge."}]},
            r"\[0\]: text of the row does not contain 'A bridge.'",
        ),
        ({"sections": [CHORUS, VERSE]}, r"sections\[1\]: text .* does not contain 'A verse.', in their order"),
        (
            {"text": ["A verse."], "sections": [{"start_s": 0, "end_s": 1, "sentences": [1]}]},
            r"sections\[0\].sentences must be indices of the row's sentences, got \[1\]",
        ),
        (
            {"text": ["A verse."], "sections": [{"start_s": 0, "end_s": 1, "sentences": [-1]}]},
            r"sections\[0\].sentences must be indices of the row's sentences, got \[-1\]",
        ),
        ({"duration_s": "3:20"}, "duration_s must be seconds, more than 0, got '3:20'"),
    ],
)
def test_issues_of_sections_lengths_and_ids(folder, change, message):
    with pytest.raises(ValueError, match=f"line 2: .*{message}"):
        load_manifest(write_lines(folder, SONG, {**SONG, **change}))


def write_csv(folder, *rows):
    with (folder / "songs.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return folder / "songs.csv"


def test_csv_holds_sections_and_texts_as_json(folder):
    sections = [{"start_s": 0.0, "end_s": 9.5, "texts": ["A verse.", "Verse."]}]
    header = ["audio", "texts", "song_id", "duration_s", "sections"]
    texts = '["A verse.", "Verse."]'
    path = write_csv(
        folder,
        header,
        ["songs/a.wav", texts, "007", "61.5", json.dumps(sections)],
        ["songs/b.wav", texts, "", "", ""],
    )
    first, second = load_manifest(path)
    expected = {"texts": ["A verse.", "Verse."], "song_id": "007", "duration_s": 61.5, "sections": sections}
    assert first == {"audio": str(folder / "songs" / "a.wav"), **expected}
    assert [second[name] for name in header[2:]] == [None, None, None]
    path = write_csv(
        folder, ["audio", "text", "note"], ["songs/a.wav", "Slow, then\nfast.", ""], ["songs/b.wav", "NA", "x"]
    )
    data = load_manifest(path, keep_extra_columns=True)  # texts and other columns as they are
    assert (data["text"][:], data["note"][:]) == (["Slow, then\nfast.", "NA"], ["", "x"])
    for cells, message in (
        (["songs/a.wav", "A text.", "", "", ""], "line 2: texts, 'A text.': not JSON"),
        (["songs/a.wav", texts, "", "3:20", ""], "line 2: duration_s, '3:20': could not convert"),
        (["songs/a.wav", texts, "", "", "", "more"], "line 2 has 6 cells, the header has 5"),
    ):
        with pytest.raises(ValueError, match=message):
            load_manifest(write_csv(folder, header, cells))


def write_parquet(folder, *rows, **options):
    datasets.Dataset.from_list(list(rows)).to_parquet(folder / "songs.parquet", **options)
    return folder / "songs.parquet"


def test_parquet_says_what_json_lines_say(folder, own_cache):
    rows = [
        {**SONG, "song_id": 7, "duration_s": 20, "year": 1, "sections": [VERSE, CHORUS]},
        {"audio": "songs/b.wav", "text": "A song.", "song_id": 8, "duration_s": 3, "year": 2, "sections": None},
    ]
    lines, parquet = write_lines(folder, *rows), write_parquet(folder, *rows)
    for options in ({}, {"keep_extra_columns": True}):
        expected = list(load_manifest(lines, **options))
        assert list(load_manifest(parquet, **options)) == expected
    with pytest.raises(ValueError, match="needs the columns 'audio' and 'text'"):
        load_manifest(write_parquet(folder, {"audio": "songs/a.wav"}))
    bad = write_parquet(folder, SONG, {**SONG, "audio": "songs/c.wav"}, {**SONG, "text": ""})
    with pytest.raises(ValueError, match=r"has 2 issue.*\n  row 2: no audio file .*\n  row 3: text must be"):
        load_manifest(bad)


def test_parquet_with_songs_in_it(folder, own_cache):
    audio = {"bytes": (folder / "songs" / "a.wav").read_bytes(), "path": "anywhere.wav"}
    row = {"audio": audio, "text": "A song."}
    assert load_manifest(write_parquet(folder, row))[:1] == {name: [value] for name, value in row.items()}
    with pytest.raises(ValueError, match="row 1: audio has neither bytes nor a path"):
        load_manifest(write_parquet(folder, {**row, "audio": {"bytes": None, "path": None}}))


def test_audio_folder_with_texts_beside_the_songs(folder):
    songs = folder / "songs"
    (songs / "more").mkdir()
    soundfile.write(songs / "more" / "c.flac", np.zeros(1600), 16000)
    (songs / "a.txt").write_text("\ufeffA song. A verse.\n", encoding="utf-8")
    (songs / "b.json").write_text(json.dumps({"text": "B.", "song_id": "b"}))
    sidecar = {"text": "A song. A verse.", "sections": [{**VERSE, "start_s": 0.0}], "duration_s": 9.5}
    (songs / "more" / "c.json").write_text(json.dumps(sidecar))
    (songs / "._a.wav").write_bytes(b"what a Mac leaves behind")
    data = load_manifest(songs)
    assert data["audio"][:] == [str(songs / name) for name in ("a.wav", "b.wav", "more/c.flac")]
    assert data["text"][:] == ["A song. A verse.", "B.", "A song. A verse."]
    assert data["sections"][:] == [None, None, sidecar["sections"]]
    with pytest.raises(ValueError, match="is one split"):
        load_manifest(songs, split="train")


def test_audio_and_texts_that_do_not_go_together(folder):
    songs = folder / "songs"
    (songs / "a.json").write_text("{")
    (songs / "c.txt").write_text("C.")
    for name in ("e.wav", "e.flac", "f.wav"):
        soundfile.write(songs / name, np.zeros(1600), 16000)
    for name in ("e.txt", "f.txt", "f.json"):
        (songs / name).write_text("{}")
    for name, text in (("g.txt", " \n"), ("h.json", '["H."]')):
        (songs / name).write_text(text)
        soundfile.write((songs / name).with_suffix(".wav"), np.zeros(1600), 16000)
    with pytest.raises(ValueError, match="has 7 issue") as error:
        load_manifest(songs)
    issues = error.value.issues
    assert issues[0].startswith("a.json: not JSON: Expecting property name")
    assert issues[1] == "b.wav has no text: expected b.txt or .json beside it"
    assert issues[2] == "c.txt has no audio of its name beside it"
    assert issues[3] == "e.txt is the text of several songs: e.flac and e.wav"
    assert issues[4] == "f.wav has two texts: f.json and f.txt"
    assert issues[5].startswith("h.json: expected a JSON object with text or texts")
    assert issues[6].startswith("g.wav: text must be")
