# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Songs embedded once: as the model embeds them, found by their content, and never those of another model."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from accelerate import PartialState
from tiny_retrieval import tiny_collap, write_songs

from collap.data import cache
from collap.evaluation.embeddings import EmbeddedSongs, EmbeddingStore, embed_songs
from collap.evaluation.retrievers import CollapRetriever, SongEmbedding


class Counting(CollapRetriever):
    """Remembers what it has heard."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.heard: list[str] = []

    def embed_song(self, path: str) -> SongEmbedding:
        self.heard.append(Path(path).name)
        return super().embed_song(path)


@pytest.fixture(scope="module")
def collap():
    return tiny_collap()


@pytest.fixture
def songs(tmp_path) -> dict[str, str]:
    return write_songs(tmp_path, (1.5, 0.4, 2.0))


def embed(retriever, songs: dict[str, str], folder: Path, **options) -> EmbeddedSongs:
    return embed_songs(retriever, songs, folder, PartialState(cpu=True), **options)


@pytest.mark.parametrize("num_workers", [1, 3])
def test_embeddings_are_those_of_the_model(collap, songs, tmp_path, num_workers):
    retriever = CollapRetriever(*collap)
    embedded = embed(retriever, songs, tmp_path / "kept", num_workers=num_workers)
    assert list(embedded.hashes) == list(songs)  # in the order of the gallery
    assert embedded.missing == []
    for name, path in songs.items():
        expected, song_hash = retriever.embed_song(path), embedded.hashes[name]
        found = embedded.store.load(song_hash)
        np.testing.assert_array_equal(found.frames, expected.frames)
        assert found.frames.dtype == np.float32
        assert (found.encoded_s, found.duration_s) == (expected.encoded_s, expected.duration_s)
        assert embedded.store.seconds(song_hash) == (expected.encoded_s, expected.duration_s)
        assert embedded.store.num_frames(song_hash) == len(expected.frames)


def test_a_song_is_heard_once(collap, songs, tmp_path):
    shutil.copy(songs["song-0"], tmp_path / "copy.wav")
    retriever = Counting(*collap)
    embedded = embed(retriever, {**songs, "copy": str(tmp_path / "copy.wav")}, tmp_path / "kept")
    assert len(retriever.heard) == 3
    assert embedded.hashes["copy"] == embedded.hashes["song-0"]

    (tmp_path / "elsewhere").mkdir()
    moved = {name: shutil.move(path, tmp_path / "elsewhere") for name, path in songs.items()}
    again = Counting(*collap)
    assert embed(again, moved, tmp_path / "kept").hashes == {name: embedded.hashes[name] for name in songs}
    assert again.heard == []


def test_a_song_that_has_changed_is_heard_again(collap, songs, tmp_path):
    first = embed(CollapRetriever(*collap), songs, tmp_path / "kept")
    write_songs(tmp_path, (1.5, 0.6, 2.0))  # the second is another one now
    retriever = Counting(*collap)
    second = embed(retriever, songs, tmp_path / "kept")
    assert retriever.heard == ["1.wav"]
    assert [first.hashes[name] == second.hashes[name] for name in songs] == [True, False, True]


def test_another_model_finds_nothing_of_this_one(collap, songs, tmp_path):
    model, processor = collap
    embed(CollapRetriever(model, processor), songs, tmp_path / "kept")
    other = Counting(tiny_collap(frame_pooling=4)[0], processor)
    assert embed(other, songs, tmp_path / "kept").store.folder.name == other.song_revision
    assert len(other.heard) == 3
    single = Counting(tiny_collap()[0].double(), processor)  # computes in another precision
    embed(single, songs, tmp_path / "kept")
    assert len(single.heard) == 3
    same_weights = Counting(model, processor, max_length_s=0.5)
    embed(same_weights, songs, tmp_path / "kept")
    assert len(same_weights.heard) == 3
    back = Counting(model, processor, use_time=False)  # which scores otherwise, but hears the same
    embed(back, songs, tmp_path / "kept")
    other_kernel = Counting(tiny_collap(kernel_size=3)[0], processor)
    embed(other_kernel, songs, tmp_path / "kept")
    assert other_kernel.revision != back.revision
    assert back.heard == other_kernel.heard == []


def test_songs_that_cannot_be_heard(collap, songs, tmp_path):
    (tmp_path / "text.wav").write_bytes(b"no audio")
    soundfile.write(tmp_path / "short.wav", np.zeros(100), 16_000)  # has a good head, but is too short for the model
    shutil.copy(tmp_path / "short.wav", tmp_path / "copy.wav")
    files = {name: str(tmp_path / f"{name}.wav") for name in ("gone", "text", "short", "copy")}
    given = {**files, **songs}
    with pytest.raises(ValueError, match=r"2 of 7 songs cannot be heard:\n  .*gone\.wav: "):
        embed(CollapRetriever(*collap), given, tmp_path / "kept")
    with pytest.raises(ValueError, match=r"songs cannot be heard:\n  .*(short|copy)\.wav: .*at least"):
        embed(CollapRetriever(*collap), {**songs, "short": files["short"], "copy": files["copy"]}, tmp_path / "kept")
    assert (
        len(EmbeddingStore(tmp_path / "kept", CollapRetriever(*collap).song_revision)._shards) == 6
    )  # the good are kept

    embedded = embed(CollapRetriever(*collap), given, tmp_path / "kept", on_bad_audio="skip")
    assert list(embedded.hashes) == list(songs)
    assert [song.id for song in embedded.missing] == ["gone", "text", "short", "copy"]
    assert [song.path for song in embedded.missing] == list(files.values())
    assert "No such file" in embedded.missing[0].reason
    with pytest.raises(ValueError, match="on_bad_audio must be 'raise' or 'skip', got 'ignore'"):
        embed(CollapRetriever(*collap), songs, tmp_path / "kept", on_bad_audio="ignore")


def test_frames_that_are_no_numbers_are_no_embedding(collap, songs, tmp_path):
    class Broken(CollapRetriever):
        def embed_song(self, path: str) -> SongEmbedding:
            return SongEmbedding(np.full((2, 16), np.nan, dtype=np.float32), 1.0, 1.0)

    with pytest.raises(ValueError, match="its frames are not finite"):
        embed(Broken(*collap), songs, tmp_path / "kept")


def test_a_song_without_its_frames_is_not_there(collap, songs, tmp_path):
    """As after a kill between the two parts of a song."""
    retriever = CollapRetriever(*collap)
    store = EmbeddingStore(tmp_path / "kept", retriever.song_revision)
    with cache.ShardWriter(store.folder) as writer:
        writer.add("0" * 32 + ".seconds", torch.zeros(2, dtype=torch.float64))
    store.refresh()
    assert "0" * 32 not in store
    with pytest.raises(KeyError):
        store.load("0" * 32)


def test_a_shard_that_is_not_whole_is_named(collap, tmp_path):
    store = EmbeddingStore(tmp_path, "revision")
    (store.folder / "shard-1.safetensors").write_bytes(b"torn")
    with pytest.raises(ValueError, match=r"shard-1\.safetensors is not whole .* Delete it"):
        EmbeddingStore(tmp_path, "revision")
