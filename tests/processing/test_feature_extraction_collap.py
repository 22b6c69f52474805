# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
import json
import pickle
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
from transformers import AutoFeatureExtractor, WhisperFeatureExtractor
from transformers.audio_utils import load_audio
from transformers.utils import PaddingStrategy

from collap import CollapFeatureExtractor
from collap.processing import audio_decoding_collap, audio_loading_collap, feature_extraction_collap
from collap.processing.feature_extraction_beats import kaldi_fbank

RATE = 16000
CHUNK_SAMPLES = 10240  # of the small extractor: 0.64 s


@pytest.fixture
def extractor() -> CollapFeatureExtractor:
    return CollapFeatureExtractor(chunk_length_s=0.64, num_speech_mel_bins=20)


def noise(num_samples: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.5, 0.5, num_samples).astype(np.float32)


def assert_same(first, second) -> None:
    """The same keys and, to the last bit, the same values."""
    assert list(first) == list(second)
    for key in first:
        torch.testing.assert_close(torch.as_tensor(first[key]), torch.as_tensor(second[key]), rtol=0, atol=0)


# --- chunks ---------------------------------------------------------------------------------------------------------


def test_default_shapes():
    inputs = CollapFeatureExtractor()(noise(RATE * 70), sampling_rate=RATE, return_tensors="pt")
    assert {key: (tuple(value.shape), value.dtype) for key, value in inputs.items()} == {
        "fbank_features": ((1, 3, 2998, 128), torch.float32),
        "input_features": ((1, 3, 80, 3000), torch.float32),
        "audio_attention_mask": ((1, 3, 2998), torch.int64),
    }
    assert inputs["audio_attention_mask"].sum(-1).tolist() == [[2998, 2998, 998]]


@pytest.mark.parametrize(
    ("num_samples", "frames", "encoded_s"),
    [
        (2800, [16], 0.16),  # the shortest: one step of BEATs
        (CHUNK_SAMPLES, [62], 0.48),  # 62 frames are 3 steps of 16 and 14 frames of none
        (CHUNK_SAMPLES + 2799, [62], 0.48),  # a rest too short for a step makes no chunk
        (CHUNK_SAMPLES + 2800, [62, 16], 0.64),
        (3 * CHUNK_SAMPLES - 200, [62, 62, 61], 1.44),
    ],
)
def test_chunks_and_coverage(extractor, num_samples, frames, encoded_s):
    inputs = extractor(noise(num_samples), sampling_rate=RATE, return_tensors="np")
    mask = inputs["audio_attention_mask"][0]
    assert mask.sum(-1).tolist() == frames
    assert (np.diff(mask, axis=-1) <= 0).all()  # ones first
    (record,) = inputs.audio_coverage
    assert record.chunks == len(frames)
    assert record.duration_s == num_samples / RATE
    assert record.encoded_s == pytest.approx(encoded_s)
    assert (record.source_sampling_rate, record.source_channels) == (RATE, 1)
    assert record.is_truncated is False  # what has no frame is rounding


@pytest.mark.parametrize("chunk_length_s", [0.64, 2.56, 2.58, 30.0])
@pytest.mark.parametrize("group_s", [0.0, 3.0, 10.0])
def test_each_chunk_equals_the_extractors_of_both_encoders(chunk_length_s, group_s, monkeypatch):
    """Groups of one chunk, of some, of all; full ones and not; a last chunk that is short. To the last bit."""
    monkeypatch.setattr(feature_extraction_collap, "GROUP_S", group_s)
    extractor = CollapFeatureExtractor(chunk_length_s=chunk_length_s, num_speech_mel_bins=20)
    length = extractor.num_chunk_samples
    songs = [noise(length * 2 + 9999, 1), noise(max(length, RATE * 15), 2), noise(5000, 3)]
    # Each grows louder, so that what Whisper clamps depends on the chunk: 80 dB below its own loudest bin.
    songs = [song * np.linspace(0, 1, len(song), dtype=np.float32) ** 4 for song in songs]
    inputs = extractor(songs, sampling_rate=RATE)
    whisper = WhisperFeatureExtractor(feature_size=20)
    for index, song in enumerate(songs):
        pieces = [song[start : start + length] for start in range(0, len(song), length)]
        pieces = [piece for piece in pieces if len(piece) >= 2800]
        assert (
            inputs["audio_attention_mask"][index].any(-1).sum() == len(pieces) == inputs.audio_coverage[index].chunks
        )
        for chunk, piece in enumerate(pieces):
            fbank = kaldi_fbank(torch.from_numpy(piece)).numpy()
            assert (inputs["fbank_features"][index, chunk, : len(fbank)] == fbank).all()
            assert (inputs["fbank_features"][index, chunk, len(fbank) :] == 0).all()
            log_mel = whisper(piece, sampling_rate=RATE, max_length=length, return_tensors="np")["input_features"]
            assert (inputs["input_features"][index, chunk] == log_mel[0]).all()


def test_a_song_is_the_same_alone_and_in_a_batch(extractor):
    songs = [noise(4 * CHUNK_SAMPLES, 1), noise(3000, 2), noise(2 * CHUNK_SAMPLES + 4000, 3)]
    batch = extractor(songs, sampling_rate=RATE, return_tensors="pt")
    assert [record.chunks for record in batch.audio_coverage] == [4, 1, 3]
    for index, song in enumerate(songs):
        alone = extractor(song, sampling_rate=RATE, return_tensors="pt")
        chunks = alone.audio_coverage[0].chunks
        assert batch.audio_coverage[index] == alone.audio_coverage[0]
        assert_same({key: value[index : index + 1, :chunks] for key, value in batch.items()}, dict(alone))
        for value in batch.values():
            assert (value[index, chunks:] == 0).all()


@pytest.mark.parametrize(
    ("towers", "absent"), [({"music": False}, "fbank_features"), ({"speech": False}, "input_features")]
)
def test_one_encoder_only(towers, absent):
    extractor = CollapFeatureExtractor(chunk_length_s=0.64, **towers)
    inputs = extractor(noise(RATE), sampling_rate=RATE, return_tensors="pt")
    assert list(inputs) == extractor.model_input_names
    assert absent not in inputs
    assert inputs["audio_attention_mask"].shape == (1, 2, 62)


def test_max_length():
    extractor = CollapFeatureExtractor(chunk_length_s=0.64, max_length_s=1.28)
    song = noise(2 * CHUNK_SAMPLES + 1)
    exact = extractor(song[:-1], sampling_rate=RATE)
    with pytest.raises(
        ValueError, match=r"^audio must be no longer than max_length_s=1.28, got .* s: pass truncation"
    ):
        extractor(song, sampling_rate=RATE)
    cut = extractor(song, sampling_rate=RATE, truncation=True)
    assert_same(cut, exact)
    assert cut.audio_coverage[0].duration_s == len(song) / RATE
    assert cut.audio_coverage[0].encoded_s == pytest.approx(0.96)
    assert (cut.audio_coverage[0].is_truncated, exact.audio_coverage[0].is_truncated) == (True, False)


HOUR = """
import resource, sys
import numpy as np
from collap import CollapFeatureExtractor
extractor = CollapFeatureExtractor(chunk_length_s=float(sys.argv[1]))
hour = np.random.default_rng(0).standard_normal(16000 * 3600, dtype=np.float32) * 0.1
extractor(hour[: 16000 * 60], sampling_rate=16000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
inputs = extractor(hour, sampling_rate=16000)
growth = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(inputs.audio_coverage[0].chunks, growth * 1024, sum(value.nbytes for value in inputs.values()))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss counts in kibibytes on Linux only")
@pytest.mark.parametrize(("chunk_length_s", "num_chunks"), [(30.0, 120), (2.5, 1440)])
def test_an_hour_takes_no_more_memory_than_its_features(chunk_length_s, num_chunks):
    command = [sys.executable, "-c", HOUR, str(chunk_length_s)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    chunks, growth, features = map(int, output.split())
    assert chunks == num_chunks
    assert growth < 1.1 * features


# --- streams --------------------------------------------------------------------------------------------------------


def assert_stream_equals_call(extractor: CollapFeatureExtractor, song, chunks_per_part: int, **options) -> None:
    whole = extractor(song, return_tensors="pt", **options)
    parts = list(extractor.stream(song, chunks_per_part, **options))
    assert_same({key: torch.cat([part[key] for part in parts], dim=1) for key in whole}, whole)
    assert [part["audio_attention_mask"].shape[1] for part in parts[:-1]] == [chunks_per_part] * (len(parts) - 1)
    assert [part.audio_coverage for part in parts] == [[]] * (len(parts) - 1) + [whole.audio_coverage]


@pytest.mark.parametrize("chunks_per_part", [1, 2, 3, 8])
@pytest.mark.parametrize("num_chunks", [1, 2, 3, 4, 6])
@pytest.mark.parametrize("rest", [-300, 0, 1, 2799, 2800, 2801, 9000])
def test_a_stream_equals_a_call(extractor, chunks_per_part, num_chunks, rest, tmp_path):
    """To the last bit; a rest under 2,800 samples behind a full part is no chunk."""
    soundfile.write(tmp_path / "song.wav", noise(num_chunks * CHUNK_SAMPLES + rest), RATE)
    assert_stream_equals_call(extractor, tmp_path / "song.wav", chunks_per_part)


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 96_000])
@pytest.mark.parametrize("suffix", ["flac", "ogg", "mp3"])
def test_a_stream_of_any_file_equals_a_call(extractor, rate, suffix, tmp_path):
    if (rate, suffix) == (96_000, "mp3"):
        rate = 48_000  # its highest
    path = tmp_path / f"song.{suffix}"
    soundfile.write(path, np.stack([noise(int(5.12 * rate), 1), noise(int(5.12 * rate), 2)], axis=1), rate)
    for song in (str(path), {"path": str(path)}, {"bytes": path.read_bytes()}):
        assert_stream_equals_call(extractor, song, 3)
    limited = CollapFeatureExtractor(chunk_length_s=0.64, max_length_s=3.0)
    assert_stream_equals_call(limited, path, 2, truncation=True)


def errors_of(function, *arguments, **options) -> tuple[type, str]:
    with pytest.raises((TypeError, ValueError)) as error:
        function(*arguments, **options)
    return error.type, str(error.value)


def test_a_stream_raises_what_a_call_does(tmp_path, caplog):
    """Also of what is seen after some parts. The range of samples is that of the first part that has a wrong one."""
    extractor = CollapFeatureExtractor(chunk_length_s=0.64, max_length_s=4.0)
    songs = {"long": noise(5 * RATE), "short": noise(2799), "empty": noise(0)}
    songs |= {"nan": noise(3 * RATE), "infinite": noise(3 * RATE), "loud": noise(3 * RATE)}
    songs["nan"][40_000], songs["infinite"][40_000] = np.nan, -np.inf
    songs["loud"][[30_000, 40_000]] = -20, 300  # both in the second part
    for name, song in songs.items():
        soundfile.write(tmp_path / f"{name}.wav", song, RATE, subtype="FLOAT")
    (tmp_path / "text.wav").write_text("words")
    for name in [*songs, "text", "missing"]:
        path = tmp_path / f"{name}.wav"
        assert errors_of(lambda: list(extractor.stream(path, 2))) == errors_of(extractor, path)  # noqa: B023
    address = "https://example.org/song.mp3"
    assert errors_of(list, extractor.stream(address, 2)) == errors_of(extractor, address)
    with pytest.raises(ValueError, match="sampling_rate must be given for audio, an array"):
        next(extractor.stream(noise(RATE), 2))
    assert not caplog.records


def test_a_stream_of_a_file_that_is_not_whole_tells_at_its_end(extractor, tmp_path, caplog):
    soundfile.write(tmp_path / "cut.flac", noise(8 * RATE), RATE)
    content = (tmp_path / "cut.flac").read_bytes()
    (tmp_path / "cut.flac").write_bytes(content[: len(content) // 2])
    assert_stream_equals_call(extractor, tmp_path / "cut.flac", 2)
    first, second = (record.getMessage() for record in caplog.records)
    assert first == second


def test_a_stream_decodes_no_more_than_it_needs(extractor, tmp_path, monkeypatch):
    """And closes its file when it is left."""
    soundfile.write(tmp_path / "song.wav", noise(60 * RATE), RATE)
    opened, positions = [], []
    open_file = audio_decoding_collap.open_file
    monkeypatch.setattr(audio_decoding_collap, "open_file", lambda path: opened.append(open_file(path)) or opened[0])
    stream = extractor.stream(tmp_path / "song.wav", 2)
    for _ in range(3):
        next(stream)
        positions.append(opened[0].tell())
    assert positions[-1] < 20 * RATE * 2  # bytes: one part of 1.28 s is held back, and FFmpeg reads some blocks ahead
    stream.close()
    assert opened[0].closed


# --- what audio may be ----------------------------------------------------------------------------------------------


def test_arrays_of_all_kinds_give_the_same(extractor):
    song = noise(RATE)
    expected = extractor(song, sampling_rate=RATE)
    read_only = song.copy()
    read_only.setflags(write=False)
    kinds = [
        song.astype(np.float64),
        np.repeat(song, 2)[::2],  # not contiguous
        read_only,
        song.tolist(),
        torch.from_numpy(song),
        torch.from_numpy(song).double().requires_grad_(),
        song[None],  # one channel, as torchaudio loads it
        song[:, None],
        {"array": song, "sampling_rate": RATE},
        {"array": song.tolist(), "sampling_rate": np.int64(RATE), "path": "gone.wav"},
        {"array": song, "sampling_rate": None},  # takes the argument's
    ]
    for kind in kinds:
        assert_same(extractor(kind, sampling_rate=RATE), expected)
    batch = extractor(tuple(kinds), sampling_rate=float(RATE))
    assert batch["fbank_features"].shape[0] == len(kinds)
    assert (batch["fbank_features"] == expected["fbank_features"]).all()


@pytest.mark.parametrize("num_channels", [2, 8])
def test_channels_are_averaged_only_on_request(extractor, num_channels):
    channels = np.stack([noise(RATE, seed) for seed in range(num_channels)])  # (channels, samples)
    expected = extractor(channels.mean(0), sampling_rate=RATE)
    for layout in (channels, channels.T, torch.from_numpy(channels), torch.from_numpy(channels.T)):
        with pytest.raises(ValueError, match=rf"^audio must have one channel, got {num_channels} .*downmix=True"):
            extractor(layout, sampling_rate=RATE)
        mixed = extractor(layout, sampling_rate=RATE, downmix=True)
        np.testing.assert_allclose(mixed["fbank_features"], expected["fbank_features"], atol=1e-5)
        assert mixed.audio_coverage[0].source_channels == num_channels


@pytest.fixture
def stereo_file(tmp_path):
    """2 s at 44.1 kHz, two channels."""
    path = tmp_path / "song.flac"
    soundfile.write(path, np.stack([noise(88200, 1), noise(88200, 2)], axis=1), 44100)
    return path


def test_files_are_decoded_by_transformers(extractor, stereo_file):
    expected = extractor(load_audio(str(stereo_file), RATE, backend="soundfile"), sampling_rate=RATE)
    content = stereo_file.read_bytes()
    kinds = [
        str(stereo_file),
        stereo_file,
        {"path": str(stereo_file), "bytes": None},
        {"path": "gone.flac", "bytes": content},
        {"bytes": content},
    ]
    for kind in kinds:
        inputs = extractor(kind)
        assert_same(inputs, expected)
        (record,) = inputs.audio_coverage
        assert (record.source_sampling_rate, record.source_channels, record.duration_s) == (44100, 2, 2.0)
    mixture = extractor([stereo_file, noise(RATE)], sampling_rate=RATE)  # the rate is the array's
    assert [record.source_sampling_rate for record in mixture.audio_coverage] == [44100, RATE]


@pytest.mark.parametrize("rate", [8000, 44100, 48000.0])
def test_arrays_are_resampled_only_on_request_and_as_files_are(extractor, rate, tmp_path):
    song = noise(int(2.003 * rate))
    soundfile.write(tmp_path / "song.wav", song, int(rate), subtype="FLOAT")
    expected = extractor(tmp_path / "song.wav")
    decoder = SimpleNamespace(
        get_all_samples=lambda: SimpleNamespace(data=torch.from_numpy(np.stack([song, song])), sample_rate=rate)
    )
    songs = [song, torch.from_numpy(song), song.tolist(), {"array": song, "sampling_rate": rate}, decoder]
    for index, kind in enumerate(songs):
        options = {} if index > 2 else {"sampling_rate": rate}
        with pytest.raises(
            ValueError, match=rf"^sampling_rate of audio must be 16000 \(Hz\), got {rate}: pass resample"
        ):
            extractor(kind, **options)
        inputs = extractor(kind, resample=True, **options)
        assert_same(inputs, expected)
        (record,) = inputs.audio_coverage
        assert (record.source_sampling_rate, record.duration_s) == (rate, len(song) / rate)
    stereo = np.stack([song, song], axis=1)
    assert_same(extractor(stereo, sampling_rate=rate, downmix=True, resample=True), expected)
    assert_same(extractor(noise(RATE), sampling_rate=RATE, resample=True), extractor(noise(RATE), sampling_rate=RATE))


def test_lengths_count_after_resampling(extractor):
    assert len(noise(1500)) < 2800
    assert extractor(noise(1500), sampling_rate=8000, resample=True).audio_coverage[0].duration_s == 3000 / RATE
    with pytest.raises(ValueError, match=r"^audio must have at least 2800 samples .* got 1000"):
        extractor(noise(3000), sampling_rate=48000, resample=True)
    for wrong in (np.zeros(0), noise(5000) * np.nan, (noise(5000) * 100).astype(np.int16)):
        with pytest.raises(ValueError, match=r"^audio must "):
            extractor(wrong, sampling_rate=8000, resample=True)
    for rate in (0, -8000, float("nan")):
        with pytest.raises(ValueError, match=r"^sampling_rate of audio must be 16000 \(Hz\), got "):
            extractor(noise(5000), sampling_rate=rate, resample=True)


def test_without_soxr(extractor, monkeypatch):
    monkeypatch.setattr(audio_loading_collap, "soxr", None)
    extractor(noise(RATE), sampling_rate=RATE, resample=True)
    with pytest.raises(ImportError, match="pip install soxr"):
        extractor(noise(RATE), sampling_rate=8000, resample=True)


def test_padding_is_always_to_the_longest(extractor):
    songs = [noise(RATE), noise(3000)]
    for padding in (True, "longest", PaddingStrategy.LONGEST):
        assert_same(extractor(songs, sampling_rate=RATE, padding=padding), extractor(songs, sampling_rate=RATE))
    for padding in (False, "max_length", None):
        with pytest.raises(
            ValueError, match=rf"^padding must be True or 'longest', got {padding!r}: songs are always"
        ):
            extractor(songs, sampling_rate=RATE, padding=padding)


def test_decoder_of_datasets(extractor):
    """What a decoded audio column holds, without torchcodec: an object that gives samples and their rate."""
    channels = torch.from_numpy(np.stack([noise(RATE, 1), noise(RATE, 2)]))
    decoder = SimpleNamespace(get_all_samples=lambda: SimpleNamespace(data=channels, sample_rate=RATE))
    inputs = extractor([decoder])
    assert_same(inputs, extractor(channels, sampling_rate=RATE, downmix=True))
    assert inputs.audio_coverage[0].source_channels == 2


def test_recordings_alone_and_in_one_batch(shared_data):
    """Real files as they lie: ogg, 16 or 44.1 kHz, mono or stereo, 2.7 to 133 s."""
    paths = sorted((shared_data / "recordings").glob("*.ogg"))
    extractor = CollapFeatureExtractor()
    batch = extractor(paths, return_tensors="pt")
    assert batch["fbank_features"].shape[:2] == (len(paths), 5)
    for index, path in enumerate(paths):
        alone = extractor(path, return_tensors="pt")
        (record,) = alone.audio_coverage
        info = soundfile.info(path)
        assert (record.source_sampling_rate, record.source_channels) == (info.samplerate, info.channels)
        assert record.duration_s == pytest.approx(info.duration, abs=1e-4)
        assert record.duration_s - 0.2 * record.chunks < record.encoded_s <= record.duration_s
        assert_same({key: value[index : index + 1, : record.chunks] for key, value in batch.items()}, dict(alone))


# --- errors ---------------------------------------------------------------------------------------------------------

SONG = noise(RATE)


@pytest.mark.parametrize(
    ("audio", "options", "message"),
    [
        (SONG, {"sampling_rate": None}, r"^sampling_rate must be given for audio, an array, and be 16000 .* got None"),
        (
            SONG,
            {"sampling_rate": 44100},
            r"^sampling_rate of audio must be 16000 \(Hz\), got 44100: pass resample=True",
        ),
        ({"array": SONG, "sampling_rate": 8000}, {"sampling_rate": None}, r"^sampling_rate of audio must be .*8000"),
        ({"array": SONG, "sampling_rate": 8000}, {}, r"^sampling_rate must be that of audio .* got 16000 and 8000"),
        (np.stack([SONG, SONG]), {}, r"^audio must have one channel, got 2 .*: pass downmix"),
        (np.zeros((9, 16000)), {}, r"^audio must be \(samples,\), .* at most 8 channels, got the shape \(9, 16000\)"),
        ([], {}, r"^audio must hold at least one song, got an empty list"),
        ((np.stack([SONG, SONG]) * 32767).astype(np.int16), {"downmix": True}, r"^audio must be floats .*int16"),
        ("gone.wav", {}, r"^audio cannot be decoded: .*gone\.wav: No such file or directory\.$"),
        ("https://example.org/song.mp3", {}, r"^audio must be a file, got 'https.*addresses are not fetched"),
        ({"bytes": b"no sound"}, {}, r"^audio cannot be decoded: 8 bytes: it is no file of audio"),
        ([SONG, SONG, "gone.wav"], {}, r"^audio\[2\] cannot be decoded: .*gone\.wav: "),
        ((SONG, 44100), {}, r"^audio must be a waveform without .* pair of both: .* with sampling_rate=44100"),
        ([(SONG, 44100)], {}, r"^audio\[0\] must be a waveform without its sampling rate"),
        ([SONG, SONG[:100]], {}, r"^audio\[1\] must have at least 2800 samples .* got 100"),
        (None, {}, r"^audio must be a path, a numpy array, a torch tensor or an audio dict .* got NoneType"),
        (SONG, {"sampling_rate": "16000"}, r"^sampling_rate of audio must be the number 16000 \(Hz\), got '16000'"),
    ],
)
def test_errors_name_the_song(extractor, audio, options, message):
    with pytest.raises((ValueError, TypeError), match=message):
        extractor(audio, **{"sampling_rate": RATE, **options})


def test_files_are_checked(extractor, tmp_path):
    (tmp_path / "film.mp4").write_text("no sound")
    with pytest.raises(ValueError, match=r"^audio\[0\] cannot be decoded: .*film\.mp4: "):
        extractor([tmp_path / "film.mp4"])
    broken = noise(RATE)
    broken[7] = np.nan
    soundfile.write(tmp_path / "broken.wav", broken, RATE, subtype="FLOAT")
    with pytest.raises(ValueError, match=r"^audio \('.*broken\.wav'\) must be finite"):
        extractor(tmp_path / "broken.wav")


def test_a_file_that_is_not_whole_is_told(extractor, tmp_path, caplog):
    soundfile.write(tmp_path / "cut.flac", noise(8 * RATE), RATE)
    content = (tmp_path / "cut.flac").read_bytes()
    (tmp_path / "cut.flac").write_bytes(content[: len(content) // 2])
    inputs = extractor([tmp_path / "cut.flac", noise(RATE)], sampling_rate=RATE)
    cut, whole = inputs.audio_coverage
    assert cut.problem.endswith("its head says 8.0 s")
    assert 3 < cut.duration_s < 5
    assert whole.problem is None
    (record,) = caplog.records
    assert record.getMessage() == f"audio[0] ({str(tmp_path / 'cut.flac')!r}) is not whole: {cut.problem}."


def test_only_the_beginning_is_decoded_but_all_is_counted(tmp_path):
    soundfile.write(tmp_path / "song.flac", noise(8 * RATE), RATE)
    short = CollapFeatureExtractor(chunk_length_s=0.64, max_length_s=2.0)
    inputs = short(tmp_path / "song.flac", truncation=True)
    (record,) = inputs.audio_coverage
    assert (record.duration_s, record.is_truncated, record.problem) == (8.0, True, None)
    samples = soundfile.read(tmp_path / "song.flac", dtype="float32")[0]
    assert_same(inputs, short(samples[: 2 * RATE], sampling_rate=RATE))
    with pytest.raises(ValueError, match=r"^audio \('.*song\.flac'\) must be no longer than max_length_s=2, got 8 s"):
        short(tmp_path / "song.flac")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sampling_rate": 48000}, r"sampling_rate must be 16000 \(Hz\), got 48000"),
        ({"chunk_length_s": 0.65}, "chunk_length_s must be a multiple of 0.02 s, got 0.65"),
        ({"chunk_length_s": 0.16}, "chunk_length_s must be at least 0.18 s, got 0.16"),
        ({"music": False, "speech": False}, "music and speech are both False"),
    ],
)
def test_settings_out_of_range(settings, message):
    with pytest.raises(ValueError, match=message):
        CollapFeatureExtractor(**settings)


# --- the Hugging Face side ------------------------------------------------------------------------------------------


def test_save_and_load(tmp_path):
    extractor = CollapFeatureExtractor(
        chunk_length_s=5.12, num_speech_mel_bins=128, max_length_s=600.0, music=True, speech=False
    )
    extractor.save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "preprocessor_config.json").read_text())
    assert saved["feature_extractor_type"] == "CollapFeatureExtractor"
    assert (saved["chunk_length_s"], saved["max_length_s"], saved["speech"]) == (5.12, 600.0, False)
    for loader in (CollapFeatureExtractor, AutoFeatureExtractor):
        loaded = loader.from_pretrained(tmp_path)
        assert type(loaded) is CollapFeatureExtractor
        assert loaded.to_dict() == extractor.to_dict()


def test_pickle_and_dtypes_of_a_batch(extractor):
    inputs = extractor([SONG], sampling_rate=RATE, return_tensors="pt")
    coverage = inputs.audio_coverage
    assert "audio_coverage" not in inputs
    loaded = pickle.loads(pickle.dumps(inputs))
    assert_same(loaded, inputs)
    assert loaded.audio_coverage == coverage
    halved = inputs.to(torch.float16)  # as transformers' pipelines do
    assert halved["fbank_features"].dtype == torch.float16
    assert halved["audio_attention_mask"].dtype == torch.int64
    assert halved.audio_coverage == coverage


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_features_computed_on_a_gpu(extractor):
    on_cpu = extractor(SONG, sampling_rate=RATE, return_tensors="pt")
    for inputs in (
        extractor(SONG, sampling_rate=RATE, return_tensors="pt", device="cuda"),
        extractor(torch.from_numpy(SONG).cuda(), sampling_rate=RATE, return_tensors="pt"),
    ):
        for key, value in inputs.items():
            torch.testing.assert_close(value, on_cpu[key], rtol=0, atol=1e-4)
