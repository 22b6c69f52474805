# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Descriptions of songs in German: as those of `paraphrases.py`, with wordings enough to train on them."""

from collections.abc import Mapping

import numpy as np

from . import paraphrase_german
from .paraphrases import write_query, write_within


def write_german(song: Mapping, rng: np.random.Generator) -> tuple[list[str], list[list[int]]]:
    """Describes a whole song in 150 to 350 German words (for 4 to 8 sections; 45 more for each further one).

    Args:
        song: a line of the manifest; of its `sections` the `label` and the `tags` are read.
        rng (`np.random.Generator`): draws all wordings.

    Returns:
        The sentences, and for each section the indices of the sentences that describe it, in the order of the song.

    Raises:
        ValueError: if the song has no section.
    """
    return write_within(paraphrase_german, song, rng)


def write_german_section(section: Mapping, rng: np.random.Generator) -> list[str]:
    """Describes one section by 2 or 3 German sentences that stand alone and do not say where in a song it is.

    Args:
        section: a section of a line of the manifest; its `tags` are read.
        rng (`np.random.Generator`): draws all wordings.
    """
    return write_query(paraphrase_german, section, rng)
