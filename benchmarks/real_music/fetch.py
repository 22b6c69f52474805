# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""
Fetches real songs from Debian packages and writes their manifests, with captions made of machine labels.

    python -m benchmarks.real_music.fetch --output_dir DIR [--tracks FOLDER] [--music FOLDER]

Needs `apt-get` and `dpkg`, on Debian or a system made of it; nothing is installed. The packages are unpacked into
DIR/music, one after the other; what is there already is not fetched again. `--music` takes a folder instead that holds
the unpacked packages, or songs of one's own with the labels of these songs in `--tracks`.
"""

import argparse
import hashlib
import json
import os
import random
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from collap.files import atomic_write, first_few

from . import captions

# By package, that is by game: nobody composed for two splits but for the track that is left out.
SPLITS = {
    "train": (
        "drascula-music",
        "hedgewars-data",
        "singularity-music",
        "supertux-data",
        "warzone2100-music",
        "wesnoth-1.16-music",
        "widelands-data",
    ),
    "validation": ("extremetuxracer-data", "frozen-bubble-data", "hyperrogue-music"),
    "test": ("naev-data", "planetblupi-music-ogg", "supertuxkart-data"),
}
# By a composer of supertuxkart-data; only in all.jsonl.
LEFT_OUT = {"usr/share/games/supertux2/music/forest/bright_thunders.ogg"}
SHARED_DATA = Path(os.environ.get("COLLAP_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))

Track = dict[str, Any]  # a line of tracks.jsonl


def find_faults(tracks: Sequence[Track], music: Path) -> list[str]:
    """Which files are missing, or not those that were labelled."""
    faults = []
    for track in tracks:
        path = music / track["path"]
        if not path.is_file():
            faults.append(f"{path} is missing")
        elif hash_file(path) != track["sha256"]:
            faults.append(f"{path} is not the file that was labelled: its sha256 must be {track['sha256']}")
    return faults


def hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def unpack(package: str, music: Path) -> None:
    """Downloads a Debian package and unpacks it, without installing it; the download is removed."""
    music.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=music) as folder:
        for command in (["apt-get", "download", package], ["sh", "-c", 'dpkg -x ./*.deb "$0"', str(music.absolute())]):
            try:
                done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
            except FileNotFoundError as error:
                raise ValueError(f"{error.filename} is not there: give the unpacked packages by --music.") from error
            if done.returncode:
                raise ValueError(
                    f"{package} could not be fetched ({command[0]}): {done.stderr.strip() or done.stdout}"
                )


def read_tracks(folder: Path) -> tuple[list[Track], list[str]]:
    """The tracks of `tracks.jsonl`, and the names of the tags of `tags.json`."""
    for name in ("tracks.jsonl", "tags.json"):
        if not (folder / name).is_file():
            raise ValueError(f"--tracks must hold tracks.jsonl and tags.json, there is no {folder / name}.")
    tracks = [json.loads(line) for line in (folder / "tracks.jsonl").read_text(encoding="utf-8").splitlines()]
    tags = json.loads((folder / "tags.json").read_text(encoding="utf-8"))["tags"]
    return [track for track in tracks if track.get("tags")], [name for _, name in tags]


def describe_track(track: Track, music: Path, tag_names: Sequence[str]) -> dict[str, Any]:
    """A line of the manifest: a song with its sections, and captions of both writers."""
    song = captions.describe(captions.read_frames(track, tag_names))
    line = {"audio": str((music / track["path"]).absolute()), "song_id": track["sha256"], "album": track["package"]}
    line |= {"title": Path(track["path"]).stem, "duration_s": track["duration_s"], "texts": [], "sections": []}
    for section in song["sections"]:
        tags = {name: round(value, 3) for name, value in section["tags"].items()}
        times = {name: round(section[name], 3) for name in ("start_s", "end_s", "level_db")}
        line["sections"].append({**times, "tags": tags, "texts": []})
    for number in range(captions.NUM_WORDINGS):
        add_wording(line, song, "train", number)
    add_wording(line, song, "train", captions.NUM_WORDINGS, "")
    add_wording(line, song, "other", 0, "_other")
    return line


def add_wording(
    line: dict[str, Any], song: dict[str, Any], writer: str, number: int, suffix: str | None = None
) -> None:
    """Adds one of the `texts`, or with a suffix a `text` and the `query` of each section."""
    draw = random.Random(f"{line['song_id']} {writer} {number}")  # of its own: more wordings change no other
    general, texts, queries = captions.write(song, captions.WORDS[writer], draw)
    text = general + [sentence for sentences in texts for sentence in sentences]
    if suffix is None:
        line["texts"].append(text)
        for section, sentences in zip(line["sections"], texts, strict=True):
            section["texts"].append(sentences)
    else:
        line[f"text{suffix}"] = text
        for section, query in zip(line["sections"], queries, strict=True):
            section[f"query{suffix}"] = query


def write_manifest(path: Path, lines: Sequence[dict[str, Any]]) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    hours = sum(line["duration_s"] for line in lines) / 3600
    sections = sum(len(line["sections"]) for line in lines)
    print(f"{path}: {len(lines)} songs, {hours:.1f} hours, {sections} sections")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output_dir", type=Path, required=True)
    parser.add_argument("--tracks", type=Path, default=SHARED_DATA / "real_music", help="tracks.jsonl and tags.json")
    parser.add_argument("--music", type=Path, help="unpacked packages; nothing is fetched")
    given = parser.parse_args(arguments)
    music = given.music or given.output_dir / "music"
    try:
        tracks, tag_names = read_tracks(given.tracks)
        packages = sorted({track["package"] for track in tracks})
        for package in tqdm(packages, unit="package"):
            of_package = [track for track in tracks if track["package"] == package]
            if (faults := find_faults(of_package, music)) and given.music is None:
                unpack(package, music)
                faults = find_faults(of_package, music)
            if faults:
                raise ValueError(
                    "\n".join(
                        [f"{package} has {len(faults)} file(s) of {len(of_package)} that differ:", *first_few(faults)]
                    )
                )
    except ValueError as error:
        parser.error(str(error))
    lines = [describe_track(track, music, tag_names) for track in tqdm(tracks, unit="song")]
    left_out = {track["sha256"] for track in tracks if track["path"] in LEFT_OUT}
    for split, chosen in SPLITS.items():
        rows = [line for line in lines if line["album"] in chosen and line["song_id"] not in left_out]
        write_manifest(given.output_dir / f"{split}.jsonl", rows)
    write_manifest(given.output_dir / "all.jsonl", lines)


if __name__ == "__main__":
    main()
