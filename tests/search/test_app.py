# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""The routes of `collap app`: songs in parts, waveforms, answers; nothing else of the disk, and no path of it."""

import io
import json
import runpy
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
import soundfile
from fastapi.testclient import TestClient
from tiny_library import save_tiny_model, write_tagged

from collap import extras
from collap.cli import main
from collap.search.app import FIELDS, NUM_BARS, Library, _heats, make_app
from collap.search.index import SongIndex
from collap.search.query import Query

QUERY = {"q": "A slow piano. Then drums."}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """An index of three songs in folders whose names no answer may hold."""
    folder = tmp_path_factory.mktemp("secret")
    songs = folder / "Music"
    write_tagged(songs / "a.mp3", 3.0, 0, title="Alpha", artist="Anna", album="First")
    write_tagged(songs / "deep" / "b.flac", 4.0, 1, title="<b>Beta</b>", artist="Bert")
    quiet_then_loud = np.concatenate([np.full(32_000, 0.01), np.full(32_000, 0.5)]) * np.sin(np.arange(64_000))
    soundfile.write(songs / "deep" / "c.aiff", quiet_then_loud, 16_000)
    index = SongIndex.create(folder / "index", save_tiny_model(folder / "model"))
    index.update([songs])
    return index


@pytest.fixture
def index(made):
    return SongIndex.open(made.folder)


@pytest.fixture
def client(index):
    with TestClient(make_app(index)) as client:
        yield client


def song_id(index, title: str) -> str:
    return next(song.id for song in index.songs.values() if song.title == title)


def dropped(library: Library, content: bytes, name: str) -> dict[str, str]:
    library.temporary_file("token", ".upload").write_bytes(content)
    return {"upload": "token", "name": name}


def test_a_song_is_served_in_parts(client, index):
    song = index.songs[song_id(index, "Alpha")]
    with open(song.path, "rb") as file:
        content = file.read()
    whole = client.get(f"/audio/{song.id}")
    assert (whole.status_code, whole.content, whole.headers["content-type"]) == (200, content, "audio/mpeg")
    assert whole.headers["accept-ranges"] == "bytes"
    part = client.get(f"/audio/{song.id}", headers={"Range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, content[100:200])
    assert part.headers["content-range"] == f"bytes 100-199/{len(content)}"
    assert client.head(f"/audio/{song.id}").headers["content-length"] == str(len(content))


def test_a_format_that_browsers_lack_is_made_an_mp3(client, index):
    song = song_id(index, "c")
    answer = client.get(f"/audio/{song}?mp3", headers={"Range": "bytes=0-"})
    assert (answer.status_code, answer.headers["content-type"]) == (206, "audio/mpeg")
    with av.open(io.BytesIO(answer.content)) as container:
        assert container.format.name == "mp3"
        num_samples = sum(frame.samples for frame in container.decode(audio=0))
    assert num_samples / 44_100 == pytest.approx(4.0, abs=0.1)


def test_a_waveform_is_the_loudness_over_the_song(client, index):
    bars = client.get(f"/waveform/{song_id(index, 'c')}").json()
    assert (len(bars), max(bars)) == (NUM_BARS, 100)
    assert set(bars[: NUM_BARS // 2 - 1]) == {2}  # 0.01 / 0.5
    assert min(bars[NUM_BARS // 2 + 1 : -1]) > 95


@pytest.mark.parametrize("route", ["audio", "waveform"])
def test_only_songs_of_the_index_are_served(client, route):
    for name in ("0" * 32, "..%2f..%2fetc%2fpasswd", "%2fetc%2fpasswd", "songs.sqlite"):
        answer = client.get(f"/{route}/{name}")
        assert answer.status_code == 404
        assert answer.json()["detail"] in ("This song is not in the index.", "Not Found")


def test_a_file_that_is_gone_is_said_without_its_path(tmp_path, made):
    shutil.copytree(made.folder.parent, tmp_path / "library", ignore=shutil.ignore_patterns("index"))
    index = SongIndex.create(tmp_path / "index", str(tmp_path / "library" / "model"))
    index.update([tmp_path / "library" / "Music"])
    shutil.rmtree(tmp_path / "library" / "Music")
    with TestClient(make_app(index)) as client:
        for route in ("audio", "waveform"):
            answer = client.get(f"/{route}/{song_id(index, 'Alpha')}")
            assert answer.status_code == 404
            assert answer.json() == {"detail": "The file of Alpha is gone: update the index."}
    library = Library(index, made.folder.parent / "Music")  # where they are now
    assert library.song_file(song_id(index, "<b>Beta</b>")) == made.folder.parent / "Music" / "deep" / "b.flac"


def test_gradios_own_files_and_uploads_are_closed(client, index):
    song = index.songs[song_id(index, "Alpha")]
    for path in (song.path, "pyproject.toml", "/etc/passwd"):
        assert client.get(f"/gradio_api/file={path}").status_code == 404
        assert client.get(f"/gradio_api/file/{path}").status_code == 404
    assert client.post("/gradio_api/upload", files={"files": b"hello"}).status_code == 404
    assert client.get("/gradio_api/proxy=https://example.com").status_code == 404
    assert client.get("/gradio_api/deep_link?session_hash=x").status_code == 404


def test_a_forged_query_brings_no_file_to_gradios_cache(client, index):
    """Without `has_launched`, Gradio copies any file that a field names, and tells where."""
    song = index.songs[song_id(index, "Alpha")]
    forged = {"path": song.path, "meta": {"_type": "gradio.FileData"}}
    query = {"data": [forged, *[""] * (len(FIELDS) - 1)], "fn_index": 0, "session_hash": "forger"}
    assert client.post("/gradio_api/queue/join", json=query).status_code == 200
    answer = client.get("/gradio_api/queue/data?session_hash=forger").text
    assert '"success":false' in answer
    assert "a.mp3" not in answer


def test_no_path_is_in_what_the_browser_gets(client, index):
    texts = [client.get(url).text for url in ("/", "/config", "/gradio_api/info", "/theme.css", "/openapi.json")]
    texts += [client.get(f"/audio/{name}").text for name in ("x", "..%2fx")]
    texts.append(client.post("/songs", content=b"hello").text)
    library = Library(index)
    texts += [
        json.dumps(library.answer(fields, upload))
        for fields, upload in [
            ({}, None),
            (QUERY, None),
            ({"like": song_id(index, "Alpha")}, None),
            ({"q": "drums", "folder": "/etc"}, None),
            ({}, dropped(library, b"hello", "text.mp3")),
        ]
    ]
    for text in texts:
        assert str(index.folder.parent) not in text
        assert library.temporary.name not in text
        assert "site-packages" not in text
        assert "Traceback" not in text


def test_an_answer_has_lanes_and_spans(index, monkeypatch):
    answer = Library(index).answer(QUERY)
    assert answer["link"] == QUERY
    assert answer["message"] == "3 of 3 songs"
    assert {song["title"] for song in answer["songs"]} == {"Alpha", "<b>Beta</b>", "c"}
    for song in answer["songs"]:
        assert [lane["sentence"] for lane in song["lanes"]] == ["A slow piano.", "Then drums."]
        for lane in song["lanes"]:
            assert len(lane["heat"]) == NUM_BARS
            assert 0 <= min(lane["heat"]) <= max(lane["heat"]) <= 100
            for start_s, end_s in lane["spans"]:
                assert 0 <= start_s < end_s <= song["duration_s"] + 1e-6
    json.dumps(answer)
    for song in Library(index).answer({"q": "Drums. Drums."})["songs"]:
        assert [(lane["sentence"], len(lane["spans"])) for lane in song["lanes"]] == [("Drums.", 1)]
    split = Library(index).answer({"q": "A slow piano, then drums"})
    assert split["message"] == "3 of 3 songs. The sentence was split at its clauses."
    assert [lane["sentence"] for lane in split["songs"][0]["lanes"]] == ["A slow piano", "then drums"]
    result = index.search(Query(["A slow piano, then drums"]))
    monkeypatch.setattr(index, "search", lambda query: replace(result, is_match=False))
    closest = "Nothing here matches. These come closest. The sentence was split at its clauses."
    assert Library(index).answer(QUERY)["message"] == closest


def test_filters_and_orders(index):
    library = Library(index)

    def titles(**fields: str) -> list[str]:
        return sorted(song["title"] for song in library.answer(QUERY | fields).get("songs", []))

    assert library.folders() == {
        "Music": str(index.folder.parent / "Music"),
        "Music/deep": str(index.folder.parent / "Music" / "deep"),
    }
    assert titles(folder="Music") == ["<b>Beta</b>", "Alpha", "c"]
    assert titles(artist="anna") == ["Alpha"]
    assert titles(folder="Music/deep") == ["<b>Beta</b>", "c"]
    assert titles(min="0.06", max="0.08") == ["<b>Beta</b>", "c"]
    assert len(titles(order="any")) == len(titles(order="section")) == len(titles(**{"not": "a choir"})) == 3
    assert library.answer(QUERY | {"title": "nothing"})["message"] == "No song passes these filters."
    assert library.answer(QUERY | {"min": "two"})["error"] == "A length must be a number of minutes."
    assert library.answer(QUERY | {"folder": "/etc"})["error"] == "The index has no folder '/etc'."
    assert library.answer({"artist": "Anna"}) == {"link": {"artist": "Anna"}, "message": "3 songs to search."}


def test_two_folders_of_the_same_name_have_two_names(index, monkeypatch):
    root = index.folder.parent / "Music"
    other = SimpleNamespace(paths=("/elsewhere/Music/x/y/z.mp3",))
    monkeypatch.setitem(index._settings, "folders", [str(root), "/elsewhere/Music"])
    monkeypatch.setitem(index.songs, "other", other)
    assert Library(index).folders() == {
        "1 Music": str(root),
        "1 Music/deep": str(root / "deep"),
        "2 Music": "/elsewhere/Music",
        "2 Music/x": "/elsewhere/Music/x",
        "2 Music/x/y": "/elsewhere/Music/x/y",
    }


def test_neighbours_of_a_song_of_the_index_and_of_a_dropped_one(index):
    library = Library(index)
    own = song_id(index, "Alpha")
    answer = library.answer({"like": own})
    assert answer["message"] == "3 of 3 songs like Alpha"
    assert answer["songs"][0]["id"] == own
    assert [lane["sentence"] for lane in answer["songs"][0]["lanes"]] == ["Like Alpha"]
    assert library.answer({"like": own, "order": "section"})["songs"] == answer["songs"]  # the order is of texts
    assert library.answer({"like": "x"})["error"] == "This song is not in the index."

    with open(index.songs[own].path, "rb") as file:
        answer = library.answer({"q": "ignored"}, dropped(library, file.read(), "mine.mp3"))
    assert answer["message"] == "3 of 3 songs like mine.mp3"
    assert answer["songs"][0]["id"] == own
    assert answer["link"] == {}
    assert not library.temporary_file("token", ".upload").exists()


def test_a_text_that_is_dropped_is_one_sentence(index):
    library = Library(index)
    error = library.answer({}, dropped(library, b"hello", "text.mp3"))["error"]
    assert "text.mp3: it is no file of audio" in error
    assert "\n" not in error
    assert not library.temporary_file("token", ".upload").exists()
    again = library.answer({}, {"upload": "token", "name": "text.mp3"})["error"]
    assert "text.mp3" in again


def test_an_upload_is_kept_until_its_query_and_has_a_limit(client, index, monkeypatch):
    answer = client.post("/songs", content=b"hello")
    assert len(answer.json()["upload"]) == 32
    monkeypatch.setattr("collap.search.app.MAX_UPLOAD_BYTES", 2**20)
    answer = client.post("/songs", content=bytes(2**20 + 1))
    assert (answer.status_code, answer.json()) == (413, {"detail": "A song must have at most 1 MiB."})


def test_the_page_shows_what_another_process_has_changed(tmp_path, made):
    shutil.copytree(made.folder.parent / "Music", tmp_path / "Music")
    writer = SongIndex.create(tmp_path / "index", str(made.folder.parent / "model"))
    writer.update([tmp_path / "Music"])
    library = Library(SongIndex.open(tmp_path / "index"))
    assert len(library.answer(QUERY)["songs"]) == 3
    (tmp_path / "Music" / "a.mp3").unlink()
    writer.update()
    assert {song["title"] for song in library.answer(QUERY)["songs"]} == {"<b>Beta</b>", "c"}


def test_heat_is_over_all_songs_that_are_shown():
    """The median of 0, 0, 1, 2, 5 is 1 and the highest 5: 2 is a quarter of the way."""
    times = np.array([[0.0, 1.0], [1.0, 2.0]])
    first = SimpleNamespace(similarities=np.array([[0.0, 5.0]]), times=times, song=SimpleNamespace(duration_s=2.0))
    times = np.array([[0.0, 1.0], [1.0, 2.0], [2.0, 3.0]])
    second = SimpleNamespace(similarities=np.array([[0.0, 1, 2]]), times=times, song=SimpleNamespace(duration_s=4.0))
    heats = _heats([first, second])
    np.testing.assert_allclose(heats[0][0], np.repeat([0, 100], NUM_BARS // 2))
    np.testing.assert_allclose(heats[1][0], np.repeat([0, 0, 25, 0], NUM_BARS // 4))  # the last second has no frame


def test_the_app_of_a_space_finds_songs_that_were_moved(tmp_path, made, monkeypatch):
    songs = shutil.copytree(made.folder.parent / "Music", tmp_path / "before")
    index = SongIndex.create(tmp_path / "index", str(made.folder.parent / "model"))
    index.update([songs])
    songs.rename(tmp_path / "songs")
    monkeypatch.setenv("COLLAP_INDEX", str(tmp_path / "index"))
    monkeypatch.setenv("COLLAP_SONGS", str(tmp_path / "songs"))
    app = runpy.run_path(str(Path(__file__).parents[2] / "examples" / "app" / "app.py"))["app"]
    with TestClient(app) as client:
        assert client.get("/").status_code == 200
        for song in index.songs:
            assert client.get(f"/audio/{song}").status_code == 200


def test_what_is_missing_is_one_line(tmp_path, capsys, monkeypatch, index):
    assert main(["app", "--index", str(tmp_path)]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r'gradio must be installed for this: pip install "\.\[app\]" in a checkout'):
        make_app(index)
