# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""
Fetches real songs from Debian packages and writes their manifests, with captions made of machine labels.

    python -m benchmarks.real_music.fetch --output_dir DIR [--tracks FOLDER] [--music FOLDER]

Needs `apt-get` and `dpkg`; nothing is installed. Packages are unpacked into DIR/music, one after the other; what is
there already is not fetched again. `--music` takes a folder instead, of the unpacked packages or of one's own songs,
with their labels in `--tracks`.
"""

import argparse
import hashlib
import json
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from collap.files import first_few, write_jsonl
from collap.progress import progress_bar

from . import captions

LABELS = Path(__file__).with_name("labels")  # the default of `--tracks`
# The packages (games) of each split. `left_out` is in no split, because its composer also wrote for a game of another
# one. FFmpeg cannot decode what is `unreadable`.
SPLITS = json.loads(Path(__file__).with_name("splits.json").read_text(encoding="utf-8"))

Track = dict[str, Any]  # a line of tracks.jsonl


def find_faults(tracks: Sequence[Track], music: Path) -> dict[str, str]:
    """Files that are missing or not those that were labelled, each with its package."""
    faults = {}
    for track in progress_bar(tracks, unit="song", desc="check"):
        path = music / track["path"]
        if not path.is_file():
            faults[f"{path} is missing"] = track["package"]
        elif hashlib.sha256(path.read_bytes()).hexdigest() != track["sha256"]:
            faults[f"{path} is not the file that was labelled, whose sha256 is {track['sha256']}"] = track["package"]
    return faults


def unpack(package: str, music: Path) -> None:
    """Downloads a Debian package and unpacks it, without installing it; the download is removed."""
    music.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=music) as folder:
        command = ["sh", "-c", 'apt-get download "$0" && dpkg -x ./*.deb "$1"', package, str(music.absolute())]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise ValueError(f"{package} could not be fetched: {done.stderr.strip()}")


def describe_track(track: Track, music: Path, tag_names: Sequence[str]) -> dict[str, Any]:
    """A line of the manifest: a song with its sections, the captions of both writers and queries for each section."""
    song = captions.describe(captions.read_frames(track, tag_names))
    writers = ["train"] * (captions.NUM_WORDINGS + 1) + ["other"]
    wordings = [captions.write(song, name, f"{track['sha256']} {seed}") for seed, name in enumerate(writers)]
    *training, seen, other = wordings
    line = {"audio": str((music / track["path"]).absolute()), "song_id": track["sha256"], "album": track["package"]}
    line |= {"title": Path(track["path"]).stem, "duration_s": track["duration_s"], "sections": []}
    line |= {"texts": [wording.text for wording in training], "text": seen.text, "text_other": other.text}
    start = len(seen.text) - sum(map(len, seen.sections))  # all wordings have the same counts
    for place, section in enumerate(song["sections"]):
        row = {name: round(section[name], 3) for name in ("start_s", "end_s", "level_db")}
        row["tags"] = {name: round(value, 3) for name, value in section["tags"].items()}
        row["texts"] = [wording.sections[place] for wording in training]
        end = start + len(seen.sections[place])
        row["sentences"] = row["sentences_other"] = list(range(start, end))  # of `text` and `text_other`
        start = end
        line["sections"].append({**row, "query": seen.queries[place], "query_other": other.queries[place]})
    return line


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output_dir", type=Path, required=True)
    parser.add_argument("--tracks", type=Path, default=LABELS, help="tracks.jsonl and tags.json")
    parser.add_argument("--music", type=Path, help="unpacked packages; nothing is fetched")
    given = parser.parse_args(arguments)
    if not (given.tracks / "tracks.jsonl").is_file():
        parser.error(f"--tracks must be a folder with tracks.jsonl and tags.json, got {given.tracks}")
    music = given.music or given.output_dir / "music"
    try:
        lines = (given.tracks / "tracks.jsonl").read_text(encoding="utf-8").splitlines()
        tag_names = [name for _, name in json.loads((given.tracks / "tags.json").read_text(encoding="utf-8"))["tags"]]
        tracks = [track for track in map(json.loads, lines) if track.get("tags")]  # a short file has none
        tracks = [track for track in tracks if track["path"] not in SPLITS["unreadable"]]
        faults = find_faults(tracks, music)
        if faults and given.music is None:
            for package in progress_bar(sorted(set(faults.values())), unit="package", desc="fetch"):
                unpack(package, music)
            faults = find_faults(tracks, music)
        if faults:
            raise ValueError("\n".join([f"{len(faults)} of {len(tracks)} songs:", *first_few(list(faults))]))
    except (OSError, ValueError) as error:
        parser.error(str(error))
    songs = [describe_track(track, music, tag_names) for track in progress_bar(tracks, unit="song", desc="captions")]
    in_splits = [song for song in songs if not song["audio"].endswith(tuple(SPLITS["left_out"]))]
    for split in ("train", "validation", "test", "all"):
        rows = songs if split == "all" else [song for song in in_splits if song["album"] in SPLITS[split]]
        write_jsonl(given.output_dir / f"{split}.jsonl", rows)
        hours = sum(row["duration_s"] for row in rows) / 3600
        print(f"{split}: {len(rows)} songs, {hours:.2f} h, {sum(len(row['sections']) for row in rows)} sections")


if __name__ == "__main__":
    main()
