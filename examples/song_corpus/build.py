# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Builds the song corpus: rendered songs with long captions, one manifest (JSON lines) a split.

    python examples/song_corpus/build.py --output_dir songs --size demo --num_processes 2

A build that was stopped goes on where it was, a finished corpus is left as it is. README.md beside this file says what
the songs and the manifests hold.
"""

import argparse
import json
import os
import threading
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context, parent_process
from pathlib import Path

import soundfile
from recipe import CORPUS_FILE, DEFAULT_SPLITS, Recipe
from song_audio import play_song
from song_lines import describe_song, in_german
from song_plan import SAMPLING_RATE, SIZES, SPLITS, TRAINING_SPLITS, draw_song, read_structures
from tqdm import tqdm


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
    if num_processes < 1:
        raise ValueError(f"`num_processes` must be at least 1, got {num_processes}")
    recipe.check()
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
        if recipe.german and split in TRAINING_SPLITS:
            german = [json.dumps(in_german(json.loads(line)), ensure_ascii=False) for line in lines[split]]
            _write_text(output_dir / f"{split}_german.jsonl", "\n".join(german) + "\n")
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


def _audio_name(recipe: Recipe, split: str, index: int) -> str:
    return f"audio/{split}/{index:05d}.{recipe.size.audio_format}"


def _files(recipe: Recipe, jobs: list[tuple[str, int]]) -> list[str]:
    german = [split for split in recipe.splits if recipe.german and split in TRAINING_SPLITS]
    manifests = [f"{split}.jsonl" for split in recipe.splits] + [f"{split}_german.jsonl" for split in german]
    return [*manifests, *(_audio_name(recipe, *job) for job in jobs)]


def _read_record(output_dir: Path, arguments: dict) -> dict:
    path = output_dir / CORPUS_FILE
    if not path.is_file():
        return {}
    record = json.loads(path.read_text(encoding="utf-8"))
    before = record["arguments"]
    changed = [name for name in {**arguments, **before} if before.get(name) != arguments.get(name)]
    if changed:
        raise ValueError(
            f"`output_dir` {output_dir} holds a corpus with other arguments: "
            + "; ".join(f"{name} was {before.get(name)}, now {arguments.get(name)}" for name in changed)
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output_dir", required=True, help="folder of the corpus")
    parser.add_argument("--size", choices=sorted(SIZES), default="demo", help="number and length of the songs")
    parser.add_argument("--splits", nargs="+", choices=(*SPLITS, "all"), default=DEFAULT_SPLITS, help="what to build")
    parser.add_argument(
        "--num_songs",
        nargs="+",
        default=[],
        metavar="SPLIT=N",
        help="other numbers of songs, for example content=1000",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--clock_times", action="store_true", help="captions tell each section's times (0:14 to 0:32)")
    parser.add_argument(
        "--clock_share", type=float, default=0.0, help="share of the training captions that tell times (0.25: 4 of 16)"
    )
    parser.add_argument(
        "--test_columns",
        action=argparse.BooleanOptionalAction,
        help="more columns of test songs: captions with times, which tags are told (default: all sizes but demo)",
    )
    parser.add_argument(
        "--german", action="store_true", help="captions in German too; train_german.jsonl trains on them"
    )
    parser.add_argument(
        "--structures",
        help="section layouts of real songs (split 'structures'): JSON lines, or a folder of the Harmonix Set",
    )
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
        splits=tuple(split for split in SPLITS if split in arguments.splits or "all" in arguments.splits),
        clock_times=arguments.clock_times,
        clock_share=arguments.clock_share,
        test_columns=arguments.size != "demo" if arguments.test_columns is None else arguments.test_columns,
        german=arguments.german,
        structures=tuple(read_structures(arguments.structures)) if arguments.structures else (),
    )
    try:
        output_dir = build_corpus(arguments.output_dir, recipe, arguments.num_processes)
    except ValueError as error:
        parser.error(str(error))
    print(f"The song corpus is in {output_dir}")


if __name__ == "__main__":
    main()
