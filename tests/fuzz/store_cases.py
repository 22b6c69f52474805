# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Stores of encoded songs whose files are damaged: never other frames, and encoding again heals them."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
from accelerate import PartialState
from safetensors.numpy import load_file, save_file

from collap.data.cache import SongEmbedding, TensorCache
from collap.encode import encode_songs

from .runner import Case, Fault, refusal

FINGERPRINT = {"model": {"weights": "a", "layers": 2}, "precision": "no"}
STORE = Path("store")


def store_case(case: Case) -> str:
    songs = []
    for index in range(case.choose((1, 2, 4))):
        songs.append(f"{index}.wav")
        soundfile.write(songs[-1], 0.1 * case.noise.standard_normal(4000 + index), 16_000)
    width, kind = case.choose((4, 16)), case.choose((np.float16, np.float32))
    truth = {}
    for index, song in enumerate(songs):
        frames = case.noise.standard_normal((3 + index, width))
        truth[song] = (frames / np.linalg.norm(frames, axis=1, keepdims=True)).astype(kind)

    def encode(songs: list[str]) -> None:
        cache = TensorCache(STORE, FINGERPRINT, create=True)
        found = encode_songs(
            songs, cache, str, lambda batch: [SongEmbedding(truth[song], 0.25, 0.25) for song in batch],
            PartialState(cpu=True), make_batches=lambda listed: [[song] for song in listed],
        )  # fmt: skip
        if problems := [song.problem for song in found if song.problem]:
            raise ValueError(f"{STORE}: {problems}")

    if len(songs) > 1:  # so that there are several shards
        encode(songs[: len(songs) // 2])
    encode(songs)
    if _read(songs, truth):
        raise Fault("a whole store cannot be read")
    damage = case.choose(DAMAGES, "damage")
    damage(case)
    problems = _read(songs, truth)
    # Encoding again makes it whole; what is named as no part of the store is to be deleted first.
    for _ in range(len(songs) + 3):
        _, message = refusal(lambda: encode(songs), "store")
        if message is None:
            break
        named = [path for path in STORE.iterdir() if path.name in message]
        if "other models or settings" in message:
            named.append(STORE / "cache.json")
        if not named:
            raise Fault(f"no file is named: {message}")
        case.note(f"refused, {named[0]} deleted: {message[:300]}")
        for path in named:
            path.rmdir() if path.is_dir() else path.unlink()
    if again := _read(songs, truth):
        raise Fault(f"encoding again does not heal it: {again[0]}")
    return "refused" if problems else "whole"


def _read(songs: list[str], truth: dict[str, np.ndarray]) -> list[str]:
    """The messages of the songs that cannot be read; other frames are a fault."""
    cache, message = refusal(lambda: TensorCache(STORE, FINGERPRINT), "store")
    if message is not None:
        return [message]
    messages = []
    for song in songs:
        found, message = refusal(lambda song=song: cache.read(cache.find(song)), "store")
        if message is not None:
            messages.append(message)
        elif found.frames.dtype != truth[song].dtype or not np.array_equal(found.frames, truth[song]):
            raise Fault(f"other frames of {song}: {found.frames}"[:500])
        elif cache.num_frames(song) != len(found.frames):
            raise Fault(f"{cache.num_frames(song)} frames of {song}, not {len(found.frames)}")
        elif (found.encoded_s, found.duration_s, found.is_truncated) != (0.25, 0.25, False):
            raise Fault(f"other lengths of {song}: {found}"[:500])
    return messages


def _shard(case: Case) -> Path:
    return case.choose(sorted(STORE.glob("shard-*.safetensors"), key=lambda path: (path.stat().st_size, path.name)))


def damaged_shard(case: Case) -> None:
    shard = _shard(case)
    shard.write_bytes(case.damage(shard.read_bytes()))


def flipped_byte(case: Case) -> None:
    shard = _shard(case)
    content = bytearray(shard.read_bytes())
    header = 8 + int.from_bytes(content[:8], "little")
    place = case.random.choice((case.random.randrange(header), case.random.randrange(header, len(content))))
    content[place] ^= 1 << case.random.randrange(8)
    case.note(f"byte {place}, the header has {header}")
    shard.write_bytes(content)


def cut_shard(case: Case) -> None:
    shard = _shard(case)
    content = shard.read_bytes()
    shard.write_bytes(content[: case.choose((0, 1, 7, 8, 9, 100, len(content) // 2, len(content) - 1))])


def lost_shard(case: Case) -> None:
    _shard(case).unlink()


def foreign_shard(case: Case) -> None:
    """Another kind of file under the name of a shard."""
    own = load_file(_shard(case))
    name = next(iter(own))
    seconds = {name: json.dumps([0.25, 0.25, False])}
    path = STORE / "shard-00000000000000000000000000000000.safetensors"
    makes: dict[str, Callable[[], object]] = {
        "other names": lambda: save_file({"weight": np.zeros((2, 2), np.float32)}, path),
        "without lengths": lambda: save_file(own, path),
        "scalar": lambda: save_file({name: np.float32(1)[None].reshape(())}, path, seconds),
        "vector": lambda: save_file({name: np.zeros(4, np.float32)}, path, seconds),
        "cube": lambda: save_file({name: np.zeros((2, 2, 2), np.float32)}, path, seconds),
        "integers": lambda: save_file({name: np.zeros((2, 4), np.int64)}, path, seconds),
        "no frames": lambda: save_file({name: np.zeros((0, 4), np.float32)}, path, seconds),
        "not finite": lambda: save_file({name: np.full((2, 4), np.nan, np.float32)}, path, seconds),
        "wrong lengths": lambda: save_file(own, path, {name: case.choose(("", "{}", "[1]", '["a", 1]', "[" * 5000))}),
        "nothing": lambda: save_file({}, path),
        "text": lambda: path.write_text("version https://git-lfs.github.com/spec/v1\n"),
        "folder": path.mkdir,
        "dangling": lambda: path.symlink_to("missing"),
        "loop": lambda: path.symlink_to(path.name),
        "pipe": lambda: os.mkfifo(path),
        "head": lambda: path.write_bytes((2**62).to_bytes(8, "little") + b"{}"),
        "deep": lambda: path.write_bytes((20_000).to_bytes(8, "little") + b"[" * 20_000),
    }
    makes[case.choose(list(makes), "kind")]()


def damaged_fingerprint(case: Case) -> None:
    path = STORE / "cache.json"
    content = path.read_bytes()
    contents = (b"", content[:-5], b"[]", b"null", b"5", b"\xff\xfe{}", b"{", b"[" * 100_000, bytes(100), b'"a"',
                content.decode().encode("utf-16"), b"9" * 5000, case.damage(content))  # fmt: skip
    damaged = case.choose(contents)
    case.note(f"cache.json: {damaged[:60]!r}")
    path.write_bytes(damaged)


def damaged_hashes(case: Case) -> None:
    path = STORE / "audio_hashes.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    entry = json.loads(next(line for line in lines if line.strip()))
    changes = ({"hash": 5}, {"hash": None}, {"hash": ["a"]}, {"path": ["a"]}, {"path": {}}, {"size": [1]},
               {"size": "1"}, {"mtime_ns": {}}, {"hash": "0" * 32}, {"hash": ""})  # fmt: skip
    extras = (b"\xff\xfe", b"[" * 100_000, b"9" * 5000, b"null", b"[]", bytes(50), b"{", b"x" * 10**6)
    if case.random.random() < 0.4:
        content = case.damage(b"".join(lines))
    elif case.random.random() < 0.5:
        change = case.choose(changes, "change")
        content = b"".join([*lines, json.dumps({**entry, **change}).encode() + b"\n"])
    else:
        content = b"".join([*lines, case.choose(extras), b"\n"])
    path.write_bytes(content)


def other_files(case: Case) -> None:
    """What else may lie in the folder."""
    (STORE / ".shard-1.2.tmp.safetensors").write_bytes(b"x")
    os.utime(STORE / ".shard-1.2.tmp.safetensors", (0, 0))
    (STORE / "skipped.jsonl").write_bytes(b"\xff")
    (STORE / "notes.txt").write_text("a")
    (STORE / "old").mkdir()


DAMAGES = (
    damaged_shard, damaged_shard, flipped_byte, flipped_byte, flipped_byte, cut_shard, cut_shard, lost_shard,
    foreign_shard, foreign_shard, foreign_shard, damaged_fingerprint, damaged_hashes, damaged_hashes, other_files,
)  # fmt: skip
