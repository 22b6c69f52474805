# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""
Public sets: one converter each, from the published files to a manifest and `provenance.json`.

A new set is a file here with a `read` function and a [`SetConverter`], and its entry in `SETS`.
"""

from .castella import CASTELLA
from .converter import SetConverter
from .futga import FUTGA
from .musiccaps import MUSICCAPS
from .song_describer import SONG_DESCRIBER
from .speech_transcripts import SPEECH_TRANSCRIPTS
from .wikimute import WIKIMUTE

SETS: dict[str, SetConverter] = {
    converter.name: converter
    for converter in (SONG_DESCRIBER, MUSICCAPS, FUTGA, CASTELLA, WIKIMUTE, SPEECH_TRANSCRIPTS)
}
