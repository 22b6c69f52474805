# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Songs are encoded once, into the cache, as the model encodes them; after a kill or an error the work continues."""

import copy
import itertools
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from accelerate import PartialState
from cached_frames import load_frames
from datasets import Dataset
from mounting import mount
from processes import run_processes
from safetensors.torch import load_file
from tiny_models import CHUNK_LENGTH_S, tiny_beats_config, tiny_config, tiny_text_config, tiny_whisper_config
from tiny_retrieval import tiny_collap
from tiny_songs import shards, write_song, write_songs
from tqdm.notebook import tqdm_notebook
from transformers import ByT5Tokenizer

from collap import CollapDataCollator, CollapFeatureExtractor, CollapModel, CollapProcessor, encode, progress
from collap.data.cache import SongEmbedding, TensorCache
from collap.encode import ListedSong, embed_songs, extract_features
from collap.evaluation.retrievers import CollapRetriever
from collap.progress import progress_bar
from collap.training.arguments import CollapTrainingArguments
from collap.training.dataset import SongDataset, SongReader
from collap.training.trainer import CollapTrainer


@pytest.fixture
def songs(tmp_path) -> list[str]:
    return write_songs(tmp_path)


@pytest.fixture
def extractor() -> CollapFeatureExtractor:
    return CollapFeatureExtractor(chunk_length_s=CHUNK_LENGTH_S)


@pytest.fixture
def extract(extractor, tmp_path):
    """`extract_features` of a tiny model, into tmp_path / "features"."""
    tiny = CollapModel(tiny_config()).eval()

    def extract(songs, model: CollapModel = tiny, extractor=extractor, **options) -> TensorCache:
        return extract_features(songs, tmp_path / "features", model.audio_model, extractor, **options)

    extract.model, extract.folder = tiny, tmp_path / "features"
    return extract


def test_frames_are_those_of_the_model(songs, extract, extractor):
    cache = extract(songs)
    inputs = extractor(songs, return_tensors="pt")
    with torch.no_grad():
        expected, mask = extract.model.audio_model.encode(**inputs)
    assert len(cache.songs) == 3
    for index, song in enumerate(songs):
        assert load_frames(cache, song).dtype == torch.float16
        torch.testing.assert_close(
            load_frames(cache, song).float(), expected[index][mask[index]], atol=2e-3, rtol=1e-3
        )
        cached, coverage = cache.read(cache.find(song)), inputs.audio_coverage[index]
        assert (cached.encoded_s, cached.duration_s) == (coverage.encoded_s, coverage.duration_s)
        assert not cached.is_truncated


@pytest.mark.parametrize("seconds", [0.2, 1.92, 2.0, 2.1, 5.76, 7.0])
def test_a_song_in_parts_has_the_frames_of_the_whole(seconds, tmp_path):
    """The encoders take three chunks of 0.64 s at a time, as they do when the song comes at once."""
    song = write_song(tmp_path / "song.wav", seconds)
    model, processor = tiny_collap()
    whole = processor(audio=song, return_tensors="pt")
    with torch.no_grad():
        encoded, _ = model.audio_model.encode(**whole)
        expected = model.get_audio_features(**whole).last_hidden_state[0]
    parts = encode.stream_features(song, processor.feature_extractor, model.config, truncation=False)
    (in_parts,) = encode.encode_streams(model.audio_model, [parts])
    np.testing.assert_array_equal(in_parts.frames, encoded[0].numpy())
    embedded = CollapRetriever(model, processor).embed_song(song)
    np.testing.assert_allclose(embedded.frames, expected.numpy(), rtol=0, atol=1e-6)
    coverage = whole.audio_coverage[0]
    for found in (in_parts, embedded):
        assert (found.encoded_s, found.duration_s) == (coverage.encoded_s, coverage.duration_s)


def test_songs_of_several_parts_encoded_together(tmp_path):
    """A batch is made by counted lengths, which may be wrong; the songs that cannot be encoded end no other one."""
    songs = [write_song(tmp_path / f"{index}.wav", seconds, index) for index, seconds in enumerate((2.5, 0.7, 6.0))]
    broken = 0.1 * np.ones(16_000 * 5)
    broken[70_000] = np.nan
    soundfile.write(tmp_path / "nan.wav", broken, 16_000, subtype="FLOAT")
    songs.insert(1, str(tmp_path / "nan.wav"))
    model, processor = tiny_collap()

    def stream(song):
        return encode.stream_features(song, processor.feature_extractor, model.config, truncation=False)

    together = encode.encode_streams(model.audio_model, list(map(stream, songs)))
    assert isinstance(together[1], ValueError)
    assert "must be finite" in str(together[1])
    for index in (0, 2, 3):
        (alone,) = encode.encode_streams(model.audio_model, [stream(songs[index])])
        np.testing.assert_allclose(together[index].frames, alone.frames, rtol=0, atol=1e-5)
        assert together[index].encoded_s == alone.encoded_s


def test_a_long_song_is_read_while_it_is_encoded(extract, extractor, tmp_path, monkeypatch):
    """Longer than what the reading threads make; damage at its end is found after it was encoded."""
    songs = [write_song(tmp_path / f"{index}.wav", seconds, index) for index, seconds in enumerate((9.0, 1.0, 7.0))]
    expected = extract(songs)
    frames = [load_frames(expected, song) for song in songs]
    shutil.rmtree(extract.folder)
    monkeypatch.setattr(encode, "READ_S", 1.0)
    cache = extract(songs)
    for song, own in zip(songs, frames, strict=True):
        torch.testing.assert_close(load_frames(cache, song), own, rtol=0, atol=0)
    shutil.rmtree(extract.folder)
    monkeypatch.setattr(encode, "audio_duration_s", lambda song: 9.0)  # it does not notice
    cut_off(songs[0])
    cache = extract(songs, on_bad_audio="skip")
    assert [song in cache for song in songs] == [False, True, True]
    assert "it ends after 7.5 s, its head says 9.0 s" in (extract.folder / "skipped.jsonl").read_text()


def test_what_is_computed_ahead():
    """In order, at most two ahead, and no thread is left: after an error, and when no more is taken."""
    made = []

    def items():
        for item in range(6):
            made.append(item)
            yield item
        raise ValueError("no more")

    threads = threading.active_count()
    stream = encode.ahead(next, itertools.repeat(items()), 1)
    for item in range(6):
        assert next(stream) == item
        assert len(made) <= item + 3
    with pytest.raises(ValueError, match="no more"):
        next(stream)
    assert threading.active_count() == threads
    stream = encode.ahead(next, itertools.repeat(iter(range(99))), 1)
    assert next(stream) == 0
    stream.close()
    assert threading.active_count() == threads
    assert list(encode.ahead(str, range(9), 3)) == list("012345678")


def test_progress_in_a_log_is_a_line_a_minute(songs, extract, capsys, monkeypatch):
    extract(songs)
    lines = [line.strip() for line in capsys.readouterr().err.splitlines()]
    bars = [line for line in lines if line.startswith(("Checking songs", "Encoding 3 songs"))]
    assert [line.split("|")[0] for line in bars] == [
        "Checking songs:   0%",
        "Checking songs: 100%",
        "Encoding 3 songs:   0%",
        "Encoding 3 songs: 100%",
    ]
    for _ in progress_bar(range(10_000)):
        pass
    assert capsys.readouterr().err.count("%") == 2

    class NotebookBar(tqdm_notebook):
        def __init__(self, items, **options):
            self.disable = True
            seen.append(options)

    seen = []
    monkeypatch.setattr(progress, "tqdm", NotebookBar)
    progress_bar(range(3), desc="A notebook")
    assert seen == [{"desc": "A notebook"}]


def test_progress_ends_at_its_total(extract, tmp_path, capsys):
    extract([write_song(tmp_path / f"{index}.wav", 1.4, index) for index in range(5)])
    assert re.search(r"Encoding 5 songs: 100%.*7/7 ", capsys.readouterr().err)


def test_an_encoder_that_fails_leaves_no_thread(tmp_path, monkeypatch):
    song = write_song(tmp_path / "song.wav", 9.0)
    model, processor = tiny_collap()

    def fail(**inputs):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(model.audio_model, "encode", fail)
    threads = threading.active_count()
    with pytest.raises(RuntimeError, match="out of memory"):
        CollapRetriever(model, processor).embed_song(song)
    assert threading.active_count() == threads


def test_the_first_epoch_has_the_loss_of_live_audio(extractor, extract, tmp_path):
    """And another one from the features of other songs."""
    songs = [str(tmp_path / f"{index}.wav") for index in range(9)]
    for index, song in enumerate(songs):
        time_s = np.arange(int(16_000 * 0.32 * (index + 2))) / 16_000
        soundfile.write(song, 0.3 * np.sin(2 * np.pi * 100 * 1.6**index * time_s), 16_000)
    text = tiny_text_config()
    text.vocab_size, text.pad_token_id = 384, 0  # of ByT5's tokenizer
    config = tiny_config(  # weights so large that random encoders tell songs apart
        music_config=tiny_beats_config(initializer_range=0.3),
        speech_config=tiny_whisper_config(init_std=0.3),
        text_config=text,
        text_granularity="sentence",
        initializer_range=0.5,
        logit_scale_init_value=math.log(30),
    )
    torch.manual_seed(0)
    model = CollapModel(config)
    cache = extract(songs, model)
    processor = CollapProcessor(extractor, ByT5Tokenizer(), text_granularity="sentence")
    start = copy.deepcopy(model.state_dict())

    def train(letters: str, features: TensorCache | None) -> float:
        model.load_state_dict(start)
        rows = Dataset.from_dict({"audio": songs, "text": [[f"{letter * 3}."] for letter in letters]})
        arguments = CollapTrainingArguments(
            output_dir=str(tmp_path / "output"),
            num_train_epochs=1,
            contrastive_batch_size=3,
            learning_rate=1e-2,
            save_strategy="no",
            report_to="none",
            use_cpu=True,
            disable_tqdm=True,
        )
        trainer = CollapTrainer(
            model=model,
            args=arguments,
            train_dataset=SongDataset(rows, SongReader(processor, model.config, features)),
            data_collator=CollapDataCollator(processor),
        )
        return trainer.train().training_loss

    live = train("abcdefghi", None)
    assert train("abcdefghi", cache) == pytest.approx(live, rel=1e-3)
    assert train("bcdefghia", cache) != pytest.approx(live, rel=5e-3)


def test_each_song_is_encoded_once(songs, extract, tmp_path, capsys):
    again = shutil.copy(songs[1], tmp_path / "again.wav")
    in_memory = {"bytes": Path(songs[2]).read_bytes(), "path": None}
    cache = extract([*songs, songs[0], str(again), in_memory])
    assert "6 songs, 3 different ones" in (first := capsys.readouterr().out)
    assert "3 songs encoded" in first
    assert sum(len(load_file(shard)) for shard in shards(extract.folder)) == 3
    torch.testing.assert_close(load_frames(cache, in_memory), load_frames(cache, songs[2]))

    extract([*songs, write_song(tmp_path / "new.wav", 1.0, 9)])
    assert "3 are cached already" in (second := capsys.readouterr().out)
    assert "1 songs encoded" in second
    assert sum(len(load_file(shard)) for shard in shards(extract.folder)) == 4


def test_other_encoders_or_precision_need_another_folder(songs, extract, extractor, tmp_path, monkeypatch):
    monkeypatch.setattr("collap.precision.is_faster_on_this_cpu", lambda precision: True)
    exact = load_frames(extract(songs), songs[0]).float()
    lower = copy.deepcopy(extract.model)
    with pytest.raises(ValueError, match="precision: 'that of the checkpoint' in the cache, 'bfloat16' here"):
        extract(songs, lower, precision="bfloat16")
    assert lower.audio_model.music_model.dtype == torch.float32  # nothing was converted for a folder that is refused
    with pytest.raises(ValueError, match=r"music_encoder\.weights_sha256"):
        extract(songs, CollapModel(tiny_config()))
    other = extract_features(songs, tmp_path / "other", lower.audio_model, extractor, precision="bfloat16")
    assert lower.audio_model.music_model.dtype == torch.bfloat16
    rounded = load_frames(other, songs[0]).float()
    assert not torch.equal(exact, rounded)
    torch.testing.assert_close(exact, rounded, atol=0.1, rtol=0.05)


def test_songs_that_cannot_be_encoded(songs, extract, tmp_path, capsys):
    (tmp_path / "text.wav").write_text("words")
    bad = [str(tmp_path / "text.wav"), str(tmp_path / "missing.wav")]
    with pytest.raises(ValueError, match="2 of 5 songs cannot be encoded") as error:
        extract([*songs, *bad])
    assert all(song in str(error.value) for song in bad)
    assert not shards(extract.folder)  # all are named before anything is encoded
    short = write_song(tmp_path / "short.wav", 0.1)  # noticed only when it is decoded
    with pytest.raises(ValueError, match=r"short\.wav: .* 2800"):
        extract([*songs, short])
    assert len(shards(extract.folder)) == 1  # what was encoded stays cached
    cache = extract([*bad, *songs, short], on_bad_audio="skip")
    assert "0 songs encoded" in (printed := capsys.readouterr().out)
    assert "3 songs skipped" in printed
    lines = [json.loads(line) for line in (extract.folder / "skipped.jsonl").read_text().splitlines()]
    assert [line["audio"] for line in lines] == [*bad, short]
    assert all(line["problem"] for line in lines)
    cache.check(songs)
    capsys.readouterr()
    extract(songs)  # a run without such songs
    assert "songs encoded" not in capsys.readouterr().out  # nothing was to be done
    assert not (extract.folder / "skipped.jsonl").exists()


def test_frames_that_are_not_finite(songs, extract):
    extract.model.audio_model.speech_model.layer_norm.weight.data.fill_(float("nan"))
    with pytest.raises(ValueError, match="frames are not finite"):
        extract(songs)
    assert not shards(extract.folder)


class TestDamage:
    """Cached songs are checked, and what is damaged is encoded again, alone."""

    @pytest.fixture
    def frames(self, songs, extract) -> dict[str, torch.Tensor]:
        cache = extract(songs)
        return {song: load_frames(cache, song) for song in songs}

    @staticmethod
    def check(cache: TensorCache, frames: dict[str, torch.Tensor]) -> None:
        for song, expected in frames.items():
            torch.testing.assert_close(load_frames(cache, song), expected, rtol=0, atol=1e-2)  # batches may be others
        assert sum(len(load_file(shard)) for shard in shards(cache.folder)) == len(frames)

    def test_a_song_whose_frames_are_damaged(self, songs, extract, frames, caplog, capsys):
        (shard,) = shards(extract.folder)
        data, part = shard.read_bytes(), frames[songs[1]].numpy().tobytes()
        shard.write_bytes(data.replace(part, bytes([part[0] ^ 1]) + part[1:]))
        cache = extract([*songs, songs[1]])
        assert "2 are cached already and 1 of 0.00 h are to be encoded" in capsys.readouterr().out
        assert [songs[1] in record.message and shard.name in record.message for record in caplog.records] == [True]
        self.check(cache, frames)

    def test_a_torn_shard(self, songs, extract, frames, caplog):
        (shard,) = shards(extract.folder)
        shard.write_bytes(shard.read_bytes()[:1000])
        self.check(extract(songs), frames)
        assert f"{shard.name} is damaged" in caplog.text

    def test_flipped_bits_anywhere(self, songs, extract, frames):
        generator = np.random.default_rng(0)
        for _ in range(20):
            (shard, *_) = shards(extract.folder)
            flipped = bytearray(shard.read_bytes())
            header = 8 + int.from_bytes(flipped[:8], "little")
            bit = generator.integers(8 * generator.choice([header, len(flipped)]))
            flipped[bit // 8] ^= 1 << bit % 8
            shard.write_bytes(flipped)
            self.check(extract(songs), frames)

    def test_a_damaged_song_whose_file_cannot_be_read(self, songs, extract, frames, monkeypatch):
        (shard,) = shards(extract.folder)
        part = frames[songs[1]].numpy().tobytes()
        shard.write_bytes(shard.read_bytes().replace(part, bytes([part[0] ^ 1]) + part[1:]))

        def fail(song: str) -> float:
            raise OSError("disk error")

        monkeypatch.setattr(encode, "audio_duration_s", fail)
        cache = extract(songs, on_bad_audio="skip")
        self.check(cache, {song: frames[song] for song in (songs[0], songs[2])})
        assert songs[1] not in cache


def test_the_length_of_cached_songs_is_not_counted_again(songs, extract, monkeypatch):
    extract(songs[:2])
    counted, count = [], encode.audio_duration_s
    monkeypatch.setattr(encode, "audio_duration_s", lambda song: counted.append(song) or count(song))
    extract(songs)
    assert counted == [songs[2]]


def test_a_file_that_is_replaced_while_songs_are_encoded(songs, extract, extractor, tmp_path):
    """By one of the same length and time, so that only its content tells."""
    other, status = write_song(tmp_path / "other.wav", 0.4, seed=9), os.stat(songs[1])

    class Replacing(CollapFeatureExtractor):
        def stream(self, audio, *args):
            yield from super().stream(audio, *args)
            if audio == songs[1]:
                shutil.copy(other, audio)
                os.utime(audio, ns=(status.st_atime_ns, status.st_mtime_ns))

    replacing = Replacing(chunk_length_s=CHUNK_LENGTH_S)
    with pytest.raises(ValueError, match=r"1\.wav: it has changed since the songs were hashed; run the same command"):
        extract(songs, extractor=replacing)
    expected = load_frames(extract([other], on_bad_audio="skip"), other)
    cache = extract(songs)  # the same command
    assert cache.find(songs[1]) == cache.find(other)
    torch.testing.assert_close(load_frames(cache, songs[1]), expected)


def test_any_error_of_one_song_is_an_issue_of_that_song(songs, extract, tmp_path):
    pipe = str(tmp_path / "pipe.wav")
    os.mkfifo(pipe)
    errors = {songs[0]: MemoryError("Unable to allocate 512. GiB"), songs[2]: TypeError("no number")}

    class Failing(CollapFeatureExtractor):
        def stream(self, audio, *args):
            if audio in errors:
                raise errors[audio]
            return super().stream(audio, *args)

    failing = Failing(chunk_length_s=CHUNK_LENGTH_S)
    cache = extract([*songs, pipe, None, 3], extractor=failing, on_bad_audio="skip")
    lines = [json.loads(line) for line in (extract.folder / "skipped.jsonl").read_text().splitlines()]
    assert {line["audio"]: line["problem"] for line in lines} == {
        songs[0]: "Unable to allocate 512. GiB",
        songs[2]: "no number",
        pipe: "It is no regular file",
        "songs[4]": "A song must be a path or a dict with 'bytes' or 'path', got NoneType.",
        "songs[5]": "A song must be a path or a dict with 'bytes' or 'path', got int.",
    }
    assert list(cache.songs) == [cache.find(songs[1])]


def cut_off(song: str) -> str:
    """The file loses its last second and a half, which its head still claims."""
    with open(song, "r+b") as file:
        file.truncate(os.path.getsize(song) - 48_000)
    return song


def test_a_song_that_is_not_whole_is_bad_audio(songs, extract):
    cut_off(songs[2])
    with pytest.raises(ValueError, match=r"2\.wav: it ends after 0\.5 s, its head says 2\.0 s"):
        extract(songs)
    assert not shards(extract.folder)  # it is named before anything is encoded
    cache = extract(songs, on_bad_audio="skip")
    assert [song in cache for song in songs] == [True, True, False]


@pytest.fixture
def read_only(tmp_path) -> Iterator[Callable]:
    """Makes tmp_path / "features" a folder that cannot be written to, also by root."""
    folder = tmp_path / "features"
    mount(folder, "--bind", str(folder))
    yield lambda: subprocess.run(["mount", "-o", "remount,ro,bind", str(folder)], check=True)
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_complete_cache_may_be_one_that_can_only_be_read(songs, extract, read_only, capsys):
    temporary = extract.folder / ".killed.tmp.safetensors"
    extract(songs)
    temporary.write_bytes(b"half")
    os.utime(temporary, (0, 0))
    read_only()
    with pytest.raises(OSError, match="Read-only"):
        (extract.folder / "new").touch()
    capsys.readouterr()
    extract(songs).check(songs)
    assert "3 are cached already and 0 of" in capsys.readouterr().out
    assert temporary.exists()


def test_truncation(extract, tmp_path):
    song = write_song(tmp_path / "song.wav", 3.0)
    limited = CollapFeatureExtractor(chunk_length_s=CHUNK_LENGTH_S, max_length_s=1.28)
    with pytest.raises(ValueError, match=r"song\.wav: .*no longer than max_length_s"):
        extract([song], extractor=limited)
    cache = extract([song], extractor=limited, truncation=True)
    assert cache.num_frames(song) == 2 * extract.model.config.frames_per_chunk


def test_work_is_split_by_length():
    lengths = [600.0, *[60.0] * 10]
    splits = encode.split_work([ListedSong(index, "", str(index), s) for index, s in enumerate(lengths)], 2)
    assert [sum(song.length_s for song in split) for split in splits] == [600.0, 600.0]
    assert sorted(song.index for split in splits for song in split) == list(range(11))


SCRIPT = """
import resource, sys
from pathlib import Path
import torch
from accelerate import PartialState
from tiny_models import CHUNK_LENGTH_S, tiny_config
from collap import CollapFeatureExtractor, CollapModel
from collap.data import cache
from collap.encode import extract_features

torch.set_num_threads(1)
torch.manual_seed(0)
model = CollapModel(tiny_config())
cache.SHARD_BYTES = int(sys.argv[3])
if len(sys.argv) > 4:
    resource.setrlimit(resource.RLIMIT_FSIZE, 2 * (int(sys.argv[4]),))
songs = sorted(str(path) for path in Path(sys.argv[1]).glob("*.wav"))
extract_features(songs, sys.argv[2], model.audio_model, CollapFeatureExtractor(chunk_length_s=CHUNK_LENGTH_S))
PartialState().destroy_process_group()
"""


def start(songs_folder: Path, folder: Path, *arguments: int) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(songs_folder), str(folder), *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


# Prints the most memory that encoding a song takes in a process of its own, in kB.
PEAK_SCRIPT = """
import pathlib, sys
from collap.evaluation.retrievers import load_retriever
load_retriever(sys.argv[1]).embed_song(sys.argv[2])
print(pathlib.Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
def test_an_hour_takes_little_more_memory_than_minutes(tmp_path):
    """At once its waveform alone would take 230 MB, its features 290 MB."""
    for part in tiny_collap(encoder_batch_size=8):
        part.save_pretrained(tmp_path / "model")
    song, peaks_mb = tmp_path / "song.wav", []
    minute = np.random.default_rng(0).uniform(-0.3, 0.3, (60 * 44_100, 2))
    for num_minutes in (5, 60):
        with soundfile.SoundFile(song, "w", 44_100, channels=2) as file:
            for _ in range(num_minutes):
                file.write(minute)
        command = [sys.executable, "-c", PEAK_SCRIPT, tmp_path / "model", song]
        peaks_mb.append(int(subprocess.run(command, capture_output=True, check=True, text=True).stdout) / 1e3)
    assert peaks_mb[1] - peaks_mb[0] < 100


@pytest.mark.slow
def test_a_killed_run_continues(tmp_path):
    for index in range(8):
        write_song(tmp_path / f"{index}.wav", 60 + index, index)
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    process = start(tmp_path, killed, 1)  # a shard a song
    while len(shards(killed)) < 2:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = {shard: shard.stat().st_mtime_ns for shard in shards(killed)}
    assert 2 <= len(before) < 8

    resumed = start(tmp_path, killed, 1)
    printed, errors = resumed.communicate()
    assert resumed.returncode == 0, errors
    assert f"{len(before)} are cached already" in printed
    assert f"{8 - len(before)} songs encoded" in printed
    assert all(shard.stat().st_mtime_ns == changed for shard, changed in before.items())

    assert start(tmp_path, whole, 2**28).wait() == 0
    (expected,) = map(load_file, shards(whole))
    found = {name: frames for shard in shards(killed) for name, frames in load_file(shard).items()}
    assert len(shards(killed)) == 8
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


@pytest.mark.slow
def test_two_processes_heal_a_folder(tmp_path):
    for index in range(8):
        write_song(tmp_path / f"{index}.wav", 1 + index, index)
    script, folder = tmp_path / "extract.py", tmp_path / "features"
    script.write_text(SCRIPT)
    arguments = script, str(tmp_path), str(folder), "2000"  # several songs a shard
    run_processes(2, *arguments)
    before = {name: frames.clone() for shard in shards(folder) for name, frames in load_file(shard).items()}
    torn, *flipped = shards(folder)
    assert len(flipped) >= 3
    torn.write_bytes(torn.read_bytes()[:-1])
    for shard in flipped[:2]:
        content = bytearray(shard.read_bytes())
        content[-1] ^= 1  # of the frames of one song
        shard.write_bytes(content)
    assert "to be encoded" in run_processes(2, *arguments)
    after = {name: frames for shard in shards(folder) for name, frames in load_file(shard).items()}
    torch.testing.assert_close(after, before, rtol=0, atol=1e-2)
    assert "and 0 of 0.00 h are to be encoded" in run_processes(2, *arguments)


@pytest.mark.slow
def test_a_full_disk_is_an_error_and_leaves_no_temporary_file(tmp_path):
    write_song(tmp_path / "song.wav", 30.0)
    process = start(tmp_path, tmp_path / "features", 1, 4000)  # no file may grow beyond 4000 bytes
    _, errors = process.communicate()
    assert process.returncode == 1
    assert "OSError: 1 songs could not be written" in errors
    assert sorted(file.name for file in (tmp_path / "features").iterdir()) == ["audio_hashes.jsonl", "cache.json"]


class Counting(CollapRetriever):
    """Remembers what it has encoded."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.encoded: list[str] = []

    def embed_song(self, path: str) -> SongEmbedding:
        self.encoded.append(Path(path).name)
        return super().embed_song(path)


@pytest.fixture(scope="module")
def collap():
    return tiny_collap()


class TestEmbedSongs:
    @pytest.fixture
    def gallery(self, songs) -> dict[str, str]:
        return {f"song-{index}": song for index, song in enumerate(songs)}

    @pytest.fixture
    def embed(self, tmp_path):
        def embed_by_id(retriever, songs, **options):
            folder, state = tmp_path / "embeddings", PartialState(cpu=True)
            cache, listed = embed_songs(retriever, list(songs.values()), folder, state, **options)
            return cache, dict(zip(songs, listed, strict=True))

        return embed_by_id

    @pytest.mark.parametrize("num_workers", [1, 3])
    def test_embeddings_are_those_of_the_retriever(self, collap, gallery, embed, num_workers):
        retriever = CollapRetriever(*collap)
        cache, songs = embed(retriever, gallery, num_workers=num_workers)
        assert list(songs) == list(gallery)  # in the order of the gallery
        for song_id, path in gallery.items():
            assert songs[song_id].problem is None
            expected, found = retriever.embed_song(path), cache.read(songs[song_id].hash)
            np.testing.assert_array_equal(found.frames, expected.frames)
            assert found.frames.dtype == np.float32
            assert (found.encoded_s, found.duration_s) == (expected.encoded_s, expected.duration_s)

    def test_on_a_cpu_each_thread_encodes_songs(self, collap, gallery, embed, monkeypatch):
        threads, num_threads = set(), torch.get_num_threads()
        retriever, both = CollapRetriever(*collap), threading.Barrier(2, timeout=60)

        def embed_song(path: str) -> SongEmbedding:
            threads.add(threading.current_thread())
            assert torch.get_num_threads() == 1
            if not path.endswith("2.wav"):
                both.wait()  # two songs at once, or an error
            return CollapRetriever.embed_song(retriever, path)

        monkeypatch.setattr(retriever, "embed_song", embed_song)
        try:
            torch.set_num_threads(2)
            cache, songs = embed(retriever, gallery)
            assert torch.get_num_threads() == 2
        finally:
            torch.set_num_threads(num_threads)
        assert len(threads) == 2
        for song_id, path in gallery.items():
            expected = CollapRetriever(*collap).embed_song(path).frames
            np.testing.assert_array_equal(cache.read(songs[song_id].hash).frames, expected)

    def test_a_song_is_encoded_once_and_again_when_it_has_changed(self, collap, gallery, embed, tmp_path):
        retriever = Counting(*collap)
        copied = shutil.copy(gallery["song-0"], tmp_path / "copy.wav")
        _, first = embed(retriever, {**gallery, "copy": str(copied)})
        assert len(retriever.encoded) == 3
        assert first["copy"].hash == first["song-0"].hash
        shutil.move(copied, gallery["song-0"])
        write_song(Path(gallery["song-1"]), 0.6, seed=1)
        _, second = embed(retriever, gallery)
        assert retriever.encoded[3:] == ["1.wav"]
        assert [first[name].hash == second[name].hash for name in gallery] == [True, False, True]

    def test_another_model_finds_nothing_of_this_one(self, collap, gallery, embed):
        model, processor = collap
        embed(CollapRetriever(model, processor), gallery)
        short = copy.deepcopy(processor)
        short.feature_extractor.max_length_s = 0.5
        others = [
            Counting(tiny_collap(frame_pooling=4)[0], processor),
            Counting(tiny_collap()[0].double(), processor),  # computes in another precision
            Counting(model, short),
        ]
        for other in others:
            assert embed(other, gallery)[0].folder.name == other.song_revision
            assert len(other.encoded) == 3
        for same in (Counting(model, processor, use_time=False), Counting(tiny_collap(kernel_size=3)[0], processor)):
            embed(same, gallery)  # which scores otherwise, but encodes songs in the same way
            assert same.encoded == []

    def test_songs_that_cannot_be_encoded(self, collap, gallery, embed, tmp_path):
        short = write_song(tmp_path / "short.wav", 0.01)  # has a good header, but is too short for the model
        copied = shutil.copy(short, tmp_path / "copy.wav")
        bad = {"gone": str(tmp_path / "gone.wav"), "short": short, "copy": str(copied)}
        with pytest.raises(ValueError, match=r"1 of 6 songs cannot be encoded:\n  .*gone\.wav: "):
            embed(CollapRetriever(*collap), {**bad, **gallery})
        _, songs = embed(CollapRetriever(*collap), {**bad, **gallery}, on_bad_audio="skip")
        assert list(songs) == [*bad, *gallery]
        assert {song_id: song.name for song_id, song in songs.items() if song.problem is not None} == bad
        assert "No such file" in songs["gone"].problem

    def test_a_song_that_is_not_whole_is_bad_audio(self, collap, gallery, embed):
        cut_off(gallery["song-2"])
        _, songs = embed(CollapRetriever(*collap), gallery, on_bad_audio="skip")
        assert songs["song-2"].problem == "it ends after 0.5 s, its head says 2.0 s."
        assert [song.problem is None for song in songs.values()] == [True, True, False]
