# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Kept features of frozen encoders: the right ones, once, and never those of another model or song."""

import copy
import json
import math
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from datasets import Dataset
from safetensors.torch import load_file
from tiny_models import (
    CHUNK_LENGTH_S,
    text_inputs,
    tiny_beats_config,
    tiny_config,
    tiny_text_config,
    tiny_whisper_config,
)
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader
from transformers import ByT5Tokenizer

from collap import CollapDataCollator, CollapFeatureExtractor, CollapModel, CollapProcessor, encode
from collap.data import cache
from collap.encode import FeatureStore, bytes_per_minute, extract_features
from collap.training.arguments import CollapTrainingArguments
from collap.training.dataset import SongDataset, SongReader
from collap.training.trainer import CollapTrainer

SAMPLING_RATE = 16_000
TESTS = Path(__file__).resolve().parents[1]


def write_song(path: Path, seconds: float, seed: int = 0) -> str:
    waveform = 0.1 * np.random.default_rng(seed).standard_normal(int(SAMPLING_RATE * seconds))
    soundfile.write(path, waveform, SAMPLING_RATE)
    return str(path)


@pytest.fixture
def songs(tmp_path) -> list[str]:
    return [write_song(tmp_path / f"{index}.wav", seconds, index) for index, seconds in enumerate((1.5, 0.4, 2.0))]


@pytest.fixture
def model() -> CollapModel:
    return CollapModel(tiny_config()).eval()


@pytest.fixture
def extractor() -> CollapFeatureExtractor:
    return CollapFeatureExtractor(chunk_length_s=CHUNK_LENGTH_S)


@pytest.fixture
def folder(tmp_path) -> Path:
    return tmp_path / "features"


def shards(folder: Path) -> list[Path]:
    return sorted(folder.glob("shard-*.safetensors"))


def test_frames_are_those_of_the_model(songs, model, extractor, folder):
    extract_features(songs, folder, model.audio_model, extractor)
    store = FeatureStore(folder, model.audio_model, extractor)
    assert len(store) == 3
    with torch.no_grad():
        expected, mask = model.audio_model.encode(**extractor(songs, return_tensors="pt"))
    for index, song in enumerate(songs):
        frames = store.load(song)
        assert frames.dtype == torch.float16
        assert store.num_frames(song) == len(frames)
        torch.testing.assert_close(frames.float(), expected[index][mask[index]], atol=2e-3, rtol=1e-3)


class TestLossFromFeatures:
    """The loss from features is that of the live path, and would be another from those of other songs."""

    @pytest.fixture
    def model(self) -> CollapModel:
        # Weights so large that songs sound different to random encoders.
        text = tiny_text_config()
        text.vocab_size = 384  # of ByT5's tokenizer
        config = tiny_config(
            music_config=tiny_beats_config(initializer_range=0.3),
            speech_config=tiny_whisper_config(init_std=0.3),
            text_config=text,
            text_granularity="sentence",
            initializer_range=0.5,
            logit_scale_init_value=math.log(30),
        )
        return CollapModel(config)

    @pytest.fixture
    def songs(self, tmp_path) -> list[str]:
        songs = []
        for index in range(9):
            time_s = np.arange(int(SAMPLING_RATE * 0.32 * (index + 2))) / SAMPLING_RATE
            path = tmp_path / f"{index}.wav"
            soundfile.write(path, 0.3 * np.sin(2 * np.pi * 100 * 1.6**index * time_s), SAMPLING_RATE)
            songs.append(str(path))
        return songs

    def test_forward(self, songs, model, extractor, folder):
        extract_features(songs, folder, model.audio_model, extractor)
        store = FeatureStore(folder, model.audio_model, extractor)
        texts = text_inputs([5] * len(songs))
        frames = [store.load(song).float() for song in songs]
        model.train()  # frozen encoders stay in evaluation mode, the tiny text model has no dropout
        live = model(**extractor(songs, return_tensors="pt"), **texts, return_loss=True).loss.item()
        losses = []
        for order in (frames, [*frames[1:], frames[0]]):
            mask = torch.arange(max(map(len, order))) < torch.tensor([len(item) for item in order])[:, None]
            inputs = {"encoder_frames": pad_sequence(order, batch_first=True), "frame_mask": mask}
            losses.append(model(**inputs, **texts, return_loss=True).loss.item())
        assert losses[0] == pytest.approx(live, rel=1e-3)
        assert losses[1] != pytest.approx(live, rel=2e-2)

    def test_first_epoch(self, songs, model, extractor, folder, tmp_path):
        extract_features(songs, folder, model.audio_model, extractor)
        processor = CollapProcessor(extractor, ByT5Tokenizer(), text_granularity="sentence")
        texts = [[f"{letter * 3}."] for letter in "abcdefghi"]
        start = copy.deepcopy(model.state_dict())

        def train(rows: Dataset, store: FeatureStore | None) -> float:
            model.load_state_dict(start)
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
                train_dataset=SongDataset(rows, SongReader(processor, model.config, store)),
                data_collator=CollapDataCollator(processor),
            )
            return trainer.train().training_loss

        store = FeatureStore(folder, model.audio_model, extractor)
        rows = Dataset.from_dict({"audio": songs, "text": texts})
        live = train(rows, None)
        assert train(rows, store) == pytest.approx(live, rel=1e-3)
        others = Dataset.from_dict({"audio": songs, "text": [*texts[1:], texts[0]]})
        assert train(others, store) != pytest.approx(live, rel=1e-2)


def test_each_song_is_encoded_once(songs, model, extractor, folder, tmp_path, capsys):
    again = tmp_path / "again.wav"
    again.write_bytes(Path(songs[1]).read_bytes())
    in_memory = {"bytes": Path(songs[2]).read_bytes(), "path": None}
    extract_features([*songs, songs[0], str(again), in_memory], folder, model.audio_model, extractor)
    assert "6 songs, 3 different ones" in (first := capsys.readouterr().out)
    assert "3 songs encoded" in first
    kept = [load_file(shard) for shard in shards(folder)]
    assert sum(map(len, kept)) == 3
    assert {shard.stat().st_mode for shard in shards(folder)} == {(folder / "features.json").stat().st_mode}
    store = FeatureStore(folder, model.audio_model, extractor)
    torch.testing.assert_close(store.load(in_memory), store.load(songs[2]))
    assert str(again) in store

    extract_features([*songs, write_song(tmp_path / "new.wav", 1.0, 9)], folder, model.audio_model, extractor)
    assert "3 are there already" in (second := capsys.readouterr().out)
    assert "1 songs encoded" in second
    assert sum(len(load_file(shard)) for shard in shards(folder)) == 4


def test_a_song_is_known_by_its_content(songs, model, extractor, folder, tmp_path):
    extract_features(songs, folder, model.audio_model, extractor)
    moved = Path(songs[0]).rename(tmp_path / "moved.wav")
    write_song(Path(songs[1]), 0.4, seed=7)  # as long as before
    store = FeatureStore(folder, model.audio_model, extractor)
    assert str(moved) in store
    store.check([str(moved), songs[2]])
    unknown = write_song(tmp_path / "unknown.wav", 1.0, seed=8)
    assert not any(song in store for song in (songs[0], songs[1], unknown))
    with pytest.raises(ValueError, match="lacks 3 of 5 songs") as error:
        store.check([str(moved), songs[0], songs[1], songs[2], unknown])
    for part in ("0.wav: no such file", "1.wav: it has changed", "unknown.wav: no features", "extract_features.py"):
        assert part in str(error.value)
    with pytest.raises(ValueError, match="it has changed"):
        store.load(songs[1])


def test_hashes_are_remembered_and_a_torn_line_is_passed_over(songs, model, extractor, folder):
    extract_features(songs, folder, model.audio_model, extractor)
    file = folder / "audio_hashes.jsonl"
    entries = [json.loads(line) for line in file.read_text().splitlines() if line]
    assert sorted(entry["path"] for entry in entries) == sorted(songs)
    lines = file.read_bytes()
    FeatureStore(folder, model.audio_model, extractor).check(songs)
    assert file.read_bytes() == lines  # nothing was hashed anew
    file.write_bytes(lines[:-20])
    store = FeatureStore(folder, model.audio_model, extractor)
    store.check(songs)
    assert file.read_bytes().startswith(lines[:-20] + b"\n")
    assert len([line for line in file.read_bytes()[len(lines) - 20 :].splitlines() if line]) == 1


def test_loading_in_workers(songs, model, extractor, folder):
    extract_features(songs, folder, model.audio_model, extractor)
    store = FeatureStore(folder, model.audio_model, extractor)
    expected = [store.load(song) for song in songs]
    loader = DataLoader(songs, batch_size=None, num_workers=2, collate_fn=pickle.loads(pickle.dumps(store)).load)
    for frames, reference in zip(loader, expected, strict=True):
        torch.testing.assert_close(frames, reference, rtol=0, atol=0)


def change_music(model: CollapModel) -> None:
    model.audio_model.music_model.get_input_embeddings().weight.data[0] += 1e-3


def change_speech(model: CollapModel) -> None:
    model.audio_model.speech_model.layer_norm.weight.data[0] += 1e-3


class TestForeignFeatures:
    @pytest.fixture(autouse=True)
    def extracted(self, songs, model, extractor, folder):
        extract_features(songs, folder, model.audio_model, extractor)

    def test_what_comes_after_the_encoders_may_change(self, model, extractor, folder, tmp_path):
        model.text_projection.weight.data.add_(1)
        model.audio_model.adapter.weight.data.add_(1)
        model.save_pretrained(tmp_path / "saved")
        loaded = CollapModel.from_pretrained(tmp_path / "saved", kernel_size=3)
        assert len(FeatureStore(folder, loaded.audio_model, extractor)) == 3

    @pytest.mark.parametrize(
        ("change", "named"),
        [(change_music, r"music_encoder\.weights_sha256"), (change_speech, r"speech_encoder\.weights_sha256")],
    )
    def test_other_weights(self, songs, model, extractor, folder, change, named):
        change(model)
        with pytest.raises(ValueError, match=named) as error:
            FeatureStore(folder, model.audio_model, extractor)
        assert str(error.value).count(" in the features, ") == 1
        with pytest.raises(ValueError, match=named):
            extract_features(songs, folder, model.audio_model, extractor)

    @pytest.mark.parametrize(
        ("fields", "named"),
        [
            ({"frame_pooling": 4}, "frame_pooling: 8 in the features, 4 here"),
            ({"speech_config": None}, "speech_encoder: there is one in the features, None here"),
            (
                {"speech_config": tiny_whisper_config(encoder_attention_heads=3)},
                r"speech_encoder\.config\.encoder_attention_heads: 2 in the features, 3 here",
            ),
            (
                {"music_config": tiny_beats_config(layer_norm_eps=1e-3)},
                r"music_encoder\.config\.layer_norm_eps: 1e-05 in the features, 0.001 here",
            ),
        ],
    )
    def test_other_configuration(self, extractor, folder, fields, named):
        with pytest.raises(ValueError, match=named):
            FeatureStore(folder, CollapModel(tiny_config(**fields)).audio_model, extractor)

    def test_other_settings_of_the_extractor(self, model, folder):
        other = CollapFeatureExtractor(chunk_length_s=CHUNK_LENGTH_S, max_length_s=1.0)
        with pytest.raises(ValueError, match=r"feature_extractor\.max_length_s: None in the features, 1\.0 here"):
            FeatureStore(folder, model.audio_model, other)

    def test_other_precision_is_for_another_folder(self, songs, model, extractor, folder):
        with pytest.raises(ValueError, match="mixed_precision must be 'no', as for the features"):
            extract_features(songs, folder, model.audio_model, extractor, mixed_precision="bf16")

    def test_a_cut_shard(self, songs, model, extractor, folder):
        (shard,) = shards(folder)
        shard.write_bytes(shard.read_bytes()[:-8])
        with pytest.raises(ValueError, match=r"is not whole .* Delete it and extract again"):
            FeatureStore(folder, model.audio_model, extractor)
        shard.unlink()
        extract_features(songs, folder, model.audio_model, extractor)
        assert len(FeatureStore(folder, model.audio_model, extractor)) == 3

    def test_half_written_files_are_ignored(self, songs, model, extractor, folder):
        old, young = folder / "shard-old.tmp", folder / "shard-young.tmp"
        for file in (old, young):
            file.write_bytes(b"half")
        os.utime(old, (0, 0))
        extract_features(songs, folder, model.audio_model, extractor)
        assert len(FeatureStore(folder, model.audio_model, extractor)) == 3
        assert not old.exists()
        assert young.exists()  # of another process, perhaps


def test_no_features(model, extractor, tmp_path):
    with pytest.raises(ValueError, match=r"has no features\.json, so there are no features in it"):
        FeatureStore(tmp_path, model.audio_model, extractor)


def test_trainable_encoders_are_refused(songs, extractor, folder):
    model = CollapModel(tiny_config(freeze_speech_model=False))
    with pytest.raises(ValueError, match="speech_model is trainable, so its frames change"):
        extract_features(songs, folder, model.audio_model, extractor)
    assert not shards(folder)


def test_precision_of_the_encoders(songs, model, extractor, tmp_path):
    stores = {}
    for precision in ("no", "bf16"):
        extract_features(songs, tmp_path / precision, model.audio_model, extractor, mixed_precision=precision)
        stores[precision] = FeatureStore(tmp_path / precision, model.audio_model, extractor)
    exact, rounded = (stores[precision].load(songs[0]).float() for precision in ("no", "bf16"))
    assert not torch.equal(exact, rounded)
    torch.testing.assert_close(exact, rounded, atol=0.1, rtol=0.05)


class TestBadAudio:
    @pytest.fixture
    def bad(self, tmp_path) -> list[str]:
        no_audio = tmp_path / "text.wav"
        no_audio.write_text("words")
        return [str(no_audio), str(tmp_path / "missing.wav")]

    def test_all_are_named_before_anything_is_encoded(self, songs, bad, model, extractor, folder):
        with pytest.raises(ValueError, match="2 of 5 songs cannot be heard") as error:
            extract_features([*songs, *bad], folder, model.audio_model, extractor)
        assert all(song in str(error.value) for song in bad)
        assert not shards(folder)

    def test_what_is_done_is_kept(self, songs, model, extractor, folder, tmp_path):
        short = write_song(tmp_path / "short.wav", 0.1)  # known only when it is decoded
        with pytest.raises(ValueError, match=r"short\.wav: .* 2800"):
            extract_features([*songs, short], folder, model.audio_model, extractor)
        assert len(FeatureStore(folder, model.audio_model, extractor)) == 3

    def test_skipped_songs_are_counted_and_named(self, songs, bad, model, extractor, folder, tmp_path, capsys):
        short = write_song(tmp_path / "short.wav", 0.1)
        extract_features([*bad, *songs, short], folder, model.audio_model, extractor, on_bad_audio="skip")
        assert "3 songs encoded" in (said := capsys.readouterr().out)
        assert "3 songs skipped" in said
        lines = [json.loads(line) for line in (folder / "skipped.jsonl").read_text().splitlines()]
        assert {line["audio"] for line in lines} == {*bad, short}
        assert all(line["problem"] for line in lines)
        FeatureStore(folder, model.audio_model, extractor).check(songs)
        extract_features(songs, folder, model.audio_model, extractor)  # a run without such songs
        assert not (folder / "skipped.jsonl").exists()

    def test_frames_that_are_not_finite(self, songs, model, extractor, folder):
        model.audio_model.speech_model.layer_norm.weight.data.fill_(float("nan"))
        with pytest.raises(ValueError, match="frames are not finite"):
            extract_features(songs, folder, model.audio_model, extractor)
        assert not shards(folder)

    @pytest.mark.parametrize("argument", ["on_bad_audio", "mixed_precision"])
    def test_unknown_choice(self, songs, model, extractor, folder, argument):
        with pytest.raises(ValueError, match=f"{argument} must be one of"):
            extract_features(songs, folder, model.audio_model, extractor, **{argument: "other"})

    def test_neither_path_nor_bytes(self, model, extractor, folder):
        with pytest.raises(TypeError, match="a path or a dict with 'bytes' or 'path', got ndarray"):
            extract_features([np.zeros(9)], folder, model.audio_model, extractor)


def test_truncation(model, folder, tmp_path):
    song = write_song(tmp_path / "song.wav", 3.0)
    limited = CollapFeatureExtractor(chunk_length_s=CHUNK_LENGTH_S, max_length_s=1.28)
    with pytest.raises(ValueError, match=r"song\.wav: .*no longer than max_length_s"):
        extract_features([song], folder, model.audio_model, limited)
    extract_features([song], folder, model.audio_model, limited, truncation=True)
    store = FeatureStore(folder, model.audio_model, limited)
    assert store.num_frames(song) == 2 * model.config.frames_per_chunk


def test_size_is_said_and_is_that_of_the_files(songs, model, extractor, folder, tmp_path, capsys):
    song = write_song(tmp_path / "minute.wav", 60.16)  # 94 chunks
    extract_features([song], folder, model.audio_model, extractor)
    per_minute = bytes_per_minute(model.config)
    assert f"A minute takes {per_minute / 1e3:.3g} kB" in capsys.readouterr().out
    (frames,) = load_file(shards(folder)[0]).values()
    assert frames.nbytes == pytest.approx(per_minute * 60.16 / 60, rel=1e-6)


def test_a_disk_that_is_too_small_is_said_before_it_starts(songs, model, extractor, folder, monkeypatch):
    # No disk that small is at hand, and none is so large that songs of a test would not fit.
    monkeypatch.setattr(encode, "bytes_per_minute", lambda config: 1e18)
    with pytest.raises(OSError, match=r"TB are needed in .*GB are free\. Choose another disk"):
        extract_features(songs, folder, model.audio_model, extractor)
    assert not shards(folder)


def test_processes_get_shares_of_like_length(songs):
    lengths = [600.0, *[60.0] * 10]
    listed = [encode.ListedSong(index, "", str(index), seconds) for index, seconds in enumerate(lengths)]
    shares = encode.share_songs(listed, 2)
    assert [sum(song.seconds for song in share) for share in shares] == [600.0, 600.0]
    assert sorted(song.index for share in shares for song in share) == list(range(11))


def test_short_songs_share_a_run_of_the_encoders():
    config = tiny_config(encoder_batch_size=4)
    lengths = [4, 2, 2, 1, 1, 1, 1, 1]  # chunks
    listed = [encode.ListedSong(index, "", "", chunks * CHUNK_LENGTH_S) for index, chunks in enumerate(lengths)]
    groups = encode._group_by_chunks(listed, config)
    assert [[lengths[song.index] for song in group] for group in groups] == [[4], [2, 2], [1, 1, 1, 1], [1]]


SCRIPT = """
import resource, sys
from pathlib import Path
import torch
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
"""


def start(songs_folder: Path, folder: Path, *arguments: int) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(songs_folder), str(folder), *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(TESTS), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def all_frames(folder: Path) -> dict[str, torch.Tensor]:
    return {name: frames for shard in shards(folder) for name, frames in load_file(shard).items()}


@pytest.mark.slow
def test_a_killed_run_goes_on(tmp_path):
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
    said, errors = resumed.communicate()
    assert resumed.returncode == 0, errors
    assert f"{len(before)} are there already" in said
    assert f"{8 - len(before)} songs encoded" in said
    assert len(shards(killed)) == 8
    assert all(shard.stat().st_mtime_ns == changed for shard, changed in before.items())

    assert start(tmp_path, whole, 2**28).wait() == 0
    assert len(shards(whole)) == 1
    expected, found = all_frames(whole), all_frames(killed)
    assert expected.keys() == found.keys()
    for name, frames in expected.items():
        torch.testing.assert_close(found[name], frames, rtol=0, atol=0)


@pytest.mark.slow
def test_a_file_that_cannot_be_written(tmp_path):
    write_song(tmp_path / "song.wav", 10.0)
    process = start(tmp_path, tmp_path / "features", 1, 2000)  # no file may grow beyond 2000 bytes
    _, errors = process.communicate()
    assert process.returncode == 1
    assert "OSError: features: 1 songs could not be written" in errors
    assert not shards(tmp_path / "features")
    assert not list((tmp_path / "features").glob("*.tmp"))


def test_time_writes_a_shard(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "SHARD_SECONDS", 0.0)
    with cache.ShardWriter(tmp_path) as writer:
        for index in range(3):
            writer.add(str(index), torch.zeros(2, 4, dtype=torch.float16))
            assert len(shards(tmp_path)) == index + 1
    assert len(shards(tmp_path)) == 3
