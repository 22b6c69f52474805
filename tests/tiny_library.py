# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""A folder of tagged songs, and a tiny model on disk that can index them."""

from pathlib import Path

import av
import numpy as np
from tiny_retrieval import tiny_collap


def save_tiny_model(folder: Path, **fields) -> str:
    model, processor = tiny_collap(**fields)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return str(folder)


def write_tagged(path: Path, seconds: float, seed: int, **tags: str) -> str:
    """A song of noise and a tone, in the format that the suffix says."""
    codec = {
        ".mp3": "mp3",
        ".flac": "flac",
        ".ogg": "libvorbis",
        ".opus": "libopus",
        ".m4a": "aac",
        ".wav": "pcm_s16le",
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    rate = 48_000 if path.suffix == ".opus" else 16_000
    time = np.arange(int(rate * seconds)) / rate
    noise = np.random.default_rng(seed).standard_normal(len(time))
    waveform = (0.3 * np.sin(2 * np.pi * 110 * (seed + 1) * time) + 0.05 * noise).astype(np.float32)
    with av.open(path, "w") as container:
        container.metadata.update(tags)
        stream = container.add_stream(codec[path.suffix], rate=rate, layout="mono")
        stream.metadata.update(tags)
        frame = av.AudioFrame.from_ndarray(waveform[None], format="flt", layout="mono")
        frame.sample_rate, frame.pts = rate, 0
        resampler = av.AudioResampler(stream.format, "mono", rate, frame_size=stream.frame_size or None)
        for part in (*resampler.resample(frame), *resampler.resample(None)):
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    return str(path)
