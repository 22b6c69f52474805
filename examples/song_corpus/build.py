# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Builds the song corpus: rendered songs with long captions, one manifest (JSON lines) a split.

    python examples/song_corpus/build.py --output_dir songs --size demo --num_processes 2

A build that was stopped goes on where it was, a finished corpus is left as it is. README.md beside this file says what
the songs and the manifests hold.
"""

import argparse
import hashlib
import json
import os
import threading
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from multiprocessing import get_context, parent_process
from pathlib import Path

import soundfile
from captions import CaptionWriter
from song_audio import play_song
from song_plan import (
    GROUP_SIZE,
    GROUPED_SPLITS,
    SAMPLING_RATE,
    SIZES,
    SPLITS,
    CorpusSize,
    Section,
    Song,
    draw_song,
    random_stream,
    read_structures,
)
from song_voice import place_words
from tqdm import tqdm

CORPUS_FILE = "corpus.json"
CORPUS_VERSION = 1  # of the songs and captions that the same arguments give; raised when any of them changes
DEFAULT_SPLITS = ("train", "validation", "content", "order")
NUM_TRAINING_WORDINGS = 16


@dataclass(frozen=True)
class Recipe:
    """All that a song and its line in the manifest depend on, beside the split and the index."""

    size: CorpusSize
    seed: int = 0
    splits: tuple[str, ...] = DEFAULT_SPLITS
    clock_times: bool = False
    structures: tuple[tuple[tuple[str, float], ...], ...] = ()

    def arguments(self) -> dict:
        """The recipe as it is written to `corpus.json` (the structures by their hash)."""
        size = asdict(self.size)
        size["num_songs"] = {split: self.size.num_songs[split] for split in self.splits}
        layouts = json.dumps(self.structures).encode()
        return {
            "version": CORPUS_VERSION,
            "size": size,
            "seed": self.seed,
            "splits": list(self.splits),
            "clock_times": self.clock_times,
            "structures": hashlib.sha256(layouts).hexdigest()[:16] if self.structures else None,
        }


def build_corpus(output_dir: str | Path, recipe: Recipe, num_processes: int = 1, progress: bool = True) -> Path:
    """Makes (or finishes) a corpus.

    Args:
        output_dir (`str` or `Path`): folder of the corpus; made if it is not there.
        recipe (`Recipe`): what to make.
        num_processes (`int`): processes that share the songs; the result does not depend on it.
        progress (`bool`): whether to show a progress bar.

    Returns:
        `Path`: the folder, with `{split}.jsonl`, `audio/{split}/{index}.wav` and `corpus.json`.

    Raises:
        ValueError: if an argument is out of range, or the folder holds a corpus made with other arguments.
    """
    _check(recipe, num_processes)
    output_dir = Path(output_dir)
    arguments = recipe.arguments()
    record = _read_record(output_dir, arguments)
    jobs = [(split, index) for split in recipe.splits for index in range(recipe.size.num_songs[split])]
    if record.get("finished") and all((output_dir / name).is_file() for name in _files(recipe, jobs)):
        return output_dir
    for split in recipe.splits:
        (output_dir / "audio" / split).mkdir(parents=True, exist_ok=True)
    _write_text(output_dir / CORPUS_FILE, json.dumps({"arguments": arguments, "finished": False}, indent=2))
    make = partial(make_song, output_dir, recipe)
    with tqdm(total=len(jobs), unit="song", desc="song corpus", disable=not progress) as bar:
        lines: dict[str, list[str]] = {split: [] for split in recipe.splits}

        def collect(results) -> None:
            for (split, _), line in zip(jobs, results, strict=True):
                lines[split].append(line)
                bar.update()

        if num_processes == 1:
            collect(map(make, jobs))
        else:
            # "spawn": the caller may have threads (torch), which a forked process would not survive.
            spawn = get_context("spawn")
            with ProcessPoolExecutor(num_processes, mp_context=spawn, initializer=_leave_with_parent) as pool:
                try:
                    collect(pool.map(make, jobs, chunksize=4))
                except BaseException:  # also Ctrl-C: without this the pool would first render all that is left
                    pool.shutdown(wait=False, cancel_futures=True)
                    raise
    for leftover in output_dir.rglob("*.unfinished"):  # of a build that was killed
        leftover.unlink(missing_ok=True)
    for split in recipe.splits:
        _write_text(output_dir / f"{split}.jsonl", "\n".join(lines[split]) + "\n")
    _write_text(output_dir / CORPUS_FILE, json.dumps({"arguments": arguments, "finished": True}, indent=2))
    return output_dir


def make_song(output_dir: Path, recipe: Recipe, job: tuple[str, int]) -> str:
    """Renders one song, unless its file is there, and gives its line of the manifest."""
    split, index = job
    song = draw_song(recipe.size, recipe.seed, split, index, recipe.structures)
    name = _audio_name(recipe, split, index)
    path = output_dir / name
    if not path.is_file():
        unfinished = _unfinished(path)
        soundfile.write(
            unfinished, play_song(song), SAMPLING_RATE, subtype="PCM_16", format=recipe.size.audio_format.upper()
        )
        os.replace(unfinished, path)
    return json.dumps(describe_song(song, name, recipe), ensure_ascii=False)


def describe_song(song: Song, audio: str, recipe: Recipe) -> dict:
    """The line of the manifest of one song, as README.md documents it."""

    def writer(purpose: str, wording: str = "seen") -> CaptionWriter:
        rng = random_stream(recipe.seed, song.split, song.index, purpose)
        return CaptionWriter(wording, rng, recipe.clock_times)

    bounds = song.section_bounds
    sections = [
        {
            "start_s": start / SAMPLING_RATE,
            "end_s": end / SAMPLING_RATE,
            "label": section.label,
            "tags": song.tags(section),
            "words": _spoken(song, section),
        }
        for section, (start, end) in zip(song.sections, bounds, strict=True)
    ]
    line = {
        "audio": audio,
        "duration_s": bounds[-1][1] / SAMPLING_RATE,
        "tempo_bpm": song.beats_per_minute,
        "group": song.group,
        "sections": sections,
    }
    if song.split == "train":
        captions = [writer(f"caption {number}").write(song) for number in range(NUM_TRAINING_WORDINGS)]
        line["texts"] = [caption.sentences for caption in captions]
        for place, entry in enumerate(sections):
            entry["sentences"] = [caption.section_sentences[place] for caption in captions]
        return line
    # Validation songs have the seen wording alone: nothing is to be chosen by a look at the held-out one.
    wordings = {"seen": ""} if song.split == "validation" else {"seen": "", "new": "_new"}
    for wording, suffix in wordings.items():
        caption = writer(f"caption {wording}", wording).write(song)
        line[f"text{suffix}"] = caption.sentences
        for place, entry in enumerate(sections):
            entry[f"sentences{suffix}"] = caption.section_sentences[place]
            entry[f"query{suffix}"] = writer(f"query {wording} {place}", wording).query(song.sections[place])
    return line


def _spoken(song: Song, section: Section) -> str:
    if section.voice == "none":
        return ""
    return " ".join(word for word, _ in place_words(section.theme_seed, section.num_bars, song.beats_per_minute))


def _audio_name(recipe: Recipe, split: str, index: int) -> str:
    return f"audio/{split}/{index:05d}.{recipe.size.audio_format}"


def _files(recipe: Recipe, jobs: list[tuple[str, int]]) -> list[str]:
    return [*(f"{split}.jsonl" for split in recipe.splits), *(_audio_name(recipe, *job) for job in jobs)]


def _read_record(output_dir: Path, arguments: dict) -> dict:
    path = output_dir / CORPUS_FILE
    if not path.is_file():
        return {}
    record = json.loads(path.read_text(encoding="utf-8"))
    changed = [name for name, value in arguments.items() if record["arguments"].get(name) != value]
    if changed:
        raise ValueError(
            f"`output_dir` {output_dir} holds a corpus with other arguments: "
            + "; ".join(f"{name} was {record['arguments'].get(name)}, now {arguments[name]}" for name in changed)
            + ". Take another folder, or delete this one."
        )
    return record


def _unfinished(path: Path) -> Path:
    """Where a file is written before it gets its name, so that a file with its name is always whole."""
    return path.with_name(f"{path.name}.{os.getpid()}.unfinished")


def _leave_with_parent() -> None:
    """Ends this worker when its parent is gone: the workers of a killed build would wait forever."""

    def watch() -> None:
        parent_process().join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _write_text(path: Path, text: str) -> None:
    unfinished = _unfinished(path)
    unfinished.write_text(text, encoding="utf-8")
    os.replace(unfinished, path)


def _check(recipe: Recipe, num_processes: int) -> None:
    if recipe.seed < 0:
        raise ValueError(f"`seed` must not be negative, got {recipe.seed}")
    if num_processes < 1:
        raise ValueError(f"`num_processes` must be at least 1, got {num_processes}")
    for split in recipe.splits:
        if split not in SPLITS:
            raise ValueError(f"`splits` must be among {SPLITS}, got {split!r}")
        count = recipe.size.num_songs.get(split, 0)
        if count < 1:
            raise ValueError(f"`num_songs` must name at least one song of the split {split!r}, got {count}")
        if split in GROUPED_SPLITS and count % GROUP_SIZE:
            raise ValueError(f"`num_songs` of {split!r} must be a multiple of {GROUP_SIZE} (its groups), got {count}")
    if "structures" in recipe.splits and not recipe.structures:
        raise ValueError("the split 'structures' needs `structures`: the file with the section layouts of real songs")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output_dir", required=True, help="folder of the corpus")
    parser.add_argument("--size", choices=sorted(SIZES), default="demo", help="number and length of the songs")
    parser.add_argument("--splits", nargs="+", choices=SPLITS, default=DEFAULT_SPLITS, help="what to build")
    parser.add_argument(
        "--num_songs",
        nargs="+",
        default=[],
        metavar="SPLIT=N",
        help="other numbers of songs, for example content=1000",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--clock_times", action="store_true", help="captions tell each section's times (0:14 to 0:32)")
    parser.add_argument("--structures", help="JSON lines with section layouts of real songs (split 'structures')")
    parser.add_argument("--num_processes", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    num_songs = dict(SIZES[arguments.size].num_songs)
    for item in arguments.num_songs:
        split, _, count = item.partition("=")
        if split not in SPLITS or not count.isdigit():
            parser.error(f"--num_songs takes SPLIT=N with SPLIT among {', '.join(SPLITS)}, got {item!r}")
        num_songs[split] = int(count)
    recipe = Recipe(
        size=replace(SIZES[arguments.size], num_songs=num_songs),
        seed=arguments.seed,
        splits=tuple(split for split in SPLITS if split in arguments.splits),
        clock_times=arguments.clock_times,
        structures=tuple(read_structures(arguments.structures)) if arguments.structures else (),
    )
    try:
        output_dir = build_corpus(arguments.output_dir, recipe, arguments.num_processes)
    except ValueError as error:
        parser.error(str(error))
    print(f"The song corpus is in {output_dir}")


if __name__ == "__main__":
    main()
