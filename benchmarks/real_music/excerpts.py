# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""
Does an excerpt of a recording find its song, and its place in it?

    python -m benchmarks.real_music.excerpts --music FOLDER --model MODEL --index INDEX --output FILE

FOLDER holds whole songs; it is indexed first, as by `collap index`. Excerpts of 10 s are drawn, one a song, made 3 dB
louder (and clipped), with white noise 30 dB below, written as stereo mp3 of 64 kbit/s, and searched for, as by
`collap search --like`. Metrics: how often the right song comes first, and how often, in all, it also starts within 1 s
of where the excerpt was cut.
"""

import argparse
import random
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np

from collap.files import this_command, write_json
from collap.progress import progress_bar
from collap.search.index import SongIndex
from collap.search.query import Query

SAMPLING_RATE = 44_100
EXCERPT_S = 10.0
GAIN_DB, NOISE_DB, BIT_RATE = 3.0, -30.0, 64_000
TOLERANCE_S = 1.0
SILENCE_DB = -60.0  # excerpts below are drawn anew


def read_stereo(path: str) -> np.ndarray:
    """The waveform `(2, samples)` of a song at 44.1 kHz."""
    resampler = av.AudioResampler("fltp", "stereo", SAMPLING_RATE)
    with av.open(path) as container:
        parts = [part for frame in container.decode(audio=0) for part in resampler.resample(frame)]
    return np.concatenate([part.to_ndarray() for part in [*parts, *resampler.resample(None)]], axis=1)


def write_mp3(path: Path, waveform: np.ndarray) -> None:
    """Writes a waveform `(2, samples)` at 44.1 kHz."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libmp3lame", rate=SAMPLING_RATE, layout="stereo", bit_rate=BIT_RATE)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(waveform, np.float32), "fltp", "stereo")
        frame.rate = SAMPLING_RATE
        for packet in (*stream.encode(frame), *stream.encode(None)):
            container.mux(packet)


def cut(song: np.ndarray, generator: np.random.Generator) -> tuple[np.ndarray, float]:
    """A spoiled excerpt of a waveform `(2, samples)`, and its start in seconds; a ValueError if there is silence."""
    length = round(EXCERPT_S * SAMPLING_RATE)
    for _ in range(100):
        start = int(generator.integers(song.shape[1] - length + 1))
        excerpt = song[:, start : start + length]
        level = float(np.sqrt((excerpt**2).mean()))
        if level > 10 ** (SILENCE_DB / 20):
            noise = level * 10 ** (NOISE_DB / 20) * generator.standard_normal(excerpt.shape)
            return np.clip((excerpt + noise) * 10 ** (GAIN_DB / 20), -1, 1), start / SAMPLING_RATE
    raise ValueError("a song must not be silent.")


def search_excerpts(index: SongIndex, num_excerpts: int, seed: int = 0) -> list[dict[str, Any]]:
    """What is found for an excerpt of each of so many songs."""
    long_enough = sorted(song.path for song in index.songs.values() if song.duration_s > EXCERPT_S)
    paths = random.Random(seed).sample(long_enough, min(num_excerpts, len(long_enough)))
    generator = np.random.default_rng(seed)
    found = []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "excerpt.mp3"
        for path in progress_bar(paths, unit="excerpt"):
            excerpt, start_s = cut(read_stereo(path), generator)
            write_mp3(file, excerpt)
            (match,) = index.search(Query(like=str(file), top=1)).matches
            row = {"song": Path(path).name, "start_s": start_s, "is_first": match.song.path == path}
            row |= {"found": Path(match.song.path).name, "found_s": match.spans[0].start_s, "score": match.score}
            row["is_near"] = row["is_first"] and abs(row["found_s"] - start_s) <= TOLERANCE_S
            found.append(row)
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--music", type=Path, required=True, help="folder of whole songs")
    parser.add_argument("--model", required=True, help="a CoLLAP")
    parser.add_argument("--index", type=Path, required=True, help="folder of the index that is made")
    parser.add_argument("--num_excerpts", type=int, default=200)
    parser.add_argument("--output", type=Path, required=True)
    given = parser.parse_args(arguments)
    index = SongIndex.create(given.index, given.model)
    update = index.update([given.music])
    found = search_excerpts(index, given.num_excerpts)
    result = {
        "command": this_command(),
        "num_songs": len(index.songs),
        "hours": round(sum(song.duration_s for song in index.songs.values()) / 3600, 2),
        "failed_files": len(update.failed),
        "revision": index.retriever.revision,
        "frame_length_s": index.retriever.model.config.frame_length_s,
        "num_excerpts": len(found),
        "right_song_first": sum(row["is_first"] for row in found) / len(found),
        "start_within_1_s": sum(row["is_near"] for row in found) / len(found),
        "missed": [row for row in found if not row["is_near"]],
    }
    write_json(given.output, result)
    print({name: value for name, value in result.items() if name != "missed"})


if __name__ == "__main__":
    main()
