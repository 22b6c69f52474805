# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Songs of tones, one tone a second, in many containers and codecs."""

from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np
import soundfile

LAYOUTS = {1: "mono", 2: "stereo", 3: "2.1", 6: "5.1", 8: "7.1"}
NUM_TONES = 14
COMMON_RATES = (22_050, 44_100, 48_000)


@dataclass(frozen=True)
class Form:
    """A way to write a song."""

    container: str  # FFmpeg's name; "soundfile" writes `codec` as its subtype
    codec: str
    suffix: str
    rates: tuple[int, ...] = COMMON_RATES
    channels: tuple[int, ...] = (1, 2)
    says_length: bool = True  # so that it is known when its end is missing
    can_be_joined: bool = False  # two files one after the other are a file again
    options: dict[str, str] = field(default_factory=dict)  # of the container
    codec_options: dict[str, str] = field(default_factory=dict)
    video: bool = False


PCM = {"rates": (2_000, 8_000, *COMMON_RATES, 96_000, 192_000, 768_000), "channels": (1, 2, 3, 6, 8)}
LOSSLESS = {"rates": (8_000, *COMMON_RATES, 96_000), "channels": (1, 2, 6, 8)}
NO_XING, QUALITY = {"write_xing": "0"}, {"flags": "+qscale", "global_quality": "590"}
OPUS = {"rates": (48_000,), "channels": (1, 2, 6, 8)}
MP3 = {"rates": (8_000, *COMMON_RATES)}
STREAMED = {"says_length": False, "can_be_joined": True}
FORMS = [
    *(Form("wav", codec, ".wav", **PCM) for codec in ("pcm_u8", "pcm_s16le", "pcm_s24le", "pcm_s32le", "pcm_f32le")),
    *(Form("wav", codec, ".wav") for codec in ("pcm_f64le", "adpcm_ms", "adpcm_ima_wav", "pcm_mulaw", "pcm_alaw")),
    Form("soundfile", "WAV GSM610", ".wav", (8_000,), (1,)),
    Form("soundfile", "RF64 PCM_16", ".wav", channels=(1, 2, 6)),
    *(Form(*names, **PCM) for names in (("w64", "pcm_s16le", ".w64"), ("aiff", "pcm_s16be", ".aiff"))),
    *(Form(*names) for names in (("aiff", "pcm_s24be", ".aif"), ("au", "pcm_s16be", ".au"), ("caf", "alac", ".caf"))),
    Form("flac", "flac", ".flac", **LOSSLESS),
    Form("flac", "flac", ".flac", **LOSSLESS),
    Form("mp3", "libmp3lame", ".mp3", **MP3, can_be_joined=True),
    Form("mp3", "libmp3lame", ".mp3", **MP3, can_be_joined=True, codec_options=QUALITY),
    Form("mp3", "libmp3lame", ".mp3", **MP3, **STREAMED, options=NO_XING),
    Form("mp3", "libmp3lame", ".mp3", **MP3, **STREAMED, options=NO_XING, codec_options=QUALITY),
    Form("ogg", "libopus", ".opus", **OPUS, can_be_joined=True),
    Form("ogg", "libopus", ".ogg", **OPUS, can_be_joined=True),
    Form("soundfile", "OGG VORBIS", ".ogg", (8_000, *COMMON_RATES), (1, 2, 6), can_be_joined=True),
    Form("ogg", "flac", ".oga", can_be_joined=True),
    Form("webm", "libopus", ".webm", **OPUS),
    *(Form("matroska", codec, ".mka") for codec in ("flac", "aac", "libmp3lame", "pcm_s16le")),
    Form("ipod", "aac", ".m4a", channels=(1, 2, 6)),
    Form("ipod", "aac", ".m4a", options={"movflags": "+faststart"}),
    Form("ipod", "alac", ".m4a", channels=(1, 2, 6)),
    Form("adts", "aac", ".aac", channels=(1, 2, 6), **STREAMED),
    Form("asf", "wmav2", ".wma"),
    Form("mp4", "aac", ".mp4", video=True),
    Form("matroska", "aac", ".mkv", video=True),
    Form("avi", "libmp3lame", ".avi", video=True),
    Form("mov", "pcm_s16le", ".mov", video=True),
    Form("mpegts", "mp2", ".ts", says_length=False, video=True),
    Form("mp2", "mp2", ".mp2", **STREAMED),
    Form("ac3", "ac3", ".ac3", (44_100, 48_000), (1, 2, 6), **STREAMED),
    *(Form(*names) for names in (("tta", "tta", ".tta"), ("wv", "wavpack", ".wv"))),
    Form("amr", "libopencore_amrnb", ".amr", (8_000,), (1,), says_length=False),
]


def tone_hz(number: int) -> float:
    return 200.0 + 20.0 * number


def make_song(tones: list[int], rest_s: float, rate: int, noise: np.random.Generator) -> np.ndarray:
    """`(samples,)` float32: a tone a second, then a rest; the noise differs from second to second."""
    numbers = np.repeat([*tones, tones[-1]], rate)[: round((len(tones) + rest_s) * rate)]
    time_s = np.arange(len(numbers)) / rate
    loudness = np.repeat(noise.choice([0.0, 0.003, 0.05], len(tones) + 1), rate)[: len(numbers)]
    song = 0.4 * np.sin(2 * np.pi * (200.0 + 20.0 * numbers) * time_s) + loudness * noise.standard_normal(len(numbers))
    return song.astype(np.float32)


def write_song(path: Path, song: np.ndarray, rate: int, channels: int, form: Form) -> None:
    """All channels are the same; one second at a time, so that long songs take no memory."""
    if form.container == "soundfile":
        container, subtype = form.codec.split()
        soundfile.write(path, np.repeat(song[:, None], channels, 1), rate, format=container, subtype=subtype)
        return
    options = {"fflags": "+bitexact", **form.options}  # without it files have random numbers and times in them
    if form.container == "ogg":
        options["serial_offset"] = str(int(abs(song[100]) * 1e6))
    with av.open(str(path), "w", format=form.container, options=options) as file:
        if form.video:
            pictures = file.add_stream("mpeg4", rate=5)
            pictures.width, pictures.height, pictures.pix_fmt = 64, 64, "yuv420p"
        stream = file.add_stream(form.codec, rate=rate, options=form.codec_options)
        stream.layout = LAYOUTS[channels]
        if form.codec in ("wmav2", "aac", "ac3", "mp2"):
            stream.bit_rate = 128_000
        stream.format = av.Codec(form.codec, "w").audio_formats[0]
        resampler = av.AudioResampler(format=stream.format, layout=stream.layout, rate=rate)
        for begin in range(0, len(song), rate):
            block = np.repeat(song[begin : begin + rate], channels)[None]  # interleaved
            frame = av.AudioFrame.from_ndarray(block, format="flt", layout=LAYOUTS[channels])
            frame.sample_rate, frame.pts = rate, begin
            for part in resampler.resample(frame):
                file.mux(stream.encode(part))
            if form.video:
                for _ in range(5):
                    picture = av.VideoFrame.from_ndarray(np.zeros((96, 64), np.uint8), format="yuv420p")
                    file.mux(pictures.encode(picture))
        for part in resampler.resample(None):
            file.mux(stream.encode(part))
        file.mux(stream.encode(None))
        if form.video:
            file.mux(pictures.encode(None))


def strongest_tones(waveform: np.ndarray, sampling_rate: int) -> list[float]:
    """The loudest frequency in the middle of each whole second."""
    found = []
    for second in range(int(len(waveform) / sampling_rate)):
        middle = waveform[int((second + 0.35) * sampling_rate) : int((second + 0.75) * sampling_rate)]
        spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle)), 2 * sampling_rate))
        found.append(float(spectrum.argmax()) / 2)
    return found
