# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""The command `collap caption`."""

import json
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from collap.cli import HelpFormatter
from collap.data.audio_files import AudioHashes, find_audio_files, read_audio
from collap.data.manifest import read_json_lines
from collap.encode import SONG_ERRORS
from collap.files import atomic_write, flush
from collap.progress import progress_bar

from .captioner import LanguageModelCaptioner, find_licence
from .sections import SAMPLING_RATE
from .tags import TagCaptioner


def caption(arguments: Sequence[str]) -> int:
    """
    Writes long captions of the songs in a folder, with sections and their times: a manifest for examples/train.py.

        collap caption ~/Music --captioner nvidia/music-flamingo-2601-hf --output songs.jsonl
        collap caption ~/Music --captioner tags --tagger MIT/ast-finetuned-audioset-10-10-0.4593 --output songs.jsonl

    The same command continues where it was stopped. songs.refused.jsonl has what was refused, and why.
    """
    parser = ArgumentParser("collap caption", description=caption.__doc__, formatter_class=HelpFormatter)
    parser.add_argument("folder", help="folder of songs")
    parser.add_argument("--captioner", required=True, help="an audio language model, a folder or a name; or `tags`")
    parser.add_argument("--tagger", help="audio classifier for `--captioner tags`, a folder or a name")
    parser.add_argument("--output", required=True, type=Path, help="the manifest; new songs are appended")
    parser.add_argument("--batch-size", type=int, default=4, help="sections (windows, with tags) at a time")
    given = parser.parse_args(arguments)
    is_tags = given.captioner == "tags"
    if is_tags != (given.tagger is not None):
        parser.error("--captioner tags needs --tagger; the other captioners do not take it")
    if given.output.suffix != ".jsonl" or given.batch_size < 1:
        parser.error(f"--output must be a .jsonl, --batch-size 1 or more; got {given.output} and {given.batch_size}")
    songs = find_audio_files(Path(given.folder))
    if not songs:
        raise ValueError(f"{given.folder} is no folder of songs.")
    known = read_lines(given.output)  # before the model is loaded: a damaged line is an error
    known += read_lines(given.output.with_suffix(".refused.jsonl"))
    name = given.tagger if is_tags else given.captioner
    print(f"The licence of {name} is {find_licence(name)}: check that it allows your use of the captions.", flush=True)
    captioner = (TagCaptioner if is_tags else LanguageModelCaptioner)(name, given.batch_size)
    print(caption_songs(songs, captioner, given.output, known))
    return 0


def caption_songs(
    songs: Sequence[Path], captioner: LanguageModelCaptioner | TagCaptioner, output: Path, known: list[dict[str, Any]]
) -> str:
    """
    Appends captions of files of audio to a manifest, and what was refused to `.refused.jsonl` beside it; not again of
    songs, identified by their content, that are in the `known` lines of both with the same revision and prompts.
    Returns a report; a RuntimeError says at which song the captioner has failed.
    """
    refused_file, me = output.with_suffix(".refused.jsonl"), captioner.provenance
    output.parent.mkdir(parents=True, exist_ok=True)
    hashes, counts = AudioHashes(output.parent), {"captioned": 0, "refused": 0, "done already": 0}
    ours, keys = [line for line in known if isinstance(line.get("captioner"), dict)], ("revision", "prompts")
    done = {line.get("song_id") for line in ours if all(line["captioner"].get(key) == me[key] for key in keys)}
    unread = [(line.get("audio"), line.get("refused")) for line in ours]
    for song in progress_bar(songs, desc="Captioning", unit="song"):
        line = {"audio": str(song.absolute()), "captioner": me, "song_id": None}
        try:
            song_id = hashes.hash(song)
            if song_id in done:
                counts["done already"] += 1
                continue
            waveform, line["duration_s"] = read_audio(song, SAMPLING_RATE)
            if line["duration_s"] < 1:
                raise ValueError("it is shorter than a second")
        except SONG_ERRORS as error:  # the song is tried again next time
            counts["refused"] += 1
            refused = [{"part_s": None, "answers": [{"problem": str(error), "answer": None}]}]
            if (line["audio"], refused) not in unread:
                _append(refused_file, line | {"refused": refused})
            continue
        try:
            columns, refused = captioner.caption(waveform)
        except Exception as error:
            hint = " A smaller --batch-size needs less memory." if "memory" in repr(error).lower() else ""
            raise RuntimeError(f"{song} could not be captioned: {error!r}.{hint}") from error
        line["song_id"] = song_id
        if columns is not None:
            _append(output, line | columns)
        if refused:
            _append(refused_file, line | {"refused": refused})
        counts["refused" if columns is None else "captioned"] += 1
        done.add(song_id)
    told = ", ".join(f"{number} {what}" for what, number in counts.items())
    where = f" What was refused, now or before, is in {refused_file}." * refused_file.exists()
    return f"{len(songs)} song{'s' * (len(songs) != 1)}: {told}.{where}"


def read_lines(file: Path) -> list[dict[str, Any]]:
    """The lines of a file. A last line without its end gets it, or is removed if a killed process has left it torn."""
    if not file.exists():
        return []
    content = file.read_bytes()
    if last := content.rpartition(b"\n")[2]:
        try:
            json.loads(last)
            content += b"\n"
        except ValueError:
            content = content.removesuffix(last)
        with atomic_write(file) as temporary:
            temporary.write_bytes(content)
    return read_json_lines(file)


def _append(file: Path, line: dict[str, Any]) -> None:
    with file.open("ab") as lines:
        lines.write(json.dumps(line, ensure_ascii=False).encode(errors="backslashreplace") + b"\n")
    flush(file)
