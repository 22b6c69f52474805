# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
r"""
Do versions of a piece find each other, by the mean of a model's frames?

    apt-get download planetblupi-music-midi && dpkg -x planetblupi-music-midi*.deb FOLDER
    python -m benchmarks.real_music.versions --data DIR --model MODEL --features FEATURES --midi FOLDER --output FILE

The ten pieces of planetblupi are played from MIDI by the sound font of the rendered songs (their first three minutes);
each has to find its recording among all songs. Within the albums a song whose title ends with "_fast", "_enhanced" and
the like has to find the song without that, among all songs but itself, and the other way round.
"""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile

from collap.evaluation.retrievers import load_retriever
from collap.files import this_command, write_json
from collap.metrics import query_metrics

from ..corpus.audio import sound_font
from ..questions import Song, read_songs
from ..rank import embed_songs
from ..towers import SAMPLING_RATE

SUFFIXES = ("_fast", "_f", "_enhanced", "_old", "-old")
PLAYED_S = 180
PIECES = "planetblupi-music-ogg"  # the recordings of the MIDI files


def find_pairs(songs: Sequence[Song]) -> list[tuple[int, int]]:
    """Places of songs of an album whose titles differ by one of the suffixes, in both orders."""
    places = {(song["album"], song["title"]): place for place, song in enumerate(songs)}
    pairs = []
    for (album, title), place in places.items():
        others = [places[album, title + suffix] for suffix in SUFFIXES if (album, title + suffix) in places]
        pairs += [pair for other in others for pair in ((place, other), (other, place))]
    return pairs


def play_midi(file: Path) -> np.ndarray:
    """The first minutes of a MIDI file as a waveform `(samples,)`."""
    import tinysoundfont

    synthesizer = tinysoundfont.Synth(samplerate=SAMPLING_RATE)
    synthesizer.sfload(str(sound_font()))
    tinysoundfont.Sequencer(synthesizer).midi_load(str(file))
    stereo = np.frombuffer(synthesizer.generate(PLAYED_S * SAMPLING_RATE), dtype=np.float32)
    return stereo.reshape(-1, 2).mean(1).clip(-1, 1)


def mean_frames(frames: Sequence[np.ndarray]) -> np.ndarray:
    """A vector of unit length for each song, `(songs, d)`."""
    means = np.stack([of_song.mean(0) for of_song in frames])
    return means / np.linalg.norm(means, axis=1, keepdims=True)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("model", "features", "data", "midi", "output"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    given = parser.parse_args(arguments)
    songs = read_songs(given.data / "all.jsonl")
    vectors = mean_frames(embed_songs(load_retriever(str(given.model), features=given.features), songs))
    pairs = find_pairs(songs)
    scores = vectors @ vectors.T
    np.fill_diagonal(scores, -np.inf)
    ranks = {"versions": query_metrics(scores[[one for one, _ in pairs]], np.array([other for _, other in pairs]))}
    retriever, played, targets = load_retriever(str(given.model)), [], []
    titles = [song["title"] if song["album"] == PIECES else None for song in songs]
    with tempfile.TemporaryDirectory() as folder:
        for file in sorted(given.midi.rglob("*.mid")):
            soundfile.write(Path(folder) / "played.wav", play_midi(file), SAMPLING_RATE)
            played.append(retriever.embed_song(str(Path(folder) / "played.wav")).frames)
            targets.append(titles.index(file.stem))
    ranks["MIDI"] = query_metrics(mean_frames(played) @ vectors.T, np.array(targets))
    result = {name: of_queries["median_rank"].astype(int).tolist() for name, of_queries in ranks.items()}
    shares = {f"{name}, R@1": float(np.mean(np.array(values) == 1)) for name, values in result.items()}
    print(shares)
    write_json(given.output, {"command": this_command(), "num_songs": len(songs), **shares, "ranks": result})


if __name__ == "__main__":
    main()
