# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Every file is decoded whole, or it is said why it is not; references are soundfile and soxr."""

import os
import re
import struct
import subprocess
import sys
import tracemalloc

import av
import numpy as np
import pytest
import soundfile
import soxr

from collap.processing.audio_decoding_collap import decode_audio

RATE = 44_100


def chirp(seconds, rate=RATE, channels=2):
    """Rising tones, another in each channel: no second of it is like another."""
    time_s = np.arange(round(seconds * rate)) / rate
    tones = [0.3 * np.sin(2 * np.pi * (200 * (channel + 1) + 20 * time_s) * time_s) for channel in range(channels)]
    return np.stack(tones, axis=1).astype(np.float32)  # (samples, channels)


def encode(path, codec, seconds, rate=RATE, layout="stereo", container=None, **codec_options):
    """Writes a chirp by FFmpeg."""
    with av.open(path, "w", options=container or {}) as file:
        stream = file.add_stream(codec, rate=rate, layout=layout, options=codec_options)
        stream.bit_rate = stream.bit_rate or 96_000  # without one WMA is not written
        samples = chirp(seconds, rate, av.AudioLayout(layout).nb_channels).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(samples, format="flt", layout=layout)
        frame.sample_rate, frame.pts = rate, 0
        converter = av.AudioResampler(stream.format.name, layout, rate, stream.codec_context.frame_size or 1024)
        for part in [*converter.resample(frame), *converter.resample(None), None]:
            file.mux(stream.encode(part))


def write_video(path, seconds):
    """Black pictures with a sound track."""
    with av.open(path, "w") as file:
        pictures, sound = file.add_stream("mpeg4", rate=5), file.add_stream("aac", rate=RATE, layout="stereo")
        pictures.width = pictures.height = 64
        for number in range(5 * seconds):
            picture = av.VideoFrame(64, 64, "yuv420p")
            picture.pts = number
            file.mux(pictures.encode(picture))
        file.mux(pictures.encode(None))
        samples = np.ascontiguousarray(chirp(seconds).T)
        for start in range(0, samples.shape[1], 1024):
            frame = av.AudioFrame.from_ndarray(samples[:, start : start + 1024].copy(), format="fltp", layout="stereo")
            frame.sample_rate, frame.pts = RATE, start
            file.mux(sound.encode(frame))
        file.mux(sound.encode(None))


def without_length(flac):
    """A FLAC whose head says that its length is unknown: its number of samples has 36 bits."""
    content = bytearray(flac.read_bytes())
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    flac.write_bytes(content)


def with_data_size(wav, size):
    content = bytearray(wav.read_bytes())
    place = content.index(b"data") + 4
    content[place : place + 4] = struct.pack("<I", size)
    wav.write_bytes(content)


def join(path, *parts):
    path.write_bytes(b"".join(part.read_bytes() for part in parts))


WRITERS = {  # name of the file -> what writes a chirp of so many seconds there
    "a.wav": lambda path, seconds: soundfile.write(path, chirp(seconds), RATE),
    "8_bits.wav": lambda path, seconds: soundfile.write(path, chirp(seconds), RATE, subtype="PCM_U8"),
    "24_bits.wav": lambda path, seconds: soundfile.write(path, chirp(seconds), RATE, subtype="PCM_24"),
    "double.wav": lambda path, seconds: soundfile.write(path, chirp(seconds), RATE, subtype="DOUBLE"),
    "gsm.wav": lambda path, seconds: soundfile.write(path, chirp(seconds, 8_000, 1), 8_000, subtype="GSM610"),
    "adpcm.wav": lambda path, seconds: encode(path, "adpcm_ms", seconds),
    "a.rf64": lambda path, seconds: soundfile.write(path, chirp(seconds), RATE, format="RF64"),
    "a.w64": lambda path, seconds: soundfile.write(path, chirp(seconds), RATE, format="W64"),
    "a.flac": lambda path, seconds: soundfile.write(path, chirp(seconds), RATE, subtype="PCM_24"),
    "a.aiff": lambda path, seconds: soundfile.write(path, chirp(seconds), RATE),
    "a.au": lambda path, seconds: soundfile.write(path, chirp(seconds), RATE),
    "a.ogg": lambda path, seconds: soundfile.write(path, chirp(seconds), RATE),
    "a.opus": lambda path, seconds: encode(path, "libopus", seconds, 48_000),
    "a.mp3": lambda path, seconds: encode(path, "libmp3lame", seconds),
    "variable_rate.mp3": lambda path, seconds: encode(
        path, "libmp3lame", seconds, container={"write_xing": "0"}, q="4", flags="+qscale"
    ),
    "a.m4a": lambda path, seconds: encode(path, "aac", seconds),
    "alac.m4a": lambda path, seconds: encode(path, "alac", seconds),
    "a.aac": lambda path, seconds: encode(path, "aac", seconds),
    "a.wma": lambda path, seconds: encode(path, "wmav1", seconds),
    "a.webm": lambda path, seconds: encode(path, "libopus", seconds, 48_000),
    "a.mkv": lambda path, seconds: encode(path, "flac", seconds),
    "film.mp4": write_video,
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_is_decoded_whole(name, tmp_path):
    path = tmp_path / name
    WRITERS[name](path, 5)
    decoded = decode_audio(path)
    assert decoded.problem is None
    assert decoded.duration_s == pytest.approx(5.0, abs=0.12)  # what codecs add to fill their last frames
    assert len(decoded.waveform) == pytest.approx(16_000 * decoded.duration_s, abs=2)
    assert decode_audio(path, length_s=0.0).duration_s == pytest.approx(decoded.duration_s, abs=0.05)
    assert decode_audio(path.read_bytes()).waveform.tobytes() == decoded.waveform.tobytes()


@pytest.mark.parametrize("name", ["a.wav", "8_bits.wav", "24_bits.wav", "double.wav", "a.flac", "a.ogg"])
@pytest.mark.parametrize("rate", [16_000, 48_000])
def test_waveforms_are_those_of_soundfile_and_soxr(name, rate, tmp_path):
    WRITERS[name](tmp_path / name, 3)
    samples, source_rate = soundfile.read(tmp_path / name, dtype="float32", always_2d=True)
    expected = soxr.resample(samples.mean(axis=1), source_rate, rate, quality="soxr_hq")
    decoded = decode_audio(tmp_path / name, rate)
    assert (decoded.sampling_rate, decoded.channels) == (source_rate, samples.shape[1])
    np.testing.assert_allclose(decoded.waveform, expected, atol=1e-6)


def test_recordings(shared_data):
    for path in sorted((shared_data / "recordings").glob("*.ogg")):
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
        expected = soxr.resample(samples.mean(axis=1), rate, 16_000, quality="soxr_hq")
        decoded = decode_audio(path)
        assert decoded.problem is None
        assert len(decoded.waveform) == pytest.approx(len(expected), abs=2)
        size = min(len(expected), len(decoded.waveform))
        np.testing.assert_allclose(decoded.waveform[:size], expected[:size], atol=2e-6)


@pytest.mark.parametrize("suffix", ["mp3", "ogg", "opus"])
def test_joined_files(suffix, tmp_path):
    first, second, both = (tmp_path / f"{name}.{suffix}" for name in ("first", "second", "both"))
    for path, seconds in ((first, 3), (second, 2)):
        WRITERS[f"a.{suffix}"](path, seconds)
    join(both, first, second)
    decoded = decode_audio(both)
    assert decoded.problem is None
    assert decoded.duration_s == pytest.approx(5.0, abs=0.2)
    assert decode_audio(both, length_s=0.0).duration_s == pytest.approx(5.0, abs=0.2)


def test_joined_files_of_other_rates_are_never_short_in_silence(tmp_path):
    """FFmpeg decodes only the first, or both, by its version."""
    low, high = tmp_path / "a.ogg", tmp_path / "b.ogg"
    soundfile.write(low, chirp(3, 16_000, 1), 16_000)
    soundfile.write(high, chirp(2, 44_100), 44_100)
    for first, second, rate, channels in ((low, high, 16_000, 1), (high, low, 44_100, 2)):
        join(tmp_path / "both.ogg", first, second)
        decoded = decode_audio(tmp_path / "both.ogg")
        assert (decoded.sampling_rate, decoded.channels) == (rate, channels)
        assert decoded.problem is not None or decoded.duration_s == pytest.approx(5, abs=0.1)
        assert len(decoded.waveform) == pytest.approx(16_000 * decoded.duration_s, abs=4)


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.aiff", "pcm_s16be"), ("a.caf", "pcm_s16be"), ("a.flac", "flac"), ("a.opus", "libopus"), ("a.m4a", "aac")],
)
def test_eight_channels(name, codec, tmp_path):
    """PyAV has faults with them that kill the process (docs/log.md)."""
    encode(tmp_path / name, codec, 2, 48_000, layout="7.1")
    for _ in range(10):
        decoded = decode_audio(tmp_path / name, 48_000)
    assert (decoded.channels, decoded.problem) == (8, None)
    assert decoded.duration_s == pytest.approx(2.0, abs=0.1)
    if codec in ("pcm_s16be", "flac"):
        np.testing.assert_allclose(decoded.waveform, chirp(2, 48_000, 8).mean(axis=1), atol=1e-4)


def test_channels_in_an_unusual_order(tmp_path):
    """PyAV frees such a layout twice if frames are joined in its FIFO."""
    encode(tmp_path / "a.mov", "pcm_s16le", 3, 16_000, layout="2 channels (FR+FL)")
    for _ in range(10):
        decoded = decode_audio(tmp_path / "a.mov")
    np.testing.assert_allclose(decoded.waveform, chirp(3, 16_000).mean(axis=1), atol=1e-4)


@pytest.mark.parametrize("suffix", ["mkv", "avi"])
def test_a_film_that_is_cut_off(suffix, tmp_path):
    """Its head says only the length of the whole, of pictures and sound."""
    write_video(tmp_path / f"film.{suffix}", 5)
    content = (tmp_path / f"film.{suffix}").read_bytes()
    assert decode_audio(content).problem is None
    assert re.match(r"it ends after .* s, its head says \d\.\d s", decode_audio(content[: len(content) // 2]).problem)


def ogg_checksum(page: bytes) -> int:
    """The CRC of Ogg: 0x04c11db7, bit by bit, nothing inverted."""
    checksum = 0
    for byte in page:
        checksum ^= byte << 24
        for _ in range(8):
            checksum = (checksum << 1) ^ (0x04C11DB7 if checksum & 0x80000000 else 0)
        checksum &= 0xFFFFFFFF
    return checksum


def test_an_ogg_that_ends_with_an_empty_packet_is_whole(tmp_path):
    """As some encoders write them; FFmpeg's decoder refuses the packet."""
    soundfile.write(tmp_path / "a.ogg", chirp(3.0), RATE)
    content = bytearray((tmp_path / "a.ogg").read_bytes())
    last = content.rfind(b"OggS")
    content[last + 5] &= ~4  # it is not the last page any more
    content[last + 22 : last + 26] = bytes(4)
    content[last + 22 : last + 26] = ogg_checksum(content[last:]).to_bytes(4, "little")
    number = int.from_bytes(content[last + 18 : last + 22], "little") + 1
    page = bytearray(content[last : last + 18] + number.to_bytes(4, "little") + bytes(4) + b"\x01\x00")
    page[5] |= 4
    page[22:26] = ogg_checksum(page).to_bytes(4, "little")
    (tmp_path / "b.ogg").write_bytes(content + page)
    whole, ended = decode_audio(tmp_path / "a.ogg"), decode_audio(tmp_path / "b.ogg")
    assert ended.problem is None
    # The page in front of the last one no longer says that its packet ends before its last sample.
    num_samples = len(whole.waveform) - 200
    np.testing.assert_allclose(ended.waveform[:num_samples], whole.waveform[:num_samples], atol=1e-6)


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 96_000])
def test_a_short_ogg_is_whole(rate, tmp_path):
    """Its sound is one page, so FFmpeg tells the length of its last packet modulo 2**32."""
    for seconds in (1.1, 1.0, 0.5, 0.2, 0.05, 0.001):
        soundfile.write(tmp_path / "a.ogg", chirp(seconds, rate), rate)
        content = (tmp_path / "a.ogg").read_bytes()
        for length_s in (None, 0.0):
            decoded = decode_audio(content, length_s=length_s)
            assert decoded.problem is None
            assert decoded.duration_s == pytest.approx(seconds, abs=0.04)  # up to a packet of 256 samples more or less
    with pytest.raises(ValueError, match="its head is damaged"):
        decode_audio(content[:-1])


def test_an_ogg_with_a_damaged_page_is_not_whole(tmp_path):
    WRITERS["a.opus"](tmp_path / "a.opus", 8)
    content = bytearray((tmp_path / "a.opus").read_bytes())
    start = [match.start() for match in re.finditer(b"OggS", content)][4]
    damaged = bytearray(content)
    damaged[start : start + 27] = bytes(27)
    assert decode_audio(bytes(damaged)).problem is not None
    last = content.rindex(b"OggS")  # which says the number of samples
    content[last + 6 : last + 14] = struct.pack("<q", 48_000 * 11)
    assert re.search(r"says (10|11)\.\d s", decode_audio(bytes(content)).problem)


def test_heads_that_say_no_length_or_a_wrong_one(tmp_path):
    flac, wav = tmp_path / "a.flac", tmp_path / "a.wav"
    WRITERS["a.flac"](flac, 5)
    without_length(flac)
    assert (decode_audio(flac).duration_s, decode_audio(flac).problem) == (5.0, None)
    for size, problem in (
        (0xFFFFFFFF, None),
        (0x7FFFF000, None),
        (8 * 4 * RATE, "it ends after 5.0 s, its head says 8.0 s"),
    ):
        WRITERS["a.wav"](wav, 5)
        with_data_size(wav, size)
        decoded = decode_audio(wav)
        assert (decoded.duration_s, decoded.problem) == (5.0, problem)
    content = bytearray((tmp_path / "a.wav").read_bytes())
    content[24:28] = struct.pack("<I", 1)  # Hz: 16,000 times as many samples
    wav.write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.wav: its sampling rate must be 1 kHz to 768 kHz, got 1 Hz"):
        decode_audio(wav)
    au = tmp_path / "a.au"
    WRITERS["a.au"](au, 5)
    content = bytearray(au.read_bytes())
    content[8:12] = b"\x7f\xff\xff\xf0"  # bytes of sound
    au.write_bytes(content)
    assert decode_audio(au).duration_s == 5.0


@pytest.mark.parametrize("name", sorted(WRITERS.keys() - {"a.m4a", "alac.m4a", "film.mp4", "variable_rate.mp3"}))
def test_files_that_end_early_say_so(name, tmp_path):
    path = tmp_path / name
    WRITERS[name](path, 8)
    content = path.read_bytes()
    for share in (0.4, 0.7):
        path.write_bytes(content[: round(share * len(content))])
        decoded = decode_audio(path)
        problem = re.match(r"it ends .*after (\d+\.\d) s", decoded.problem)
        assert float(problem[1]) == pytest.approx(decoded.duration_s, abs=0.06)
        assert 8 * share - 2.0 < decoded.duration_s < 8 * share + 0.5
        assert len(decoded.waveform) == pytest.approx(16_000 * decoded.duration_s, abs=2)


@pytest.mark.parametrize("name", ["a.m4a", "film.mp4"])
def test_files_whose_index_is_cut_off_are_refused(name, tmp_path):
    WRITERS[name](tmp_path / name, 5)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=rf"{name}: it is no file of audio, or its head is damaged"):
        decode_audio(tmp_path / name)


@pytest.mark.parametrize(
    "rest", [b"TAG" + b" " * 125, bytes(5000), bytes(range(1, 251)) * 9], ids=["tags", "zeros", "any"]
)
def test_what_stands_behind_the_sound_is_no_problem(rest, tmp_path):
    WRITERS["a.mp3"](tmp_path / "a.mp3", 3)
    content = (tmp_path / "a.mp3").read_bytes()
    decoded = decode_audio(content + rest)
    assert (decoded.problem, round(decoded.duration_s, 1)) == (None, 3.0)


def test_a_hole_is_told(tmp_path):
    WRITERS["a.opus"](tmp_path / "a.opus", 8)
    content = (tmp_path / "a.opus").read_bytes()
    pages = [match.start() for match in re.finditer(b"OggS", content)]  # a page is a second
    decoded = decode_audio(content[: pages[3]] + content[pages[6] :])
    assert decoded.problem.endswith("s inside it are lost")
    assert decoded.duration_s < 6


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no sound",
        b"<html>" * 500,
        b"ffconcat version 1.0\nfile a.mp3\n",
        b"#EXTM3U\n#EXTINF:3,\na.mp3\n#EXT-X-ENDLIST\n",
    ],
    ids=["empty", "text", "html", "list", "playlist"],
)
def test_what_is_no_audio_is_named(content, tmp_path):
    """Lists of files too: they name sound that is not in the file."""
    WRITERS["a.mp3"](tmp_path / "a.mp3", 3)
    (tmp_path / "b.mp3").write_bytes(content)
    with pytest.raises(ValueError, match=r"b\.mp3: it is (no file of audio|empty)"):
        decode_audio(tmp_path / "b.mp3")


def test_noise_without_a_format(tmp_path):
    (tmp_path / "a.raw").write_bytes(np.random.default_rng(0).bytes(100_000))
    with pytest.raises(ValueError, match=r"a\.raw: "):
        decode_audio(tmp_path / "a.raw")


def test_only_regular_files_are_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.wav")
    (tmp_path / "zero.wav").symlink_to("/dev/zero")
    (tmp_path / "folder.wav").mkdir()
    for name, reason in (
        ("pipe.wav", "It is no regular file"),
        ("zero.wav", "It is no regular file"),
        ("folder.wav", "It is a folder"),
        ("gone.wav", "No such file"),
        ("a\0.wav", "embedded null byte"),
        (f"{'a' * 300}.wav", "File name too long"),
    ):
        with pytest.raises(ValueError, match=f"{reason}"):
            decode_audio(tmp_path / name)


@pytest.mark.parametrize("name", ["a.wav", "a.ogg", "a.mp3", "a.m4a"])
def test_a_part_is_that_of_the_whole(name, tmp_path):
    WRITERS[name](tmp_path / name, 5)
    whole = decode_audio(tmp_path / name, RATE)
    part = decode_audio(tmp_path / name, RATE, start_s=1.5, length_s=2.0)
    np.testing.assert_array_equal(part.waveform, whole.waveform[66_150:154_350])
    assert part.duration_s == pytest.approx(whole.duration_s, abs=0.05)
    # Resampled, the end of a beginning is that of the whole file.
    whole, part = decode_audio(tmp_path / name), decode_audio(tmp_path / name, length_s=2.0)
    np.testing.assert_array_equal(part.waveform, whole.waveform[:32_000])
    assert len(decode_audio(tmp_path / name, start_s=6.0).waveform) == 0
    assert len(decode_audio(tmp_path / name, start_s=4.0, length_s=3.0).waveform) == pytest.approx(16_000, abs=500)


def test_a_part_says_that_the_rest_is_cut_off(tmp_path):
    WRITERS["a.flac"](tmp_path / "a.flac", 8)
    content = (tmp_path / "a.flac").read_bytes()
    assert decode_audio(content[: len(content) // 2], length_s=1.0).problem.endswith("its head says 8.0 s")


def test_memory_is_that_of_the_part_and_not_of_the_channels(tmp_path):
    """Ten minutes of eight silent channels are 60 KB of FLAC and 847 MB of samples."""
    with soundfile.SoundFile(tmp_path / "a.flac", "w", RATE, 8) as file:
        for _ in range(60):
            file.write(np.zeros((10 * RATE, 8), np.int16))
    tracemalloc.start()
    decoded = decode_audio(tmp_path / "a.flac", length_s=1.0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (len(decoded.waveform), round(decoded.duration_s)) == (16_000, 600)
    assert peak < 10e6


BATCH = """
import numpy as np, resource
from collap import CollapFeatureExtractor
extractor = CollapFeatureExtractor()
extractor(np.zeros(16_000 * 30, np.float32), sampling_rate=16_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
songs = [np.zeros(16_000 * 300, np.float32)] + [np.zeros(16_000, np.float32)] * 63
inputs = extractor(songs, sampling_rate=16_000, return_tensors="pt")
assert inputs["fbank_features"].shape == (64, 10, 2998, 128)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in KiB on Linux only")
def test_one_long_song_does_not_make_a_batch_large():
    """Padded to 10 chunks, 64 songs have 1.6 GB of inputs, of which 73 chunks are real: 0.2 GB."""
    result = subprocess.run([sys.executable, "-c", BATCH], capture_output=True, text=True, check=True)
    assert float(result.stdout) < 400
