# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Builds the song corpus: what it is made of, the lines of its manifests, and the build itself."""

import hashlib
import json
import lzma
import os
import threading
import warnings
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import cache, partial
from multiprocessing import get_context, parent_process
from pathlib import Path

import soundfile

from collap.files import atomic_write, write_json
from collap.progress import progress_bar

from . import plan
from .audio import place_words, play_song
from .captions import ALWAYS_TOLD, CaptionWriter
from .plan import SAMPLING_RATE, CorpusSize, Song, draw_song, random_stream, read_freehand, stream_of
from .tags import TAGS

CORPUS_FILE = "corpus.json"  # lies in the folder of a corpus and says what it was made with
CORPUS_VERSION = 1  # of the songs and captions that the same arguments give; raised when any of them changes
TEST_COLUMNS = ("clock", "tags", "paraphrase by three", "validation")  # groups of columns that `test_columns` adds
DEFAULT_SPLITS = ("train", "validation", "content", "order")
NUM_TRAINING_WORDINGS = 16
TEXTS = Path(__file__).parent / "texts"


@dataclass(frozen=True)
class Recipe:
    """What to make."""

    size: CorpusSize
    seed: int = 0
    splits: tuple[str, ...] = DEFAULT_SPLITS
    clock_share: float = 0.0  # share of the training captions that tell each section's times
    test_columns: bool = False  # more columns of test and validation songs, see README.md
    structures: tuple[tuple[tuple[str, float], ...], ...] = ()  # what `read_structures` gives

    def arguments(self) -> dict:
        """The recipe as it is written to `corpus.json` (the structures by their hash)."""
        return {
            "version": CORPUS_VERSION,
            "size": asdict(self.size) | {"num_songs": {split: self.size.num_songs[split] for split in self.splits}},
            "seed": self.seed,
            "splits": list(self.splits),
            "structures": _hash(json.dumps(self.structures).encode()) if self.structures else None,
            "clock_share": self.clock_share,
            "test_columns": [*TEST_COLUMNS] if self.test_columns else None,
            "freehand": _hash(plan.FREEHAND.read_bytes()) if "freehand" in self.splits else None,
        }

    def audio_name(self, split: str, index: int) -> str:
        """The file of a song, relative to the folder of the corpus."""
        return f"audio/{split}/{index:05d}.{self.size.audio_format}"

    def check(self) -> None:
        """Raises a ValueError if an argument is out of range."""
        if self.seed < 0:
            raise ValueError(f"`seed` must not be negative, got {self.seed}")
        if not 0 <= self.clock_share <= 1:
            raise ValueError(f"`clock_share` must lie in [0, 1], got {self.clock_share}")
        for split in self.splits:
            count = self.size.num_songs.get(split, 0)
            if count < 1:
                raise ValueError(f"`num_songs` must name at least one song of the split {split!r}, got {count}")
            if split in plan.GROUPED_SPLITS and count % plan.GROUP_SIZE:
                raise ValueError(f"`num_songs` of {split!r} must be a multiple of {plan.GROUP_SIZE}, got {count}")
            if split == "structures" and not self.structures:
                raise ValueError("the split 'structures' needs `structures`, section layouts of real songs")
            if split == "freehand" and count > len(read_freehand()):
                raise ValueError(f"`num_songs` of 'freehand' must be at most {len(read_freehand())}, got {count}")


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def describe_song(song: Song, audio: str, recipe: Recipe) -> dict:
    """The line of the manifest of one song, as README.md documents it; `audio` is the song's file."""
    bounds = song.section_bounds
    line = {
        "audio": audio,
        "duration_s": bounds[-1][1] / SAMPLING_RATE,
        "tempo_bpm": song.beats_per_minute,
        "group": song.group,
        "sections": [
            {
                "start_s": start / SAMPLING_RATE,
                "end_s": end / SAMPLING_RATE,
                "label": section.label,
                "tags": song.tags(section),
                "words": " ".join(word for word, _ in place_words(song, section)),
            }
            for section, (start, end) in zip(song.sections, bounds, strict=True)
        ],
    }
    if song.split == "train":
        _add_training_captions(line, song, recipe)
        return line
    _add_texts(line, song, recipe)
    if recipe.test_columns:
        _add_paraphrases(line, song)
    if song.split == "freehand":
        described = read_freehand()[song.index]
        (entry,) = [entry for entry in line["sections"] if entry["tags"] == described["tags"]]
        entry["query_freehand"] = described["text"]
        entry["query_tags_freehand"] = _surely_told(entry["tags"])
    return line


def _writer(song: Song, recipe: Recipe, purpose: str, wording: str = "seen", clock_times: bool = False):
    rng = random_stream(recipe.seed, stream_of(song.split), song.index, purpose)
    return CaptionWriter(wording, rng, clock_times)


def _add_training_captions(line: dict, song: Song, recipe: Recipe) -> None:
    captions = []
    for number in range(NUM_TRAINING_WORDINGS):
        # Every fourth for a share of 1/4.
        told = int((number + 1) * recipe.clock_share) > int(number * recipe.clock_share)
        captions.append(_writer(song, recipe, f"caption {number}", clock_times=told).write(song))
    line["texts"] = [caption.sentences for caption in captions]
    for place, entry in enumerate(line["sections"]):
        entry["sentences"] = [caption.section_sentences[place] for caption in captions]


def _add_texts(line: dict, song: Song, recipe: Recipe) -> None:
    """Adds a caption and a query a section in each wording, in columns with its suffix."""
    is_test = song.split not in plan.TRAINING_SPLITS
    for wording, suffix in {"seen": "", "new": "_new"}.items() if is_test else [("seen", "")]:
        purpose = f"caption {wording}"
        caption = _writer(song, recipe, purpose, wording).write(song)
        line[f"text{suffix}"] = caption.sentences
        if recipe.test_columns and is_test:
            # The same random stream gives the same sentences, so nothing but the times differs from the caption above.
            line[f"text{suffix}_clock"] = _writer(song, recipe, purpose, wording, True).write(song).sentences
        for place, entry in enumerate(line["sections"]):
            query = _writer(song, recipe, f"query {wording} {place}", wording).query(song.sections[place])
            entry[f"sentences{suffix}"] = caption.section_sentences[place]
            entry[f"query{suffix}"] = query.sentences
            if recipe.test_columns and is_test:
                entry[f"text_tags{suffix}"] = caption.section_tags[place]
                entry[f"query_tags{suffix}"] = query.tags


def _add_paraphrases(line: dict, song: Song) -> None:
    """Adds the texts that are stored of this very song: of its split and number, with the same labels and tags."""
    stored = _stored_paraphrases().get((stream_of(song.split), song.index, _plan_hash(line)))
    if stored is None:
        return
    line.update(stored["columns"])
    for entry, columns in zip(line["sections"], stored["sections"], strict=True):
        entry.update(columns)
        # At least these: some queries also tell the key, the mode or the tempo.
        entry["text_tags_paraphrase"] = entry["query_tags_paraphrase"] = _surely_told(entry["tags"])


@cache
def _stored_paraphrases() -> dict[tuple[str, int, str], dict]:
    """Stored texts by split, number and plan of the song; texts/README.md documents the files."""
    found = {}
    for path in sorted(TEXTS.glob("*.jsonl.xz")):
        with lzma.open(path, "rt", encoding="utf-8") as lines:
            for stored in map(json.loads, lines):
                found[stored["split"], stored["song"], stored["plan"]] = stored
    return found


def _plan_hash(line: dict) -> str:
    """Tells songs apart that have the same split and number, but another seed or other instruments."""
    sections = [[section["label"], *(section["tags"][tag] for tag in TAGS)] for section in line["sections"]]
    return _hash(json.dumps(sections).encode())


def _surely_told(tags: dict[str, str]) -> list[str]:
    """What every text of another writer tells: that nobody speaks may be left unsaid."""
    return [*ALWAYS_TOLD] if tags["voice"] == "none" else [*ALWAYS_TOLD, "voice"]


def build_corpus(output_dir: Path, recipe: Recipe, num_processes: int = 1) -> None:
    """
    Makes (or finishes) a corpus.

    The folder holds `{split}.jsonl`, `audio/{split}/{index}.wav` and `corpus.json`. Its content does not depend on the
    number of processes.

    Raises:
        ValueError: if an argument is out of range, or the folder holds a corpus made with other arguments.
    """
    recipe.check()
    arguments = recipe.arguments()
    jobs = [(split, index) for split in recipe.splits for index in range(recipe.size.num_songs[split])]
    names = [*(f"{split}.jsonl" for split in recipe.splits), *(recipe.audio_name(*job) for job in jobs)]
    if _is_finished(output_dir, arguments) and all((output_dir / name).is_file() for name in names):
        return
    write_json(output_dir / CORPUS_FILE, {"arguments": arguments, "finished": False})
    make = partial(make_song, output_dir, recipe)
    lines: dict[str, list[str]] = {split: [] for split in recipe.splits}
    with ExitStack() as stack:
        if num_processes == 1:
            results = map(make, jobs)
        else:
            # "spawn": the caller may have threads (torch), which a forked process would not survive.
            spawn = get_context("spawn")
            pool = ProcessPoolExecutor(num_processes, mp_context=spawn, initializer=_leave_with_parent)
            stack.callback(pool.shutdown, cancel_futures=True)  # an error or Ctrl-C renders no more songs
            results = pool.map(make, jobs, chunksize=4)
        bar = progress_bar(results, total=len(jobs), unit="song", desc="song corpus")
        for (split, _), line in zip(jobs, bar, strict=True):
            lines[split].append(line)
    for leftover in output_dir.rglob(".*.tmp.*"):  # of a build that was killed
        leftover.unlink()
    for split in recipe.splits:
        with atomic_write(output_dir / f"{split}.jsonl") as temporary:
            temporary.write_text("".join(f"{line}\n" for line in lines[split]), encoding="utf-8")
    write_json(output_dir / CORPUS_FILE, {"arguments": arguments, "finished": True})
    if recipe.test_columns:
        _warn_of_missing_texts(lines)


def make_song(output_dir: Path, recipe: Recipe, job: tuple[str, int]) -> str:
    """Renders one song, unless its file is there, and gives its line of the manifest."""
    song = draw_song(recipe.size, recipe.seed, *job, recipe.structures)
    name = recipe.audio_name(*job)
    if not (output_dir / name).is_file():
        with atomic_write(output_dir / name) as temporary:
            soundfile.write(temporary, play_song(song), SAMPLING_RATE, subtype="PCM_16")
    return json.dumps(describe_song(song, name, recipe), ensure_ascii=False)


def _warn_of_missing_texts(lines: dict[str, list[str]]) -> None:
    counts = {split: sum('"text_paraphrase": ' not in line for line in own) for split, own in lines.items()}
    missing = [f"{count} songs of {split}" for split, count in counts.items() if count and split != "train"]
    if missing:
        message = f"No text_paraphrase is stored for {', '.join(missing)}: see {TEXTS / 'README.md'}"
        warnings.warn(message, stacklevel=3)


def _is_finished(output_dir: Path, arguments: dict) -> bool:
    """Whether the folder's `corpus.json` says so. Raises a ValueError if it names other arguments."""
    path = output_dir / CORPUS_FILE
    if not path.is_file():
        return False
    record = json.loads(path.read_text(encoding="utf-8"))
    before = record["arguments"]
    # An argument that is not there is one that changes nothing: it came later, or has gone.
    changed = [name for name in {**arguments, **before} if (before.get(name) or None) != (arguments.get(name) or None)]
    if changed:
        raise ValueError(
            f"`output_dir` {output_dir} holds a corpus with other arguments: "
            + "; ".join(f"{name} was {before.get(name)}, now {arguments.get(name)}" for name in changed)
            + ". Take another folder, or delete this one."
        )
    return record["finished"]


def _leave_with_parent() -> None:
    """Ends this worker when its parent is gone: the workers of a killed build would wait forever."""

    def watch() -> None:
        parent_process().join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
