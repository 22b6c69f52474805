# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""An index follows its folders, and nothing in it is trusted blindly."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time

import numpy as np
import pytest
from filelock import FileLock
from tiny_library import save_tiny_model, write_tagged
from tiny_retrieval import tiny_collap

from collap.files import write_json
from collap.search.index import SongIndex, _write_settings
from collap.search.query import Query


@pytest.fixture(scope="module")
def songs(tmp_path_factory):
    """Four songs in three formats, one of them twice, and a text that claims to be one."""
    folder = tmp_path_factory.mktemp("songs")
    write_tagged(folder / "a.mp3", 3.0, 0, title="Alpha", artist="Anna", album="First")
    write_tagged(folder / "b.flac", 4.0, 1, title="Beta", artist="Bert")
    write_tagged(folder / "deep" / "c.ogg", 5.0, 2)
    write_tagged(folder / "d.wav", 2.5, 3, title="Delta")
    shutil.copy(folder / "d.wav", folder / "deep" / "d again.wav")
    (folder / "text.mp3").write_text("hello")
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory, model, songs):
    folder = tmp_path_factory.mktemp("index") / "index"
    update = SongIndex.create(folder, model).update([songs])
    assert (update.num_songs, update.num_files) == (4, 6)
    return folder


@pytest.fixture
def library(tmp_path, made, songs):
    """A copy of the index and of its songs, to be changed."""
    shutil.copytree(songs, tmp_path / "songs")
    shutil.copytree(made, tmp_path / "index")
    index = SongIndex.open(tmp_path / "index")
    update = index.update([tmp_path / "songs"])  # the same content at other paths: nothing is encoded
    assert update.num_songs == 4
    index.remove([songs])
    return index


def encoded_at(index) -> dict[str, float]:
    """When the shard of each song was written."""
    shards = {name: song.shard for name, song in index._cache.songs.items()}
    return {name: (index.folder / "frames" / shard).stat().st_mtime_ns for name, shard in shards.items()}


def by_title(index):
    return {song.title: song for song in index.songs.values()}


def test_an_index_that_is_there_is_read_once(made, model, monkeypatch):
    reads, read = [], SongIndex._read
    monkeypatch.setattr(SongIndex, "_read", lambda self: reads.append(read(self)))
    assert len(SongIndex.create(made, model).songs) == 4
    assert len(reads) == 1


def test_an_index_has_songs_tags_lengths_and_failures(made, songs):
    index = SongIndex.open(made)
    found = by_title(index)
    assert set(found) == {"Alpha", "Beta", "c", "Delta"}
    assert (found["Alpha"].artist, found["Alpha"].album) == ("Anna", "First")
    assert found["Beta"].duration_s == pytest.approx(4.0)
    assert found["Delta"].paths == (str(songs / "d.wav"), str(songs / "deep" / "d again.wav"))
    assert [(file.path, file.song) for file in index.failed] == [(str(songs / "text.mp3"), None)]
    assert "no file of audio" in index.failed[0].problem
    assert set(index.first_stage.song_ids) == set(index.songs)


def test_frames_are_those_of_the_model_in_half_precision(made):
    index = SongIndex.open(made)
    for song in index.songs.values():
        own = index.retriever.embed_song(song.path).frames
        np.testing.assert_allclose(index.frames(song.id), own, atol=5e-4)
        assert index.frame_times(song.id).shape == (len(own), 2)
        assert index.frame_times(song.id)[-1, 1] <= song.duration_s


def test_an_update_follows_the_folders(library, tmp_path):
    songs, before = tmp_path / "songs", encoded_at(library)
    write_tagged(songs / "new.opus", 3.0, 7, title="Eta")
    (songs / "a.mp3").rename(songs / "deep" / "renamed.mp3")
    (songs / "b.flac").unlink()
    write_tagged(songs / "deep" / "c.ogg", 2.0, 9, title="Changed")
    update = library.update()
    assert [os.path.basename(path) for path in update.new] == ["new.opus"]
    assert [os.path.basename(path) for path in update.changed] == ["c.ogg"]
    assert [tuple(map(os.path.basename, pair)) for pair in update.moved] == [("a.mp3", "renamed.mp3")]
    assert [os.path.basename(path) for path in update.gone] == ["b.flac"]
    assert [os.path.basename(path) for path in update.failed] == ["text.mp3"]
    assert set(by_title(library)) == {"Alpha", "Changed", "Delta", "Eta"}
    assert set(library.first_stage.song_ids) == set(library._cache.songs) == set(library.songs)
    assert not set(before) <= set(library.songs)
    again = library.update()
    assert [*again.new, *again.changed, *again.moved, *again.gone] == []


def test_what_was_moved_is_not_encoded_again(library, tmp_path, monkeypatch):
    (tmp_path / "songs" / "a.mp3").rename(tmp_path / "songs" / "z.mp3")
    monkeypatch.setattr(type(library.retriever), "embed_song", lambda *_: pytest.fail("a song was encoded"))
    assert len(library.update().moved) == 1


def test_a_missing_folder_is_an_error_and_loses_nothing(library, tmp_path):
    (tmp_path / "songs").rename(tmp_path / "unplugged")
    with pytest.raises(ValueError, match=r"No such file or directory: .*songs'\. Its songs are kept; .*--remove"):
        library.update()
    assert len(SongIndex.open(library.folder).songs) == 4
    assert library.remove([tmp_path / "songs"]).num_songs == 0
    assert library.folders == []
    with pytest.raises(ValueError, match="holds no song yet"):
        library.search(Query(["drums"]))
    with pytest.raises(ValueError, match="neither a file nor a folder"):
        library.remove([tmp_path / "songs"])


def empty(folder, monkeypatch):
    shutil.rmtree(folder)
    folder.mkdir()


def link(folder, monkeypatch):
    folder.rename(folder.with_name("elsewhere"))
    folder.symlink_to("elsewhere")


def close(folder, monkeypatch):
    def scandir(path):
        if path == str(folder):
            raise PermissionError(13, "Permission denied", path)
        return os_scandir(path)

    os_scandir = os.scandir
    monkeypatch.setattr(os, "scandir", scandir)


@pytest.mark.parametrize(
    ("take_away", "inner", "reason"),
    [
        (empty, "", "has no file of audio"),
        (close, "deep", "Permission denied"),
        (link, "deep", "is a link to a folder"),
    ],
)
def test_a_folder_without_its_songs_is_an_error_and_loses_nothing(
    library, tmp_path, monkeypatch, take_away, inner, reason
):
    folder = tmp_path / "songs" / inner
    take_away(folder, monkeypatch)
    with pytest.raises(ValueError, match=rf"{reason}.* Its songs are kept; .*--remove {folder}$"):
        library.update()
    assert len(SongIndex.open(library.folder).songs) == 4


def test_folders_that_are_left_out_are_named(library, tmp_path, monkeypatch, caplog):
    (tmp_path / "songs" / "more").symlink_to("deep")
    (tmp_path / "songs" / "lost+found").mkdir()
    close(tmp_path / "songs" / "lost+found", monkeypatch)
    assert library.update().num_songs == 4
    assert f"{tmp_path / 'songs' / 'more'} is a link to a folder, which is not followed" in caplog.text
    assert "Permission denied" in caplog.text


def test_readers_see_the_old_state_until_they_refresh(library, tmp_path):
    reader = SongIndex.open(library.folder)
    ids = set(reader.songs)
    (tmp_path / "songs" / "b.flac").unlink()
    library.update()
    assert set(reader.songs) == ids
    assert len(reader.search(Query(["a slow piano"])).matches) == 3  # a search refreshes
    assert set(reader.songs) == set(library.songs) != ids


def test_a_second_writer_is_told(library):
    with FileLock(library.folder / "writer.lock"), pytest.raises(RuntimeError, match="another process is updating"):
        library.update()


def test_another_model_is_refused_with_what_differs(library, tmp_path):
    same, processor = tiny_collap(kernel_temperature=0.3)  # scores differ, songs do not
    same.text_model.projection.weight.data.mul_(2.0)
    same.save_pretrained(tmp_path / "same")
    processor.save_pretrained(tmp_path / "same")
    assert len(SongIndex.create(library.folder, str(tmp_path / "same")).songs) == 4
    other = save_tiny_model(tmp_path / "another", projection_dim=12)
    with pytest.raises(ValueError, match=r"config.projection_dim: \d+ in the index, 12 here") as refused:
        SongIndex.create(library.folder, other)
    assert "--rebuild" in str(refused.value)
    assert "weights: " in str(refused.value)
    with pytest.raises(ValueError, match=r"projection_dim: \d+ in the index, 12 here"):
        SongIndex.open(library.folder, other).search(Query(["drums"]))
    index = SongIndex.create(library.folder, other, rebuild=True)
    assert index.update().num_songs == 4
    assert index.frames(next(iter(index.songs))).shape[1] == 12


@pytest.fixture
def change_config(library, tmp_path):
    """Replaces fields in the configuration of the library's model, which becomes a copy."""
    shutil.copytree(library.model, tmp_path / "model")
    SongIndex.create(library.folder, str(tmp_path / "model")).update()

    def change(name, part, **fields):
        file = tmp_path / "model" / name
        config = json.loads(file.read_text())
        (config if part is None else config[part]).update(fields)
        file.write_text(json.dumps(config))

    return change


def test_fields_that_frames_do_not_depend_on_may_change(library, change_config):
    change_config("config.json", None, encoder_batch_size=3, freeze_music_model=False)
    change_config("config.json", "speech_config", a_field_of_a_later_version=1.0)
    assert SongIndex.open(library.folder).update().num_songs == 4
    assert SongIndex.open(library.folder).search(Query(["drums"])).matches


def test_an_index_that_describes_all_fields_goes_on(library, change_config):
    """As those of earlier versions do; what is named now has the place that it had."""
    with library._database(write=True) as database, database:
        described = library._settings["fingerprint"]
        model, extractor = library.retriever.model, library.retriever.processor.feature_extractor
        described["config"] = json.loads(json.dumps(model.config.to_dict(), default=str)) | {"is_gone": True}
        described = {**described, "class": "CollapModel", "feature_extractor": extractor.to_dict()}
        del described["precision"]
        _write_settings(database, {"fingerprint": described})
    write_json(library.folder / "frames" / "cache.json", described)
    assert SongIndex.open(library.folder).update().num_songs == 4
    assert SongIndex.open(library.folder).search(Query(["drums"])).matches


@pytest.mark.parametrize("call", [lambda index: index.search(Query(["drums"])), SongIndex.update])
@pytest.mark.parametrize(
    ("file", "part", "field", "value"),
    [
        ("config.json", None, "frame_pooling", 5),
        ("config.json", "speech_config", "activation_function", "relu"),
        ("config.json", "music_config", "max_bucket_distance", 900),
        ("processor_config.json", "feature_extractor", "max_length_s", 2.0),
    ],
)
def test_fields_that_frames_depend_on_are_compared_by_a_search_too(
    library, change_config, file, part, field, value, call
):
    change_config(file, part, **{field: value})
    with pytest.raises(ValueError, match=rf"{field}: .* in the index, {value!r} here"):
        call(SongIndex.open(library.folder))


def test_an_update_with_a_model_makes_it_that_of_the_index(library, tmp_path, monkeypatch):
    reader = SongIndex.open(library.folder)
    before = reader.search(Query(["drums"])).matches[0].score
    same, processor = tiny_collap()
    same.text_model.projection.weight.data.mul_(-1.0)
    same.save_pretrained(tmp_path / "same")
    processor.save_pretrained(tmp_path / "same")
    monkeypatch.chdir(tmp_path)
    SongIndex.create("index", "same").update()
    monkeypatch.chdir("/")
    index = SongIndex.open(library.folder)
    assert index.model == str(tmp_path / "same")
    after = index.search(Query(["drums"])).matches[0].score
    assert after != pytest.approx(before)
    assert reader.search(Query(["drums"])).matches[0].score == after
    (tmp_path / "same").rename(tmp_path / "moved")
    with pytest.raises(ValueError, match="same is not there"):
        SongIndex.open(library.folder).search(Query(["drums"]))
    SongIndex.open(library.folder, str(tmp_path / "moved")).update()
    assert SongIndex.open(library.folder).search(Query(["drums"])).matches[0].score == after
    (tmp_path / "moved").rename(tmp_path / "moved again")
    SongIndex.open(library.folder, str(tmp_path / "moved again")).remove([tmp_path / "songs" / "b.flac"])
    assert SongIndex.open(library.folder).model == str(tmp_path / "moved again")
    other = save_tiny_model(tmp_path / "another", projection_dim=12)
    with pytest.raises(ValueError, match="12 here"):
        SongIndex.open(library.folder, other).remove([tmp_path / "songs" / "a.mp3"])


def test_an_index_needs_the_attentions(tmp_path, model):
    shutil.copytree(model, tmp_path / "mean")
    file = tmp_path / "mean" / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "architectures": ["MeanPoolingCollap"]}))
    with pytest.raises(ValueError, match=r"a CoLLAP with its attentions, got MeanPoolingCollap .*mean\."):
        SongIndex.create(tmp_path / "index", str(tmp_path / "mean"))
    assert not (tmp_path / "index").exists()


def test_a_flipped_byte_is_found_named_and_encoded_again(library, caplog):
    song = by_title(library)["Alpha"]
    shard = library.folder / "frames" / library._cache.songs[song.id].shard
    content = bytearray(shard.read_bytes())
    frames = library.frames(song.id)
    place = content.find(frames.astype(np.float16).tobytes())
    content[place + 3] ^= 0x40
    shard.write_bytes(content)
    result = library.search(Query(["a slow piano"]))
    assert list(result.damaged) == [song.path]
    assert {match.song.title for match in result.matches} == {"Beta", "c", "Delta"}
    assert f"{song.path}: its frames are damaged" in caplog.text
    assert f"collap index --index {library.folder} encodes what is damaged" in caplog.text
    library.update()
    np.testing.assert_array_equal(library.frames(song.id), frames)
    assert not library.search(Query(["a slow piano"])).damaged


def test_damaged_windows_are_made_again(library):
    (file,) = library.folder.glob("windows.*")
    ids = set(library.songs)
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"collap index"):
        SongIndex.open(library.folder).first_stage  # noqa: B018
    library = SongIndex.open(library.folder)
    library.update()
    assert set(SongIndex.open(library.folder).first_stage.song_ids) == ids


@pytest.mark.parametrize("content", [b"", b"no database at all", None])
def test_a_damaged_table_is_one_error(library, content):
    file = library.folder / "songs.sqlite"
    file.write_bytes(file.read_bytes()[:3000] if content is None else content)
    with pytest.raises(ValueError, match=r"songs.sqlite is damaged.*--rebuild"):
        SongIndex.open(library.folder)


def test_no_index_and_a_folder_of_other_files(tmp_path, model):
    with pytest.raises(ValueError, match=r"has no songs\.sqlite"):
        SongIndex.open(tmp_path)
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(ValueError, match="holds other files"):
        SongIndex.create(tmp_path, model)
    with pytest.raises(ValueError, match="holds other files"):
        SongIndex.create(tmp_path, model, rebuild=True)
    assert (tmp_path / "letter.txt").read_text() == "dear"


def test_an_index_inside_its_folder_of_songs(tmp_path, model):
    write_tagged(tmp_path / "songs" / "a.wav", 2.0, 0)
    index = SongIndex.create(tmp_path / "songs" / "index", model)
    assert index.update([tmp_path / "songs"]).num_songs == 1
    assert index.update([tmp_path]).num_songs == 1  # the parent takes the place of the folder inside it
    assert index.folders == [str(tmp_path)]


def test_a_table_whose_write_failed_stays_as_it_was(library, tmp_path, monkeypatch):
    (tmp_path / "songs" / "b.flac").unlink()
    ids = set(library.songs)
    monkeypatch.setattr("collap.search.index._write_settings", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        library.update()
    monkeypatch.undo()
    reader = SongIndex.open(library.folder)
    assert set(reader.songs) == ids
    assert len(reader.search(Query(["drums"])).matches) >= 3
    assert reader.update().num_songs == 3


def test_windows_in_milvus_give_the_same_answers(library, tmp_path, model, monkeypatch):
    pytest.importorskip("milvus_lite", reason="needs Milvus Lite")
    monkeypatch.setattr("collap.search.search.NUM_CANDIDATES", 2)
    monkeypatch.chdir(tmp_path)
    index = SongIndex.create(tmp_path / "other", model, milvus="milvus.db")
    index.update([tmp_path / "songs"])
    assert not list(index.folder.glob("windows.*"))

    def answers(index):
        queries = (Query(["a slow piano. then drums."]), Query(["drums"], title="a"))
        return [[(match.song.title, match.score) for match in index.search(query).matches] for query in queries]

    assert answers(index) == answers(library)
    (tmp_path / "songs" / "b.flac").unlink()
    write_tagged(tmp_path / "songs" / "new.wav", 3.0, 5, title="Gamma")
    index.update()
    library.update()
    assert answers(SongIndex.open(tmp_path / "other")) == answers(library)
    with pytest.raises(ValueError, match=r"milvus: .* has its windows in .*milvus\.db, got .*other\.db"):
        SongIndex.create(tmp_path / "other", model, milvus="other.db")
    SongIndex.create(tmp_path / "other", model, rebuild=True)
    assert SongIndex.open(tmp_path / "other").update().num_songs == 4


def test_a_milvus_that_is_not_there_is_said_first_and_once(tmp_path, model, songs, monkeypatch, caplog):
    pytest.importorskip("milvus_lite", reason="needs Milvus Lite")
    index = SongIndex.create(tmp_path / "index", model, milvus=str(tmp_path / "no folder" / "\0.db"))
    monkeypatch.setattr("collap.search.index.encode_songs", lambda *_, **__: pytest.fail("songs were encoded"))
    with pytest.raises(ValueError, match=r"milvus: .* cannot be used"):
        index.update([songs])
    assert "cannot be used" not in "".join(record.message for record in caplog.records if "collap" in record.name)


@pytest.mark.slow
def test_a_killed_update_continues(tmp_path, model):
    """Shards are written after each song here, so a kill loses the song in work only."""
    for number in range(30):
        write_tagged(tmp_path / "songs" / f"{number}.wav", 20.0, number)
    script = (
        "import collap.data.cache as cache; cache.SHARD_SECONDS = 0.0\n"
        "from collap.search.index import SongIndex\n"
        f"SongIndex.create({str(tmp_path / 'index')!r}, {model!r}).update([{str(tmp_path / 'songs')!r}])"
    )
    process = subprocess.Popen([sys.executable, "-c", script])
    frames = tmp_path / "index" / "frames"
    deadline = time.monotonic() + 120
    while len(list(frames.glob("shard-*"))) < 3 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    there = {path.name for path in frames.glob("shard-*")}
    assert len(there) >= 3
    index = SongIndex.open(tmp_path / "index")
    assert index.update().num_songs == 30
    assert there <= {path.name for path in frames.glob("shard-*")}
    assert sqlite3.connect(tmp_path / "index" / "songs.sqlite").execute("PRAGMA integrity_check").fetchone() == ("ok",)
