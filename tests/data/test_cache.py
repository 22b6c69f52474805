# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""The cache of encoded songs: found by their content, as a whole or not at all, never those of another fingerprint."""

import itertools
import json
import os
import pickle
import re
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from cached_frames import load_frames
from safetensors.numpy import save
from safetensors.torch import load_file
from tiny_models import CHUNK_LENGTH_S, tiny_beats_config, tiny_config
from tiny_songs import shards, write_song, write_songs
from torch.utils.data import DataLoader

from collap import CollapFeatureExtractor, CollapModel
from collap.data import cache as cache_module
from collap.data.audio_files import AudioHashes
from collap.data.cache import SongEmbedding, TensorCache, describe_features

FINGERPRINT = {"model": {"weights": "a", "layers": 2}, "precision": "no"}


@pytest.fixture
def songs(tmp_path) -> list[str]:
    return write_songs(tmp_path)


@pytest.fixture
def cache(songs, tmp_path) -> TensorCache:
    """Three songs whose frames are their numbers."""
    cache = TensorCache(tmp_path / "cache", FINGERPRINT, create=True)
    with cache:
        for index, song in enumerate(songs):
            frames = np.full((index + 2, 4), index, dtype=np.float16)
            cache.add(cache.hashes.hash(song), SongEmbedding(frames, 0.1 + index, 0.2 + index))
    cache.refresh()
    return cache


def test_songs_are_found_by_their_content(cache, songs, tmp_path):
    in_memory = {"bytes": Path(songs[2]).read_bytes(), "path": None}
    moved = str(Path(songs[0]).rename(tmp_path / "moved.wav"))
    write_song(Path(songs[1]), 0.4, seed=7)  # as long as before
    unknown = write_song(tmp_path / "unknown.wav", 1.0, seed=8)
    cache = TensorCache(cache.folder, FINGERPRINT)
    assert len(cache.songs) == 3
    for song, number in ((in_memory, 2), (moved, 0)):
        torch.testing.assert_close(load_frames(cache, song), torch.full((number + 2, 4), number, dtype=torch.float16))
        assert cache.num_frames(song) == number + 2
        read = cache.read(cache.find(song))
        assert (read.encoded_s, read.duration_s) == (0.1 + number, 0.2 + number)  # to the last bit
    assert not any(song in cache for song in (songs[0], songs[1], unknown))
    cache.check([moved, songs[2]])
    with pytest.raises(ValueError, match="lacks 3 of 5 songs") as error:
        cache.check([moved, *songs, unknown])
    for part in ("0.wav: No such file", "1.wav: it has changed", "unknown.wav: no features", "extract_features.py"):
        assert part in str(error.value)
    with pytest.raises(ValueError, match="it has changed"):
        load_frames(cache, songs[1])
    with pytest.raises(TypeError, match="a path or a dict with 'bytes' or 'path', got ndarray"):
        load_frames(cache, np.zeros(9))


def test_hashes_are_remembered_and_a_torn_line_is_ignored(songs, tmp_path):
    for song in songs:
        AudioHashes(tmp_path).hash(song)
    file = tmp_path / "audio_hashes.jsonl"
    entries = [json.loads(line) for line in file.read_text().splitlines() if line]
    assert [entry["path"] for entry in entries] == songs
    lines = file.read_bytes()
    hashes = AudioHashes(tmp_path)
    assert [hashes.hash(song) for song in songs] == [entry["hash"] for entry in entries]
    assert file.read_bytes() == lines  # nothing was hashed anew
    file.write_bytes(lines[:-20])
    hashes = AudioHashes(tmp_path)
    assert [hashes.hash(song) for song in songs] == [entry["hash"] for entry in entries]
    assert file.read_bytes().startswith(lines[:-20] + b"\n")
    assert len([line for line in file.read_bytes()[len(lines) - 20 :].splitlines() if line]) == 1


def test_damaged_lines_of_hashes_are_ignored(songs, tmp_path):
    """No flipped bit of the file gives a song another hash, or stops anything."""
    expected = [AudioHashes(tmp_path).hash(song) for song in songs]
    file = tmp_path / "audio_hashes.jsonl"
    lines, generator = file.read_bytes(), np.random.default_rng(0)
    for bit in generator.integers(len(lines) * 8, size=200):
        flipped = bytearray(lines)
        flipped[bit // 8] ^= 1 << bit % 8
        file.write_bytes(flipped)
        assert [AudioHashes(tmp_path).hash(song) for song in songs] == expected
    junk = [b"[" * 100_000, b"\xff\xfe", b"9" * 5000, b"[]", b"3", b'{"path": "a", "checksum": 0}']
    file.write_bytes(b"\n".join([*junk, lines]))
    file_size, hashes = file.stat().st_size, AudioHashes(tmp_path)
    assert [hashes.hash(song) for song in songs] == expected
    assert file.stat().st_size == file_size  # what is whole is remembered


def test_only_regular_files_are_opened(cache, songs, tmp_path):
    pipe = tmp_path / "pipe.wav"
    os.mkfifo(pipe)
    for song in (pipe, tmp_path, "/dev/zero"):
        with pytest.raises(OSError, match=rf"It is (no regular file|a folder): .*{song}"):
            cache.hashes.hash(song)
    with pytest.raises(ValueError, match=r"lacks 1 of 2 songs:\n  .*pipe\.wav: It is no regular file"):
        cache.check([songs[0], str(pipe)])


def test_loading_in_workers(cache, songs):
    expected = [load_frames(cache, song) for song in songs]
    loader = DataLoader(
        songs, batch_size=None, num_workers=2, collate_fn=partial(load_frames, pickle.loads(pickle.dumps(cache)))
    )
    for frames, reference in zip(loader, expected, strict=True):
        torch.testing.assert_close(frames, reference, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("fingerprint", "named"),
    [
        ({"precision": "bf16"}, "precision: 'no' in the cache, 'bf16' here"),
        ({"model": {"weights": "b", "layers": 2}}, "model.weights: 'a' in the cache, 'b' here"),
        ({"model": None}, "model: there is one in the cache, None here"),
    ],
)
def test_another_fingerprint_is_refused(cache, fingerprint, named):
    for create in (False, True):
        with pytest.raises(ValueError, match=re.escape(named)) as error:
            TensorCache(cache.folder, FINGERPRINT | fingerprint, create=create)
        assert str(error.value).count(" in the cache, ") == 1
    assert TensorCache(cache.folder, {}).fingerprint == FINGERPRINT  # what is left out may be anything
    with pytest.raises(ValueError, match=r"has no cache\.json"):
        TensorCache(cache.folder.parent, {})


@pytest.mark.parametrize("content", [b"torn", None])
def test_a_torn_shard_is_named_and_set_aside_by_who_encodes(cache, caplog, content):
    (shard,) = shards(cache.folder)
    assert shard.stat().st_mode == (cache.folder / "cache.json").stat().st_mode
    shard.write_bytes(shard.read_bytes()[:-8] if content is None else content)
    with pytest.raises(ValueError, match=rf"{shard.name} is damaged .*extract_features\.py"):
        TensorCache(cache.folder, FINGERPRINT)
    with TensorCache(cache.folder, FINGERPRINT, create=True) as healed:
        assert f"{shard.name} is damaged" in caplog.text
        assert len(healed.songs) == 0
        assert shard.with_suffix(".damaged").exists()
        assert not shard.exists()
        healed.add("a", SongEmbedding(np.ones((2, 4), dtype=np.float16), 1.0, 1.0))
    cache.refresh()  # which knew the shard that has gone
    assert list(cache.songs) == ["a"]


def test_a_flipped_bit_never_gives_other_frames(cache, songs):
    """An error that names the shard, the song or the file instead; only what is encoded anew is missing."""
    (shard,) = shards(cache.folder)
    data = shard.read_bytes()
    header = 8 + int.from_bytes(data[:8], "little")
    expected = {song_hash: cache.read(song_hash) for song_hash in cache.songs}
    generator, errors = np.random.default_rng(0), []
    for bit in [*generator.integers(header * 8, size=200), *generator.integers(header * 8, len(data) * 8, size=100)]:
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        shard.write_bytes(flipped)
        try:
            again = TensorCache(cache.folder, FINGERPRINT)
            for song_hash, song in expected.items():
                found = again.read(song_hash)
                np.testing.assert_array_equal(found.frames, song.frames)
                assert (found.encoded_s, found.duration_s) == (song.encoded_s, song.duration_s)
        except ValueError as error:
            errors.append(str(error))
    assert len(errors) > 290  # blanks behind the header are of no song
    for error in errors:
        assert f"{shard} is damaged" in error or re.search(rf"\d\.wav: its frames are damaged in {shard}", error)
        assert "extract_features.py" in error


def test_frames_that_are_not_finite_are_damaged(cache, songs):
    shards(cache.folder)[0].unlink()
    with cache:
        cache.add(cache.find(songs[0]), SongEmbedding(np.full((2, 4), np.inf, dtype=np.float16), 1.0, 1.0))
    cache.refresh()
    with pytest.raises(ValueError, match=r"0\.wav: .* not finite"):
        load_frames(cache, songs[0])


def test_damaged_songs_are_taken_out_of_a_shard(cache, songs, caplog):
    damage(cache, songs[1])
    good = {song: load_frames(cache, song) for song in (songs[0], songs[2])}
    (shard,) = shards(cache.folder)
    other = TensorCache(cache.folder, FINGERPRINT)
    cache.discard_damaged([shard.name, shard.name])
    assert re.search(rf"1\.wav: its frames are damaged in .*{shard.name}, it is encoded again", caplog.text)
    assert not shard.exists()
    for reader in (cache, other):  # the other one knew only the old shard
        for song, frames in good.items():
            torch.testing.assert_close(load_frames(reader, song), frames)
        assert songs[1] not in reader


def damage(cache: TensorCache, song: str) -> None:
    """Flips a bit of the song's frames on the disk."""
    shard, frames = cache.folder / cache.songs[cache.find(song)].shard, load_frames(cache, song).numpy().tobytes()
    data = shard.read_bytes()
    assert data.count(frames) == 1
    shard.write_bytes(data.replace(frames, bytes([frames[0] ^ 1]) + frames[1:]))


FOREIGN = {
    "scalar": save({"x": np.array(3.0)}, metadata={"x": "[1.0, 1.0, false, 0]"}),
    "no metadata": save({"x": np.zeros((2, 3))}),
    "of a model": save({"x": np.zeros((2, 3))}, metadata={"format": "pt"}),
    "broken metadata": save({"x": np.zeros((2, 3))}, metadata={"x": "{["}),
    "deep metadata": save({"x": np.zeros((2, 3))}, metadata={"x": "[" * 10_000}),
    "text": b"hello",
    "empty": b"",
}


@pytest.mark.parametrize("content", FOREIGN.values(), ids=FOREIGN)
def test_a_foreign_shard_is_named_and_left_alone(cache, content):
    file = cache.folder / "shard-00001-of-00002.safetensors"
    file.write_bytes(content)
    for create in (True, False):
        with pytest.raises(ValueError, match=rf"{file} is no shard of this cache \(.+\)\. Move it elsewhere\."):
            TensorCache(cache.folder, FINGERPRINT, create=create)
        with pytest.raises(ValueError, match="no shard of this cache"):
            cache.refresh()
    assert file.read_bytes() == content
    file.unlink()
    os.mkfifo(file)
    assert len(TensorCache(cache.folder, FINGERPRINT).songs) == 3  # a pipe is never opened


@pytest.mark.parametrize("content", [b"", b'{"model": ', b"[]", b"3", b"\xff\xfe{", b"[" * 100_000])
def test_a_damaged_fingerprint_is_one_sentence(cache, content):
    file = cache.folder / "cache.json"
    file.write_bytes(content)
    for create in (True, False):
        with pytest.raises(
            ValueError, match=rf"^{file} is damaged .* Delete the folder and encode its songs again\.$"
        ):
            TensorCache(cache.folder, FINGERPRINT, create=create)


def test_temporary_files_of_killed_processes_are_removed(cache):
    old, young = cache.folder / ".shard-old.1.tmp.safetensors", cache.folder / ".shard-young.2.tmp.safetensors"
    for file in (old, young):
        file.write_bytes(b"half")
    os.utime(old, (0, 0))
    assert len(TensorCache(cache.folder, FINGERPRINT, create=True).songs) == 3
    assert not old.exists()
    assert young.exists()  # of another process, perhaps


@pytest.mark.parametrize(("limit", "value"), [("SHARD_SECONDS", 0.0), ("SHARD_BYTES", 16)])
def test_time_and_size_write_a_shard(tmp_path, monkeypatch, limit, value):
    monkeypatch.setattr(cache_module, limit, value)
    with TensorCache(tmp_path, {}, create=True) as cache:
        for index in range(3):
            cache.add(str(index), SongEmbedding(np.zeros((2, 4), dtype=np.float16), 1.0, 1.0))
            assert len(shards(tmp_path)) == index + 1
    assert sum(len(load_file(shard)) for shard in shards(tmp_path)) == 3


def describe(model: CollapModel, **settings) -> dict:
    extractor = CollapFeatureExtractor(chunk_length_s=CHUNK_LENGTH_S, **settings)
    return json.loads(json.dumps(describe_features(model.audio_model, extractor)))


def test_weights_and_settings_of_encoders_are_in_the_fingerprint(tmp_path):
    model = CollapModel(tiny_config())
    seen = [describe(model)]
    model.text_model.projection.weight.data.add_(1)  # what comes after the encoders may change
    model.audio_model.adapter.weight.data.add_(1)
    model.save_pretrained(tmp_path)
    assert describe(CollapModel.from_pretrained(tmp_path, kernel_size=3)) == seen[0]
    model.audio_model.music_model.get_input_embeddings().weight.data[0] += 1e-3
    seen.append(describe(model))
    model.audio_model.speech_model.layer_norm.weight.data[0] += 1e-3
    seen += [describe(model), describe(model, max_length_s=1.0)]
    changed = [{name for name in one if one[name] != other[name]} for one, other in itertools.pairwise(seen)]
    assert changed == [{"music_encoder"}, {"speech_encoder"}, {"feature_extractor"}]


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"frame_pooling": 4}, ["frame_pooling"]),
        ({"music_config": None}, ["music_encoder"]),
        ({"music_config": tiny_beats_config(layer_norm_eps=1e-3)}, ["music_encoder", "config", "layer_norm_eps"]),
    ],
)
def test_the_configuration_is_in_the_fingerprint(fields, place):
    one, other = describe(CollapModel(tiny_config())), describe(CollapModel(tiny_config(**fields)))
    for name in place:
        one, other = one[name], other[name]
    assert one != other


def test_trainable_encoders_are_refused():
    with pytest.raises(ValueError, match="speech_model is trainable, so its frames change"):
        describe(CollapModel(tiny_config(freeze_speech_model=False)))
