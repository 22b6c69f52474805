# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""What a corpus is made of: all that a song and its line in the manifest depend on, beside the split and the index."""

import hashlib
import json
from dataclasses import asdict, dataclass

from paraphrases import FREEHAND
from song_plan import GROUP_SIZE, GROUPED_SPLITS, SPLITS, CorpusSize, freehand_tags, held_out_pairs
from song_tags import ACCOMPANIMENTS, LEADS

CORPUS_FILE = "corpus.json"  # lies in the folder of a corpus and says what it was made with
CORPUS_VERSION = 1  # of the songs and captions that the same arguments give; raised when any of them changes
CLOCK_TIMES_VERSION = 2  # the same for corpora with `clock_times`, whose captions have changed once
TEST_COLUMNS = ("clock", "tags", "paraphrase by three", "validation")  # groups of columns that `test_columns` adds
DEFAULT_SPLITS = ("train", "validation", "content", "order")


@dataclass(frozen=True)
class Recipe:
    """What to make.

    Args:
        size (`CorpusSize`): numbers of songs, their lengths and instruments.
        seed (`int`): another one gives another corpus.
        splits (`tuple[str, ...]`): which to make.
        clock_times (`bool`): whether all captions tell each section's times.
        clock_share (`float`): share of the training captions that tell them (without `clock_times`).
        test_columns (`bool`): whether test songs also get captions with clock times and paraphrases, and record which
            tags each text tells; and validation songs paraphrases by another writer.
        german (`bool`): whether all songs also get captions in German.
        structures: section layouts for the split "structures", as `read_structures` gives them.

    Raises:
        ValueError: if one of them is out of range.
    """

    size: CorpusSize
    seed: int = 0
    splits: tuple[str, ...] = DEFAULT_SPLITS
    clock_times: bool = False
    clock_share: float = 0.0
    test_columns: bool = False
    german: bool = False
    structures: tuple[tuple[tuple[str, float], ...], ...] = ()

    def arguments(self) -> dict:
        """The recipe as it is written to `corpus.json` (the structures by their hash)."""
        size = asdict(self.size)
        size["num_songs"] = {split: self.size.num_songs[split] for split in self.splits}
        arguments = {
            "version": CLOCK_TIMES_VERSION if self.clock_times else CORPUS_VERSION,
            "size": size,
            "seed": self.seed,
            "splits": list(self.splits),
            "clock_times": self.clock_times,
            "structures": _hash(json.dumps(self.structures).encode()) if self.structures else None,
        }
        # Left out as long as they change nothing: folders that were made before they came stay valid.
        later = {
            "clock_share": self.clock_share,
            "test_columns": [*TEST_COLUMNS] if self.test_columns else None,
            "german": self.german,
            "freehand": _hash(FREEHAND.read_bytes()) if "freehand" in self.splits else None,
        }
        return arguments | {name: value for name, value in later.items() if value}

    def check(self) -> None:
        """Raises the errors above; a build calls it before it writes anything."""
        if self.seed < 0:
            raise ValueError(f"`seed` must not be negative, got {self.seed}")
        if not 0 <= self.clock_share <= 1:
            raise ValueError(f"`clock_share` must lie in [0, 1], got {self.clock_share}")
        for split in self.splits:
            if split not in SPLITS:
                raise ValueError(f"`splits` must be among {SPLITS}, got {split!r}")
            count = self.size.num_songs.get(split, 0)
            if count < 1:
                raise ValueError(f"`num_songs` must name at least one song of the split {split!r}, got {count}")
            if split in GROUPED_SPLITS and count % GROUP_SIZE:
                raise ValueError(
                    f"`num_songs` of {split!r} must be a multiple of {GROUP_SIZE} (its groups), got {count}"
                )
        if "structures" in self.splits and not self.structures:
            raise ValueError(
                "the split 'structures' needs `structures`: the file with the section layouts of real songs"
            )
        if "freehand" in self.splits:
            if self.size.num_songs["freehand"] > len(freehand_tags()):
                raise ValueError(
                    f"`num_songs` of 'freehand' can be {len(freehand_tags())} at most, as many as there are "
                    f"descriptions, got {self.size.num_songs['freehand']}"
                )
            leads = {"none", *list(LEADS)[: self.size.num_leads]}
            accompaniments = set(list(ACCOMPANIMENTS)[: self.size.num_accompaniments])
            if any(
                tags["lead"] not in leads or tags["accompaniment"] not in accompaniments for tags in freehand_tags()
            ):
                raise ValueError("`size` lacks instruments that the descriptions of the split 'freehand' name")
        if "instrument_pairs" in self.splits and not held_out_pairs(self.size):
            raise ValueError(
                "`size`: no pair of its instruments is held out: the split 'instrument_pairs' has no songs"
            )


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
