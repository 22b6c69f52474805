# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Songs as the manifest of the song corpus describes them, drawn without a sound."""

import numpy as np

from benchmarks.corpus.plan import LAYOUTS, VOICE_SHARES
from benchmarks.corpus.tags import TAGS


def fake_song(seed: int, num_sections: int | None = None) -> dict:
    """The parts of a manifest's line that a text is written from."""
    rng = np.random.default_rng(seed)
    num_sections = num_sections or int(rng.integers(4, 9))
    fitting = [layout for layout in LAYOUTS if len(layout) == num_sections]
    labels = fitting[int(rng.integers(len(fitting)))] if fitting else ("verse", "interlude") * (num_sections // 2)
    whole = {tag: str(rng.choice(TAGS[tag])) for tag in ("key", "mode", "tempo")}
    sections = []
    for label in labels:
        tags = {tag: str(rng.choice(names)) for tag, names in TAGS.items() if tag not in whole}
        tags["voice"] = str(rng.choice(list(VOICE_SHARES), p=list(VOICE_SHARES.values())))
        sections.append({"label": label, "tags": tags | whole})
    return {"sections": sections}
