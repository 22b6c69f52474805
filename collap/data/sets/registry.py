# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Which sets there are to evaluate on, what each is, where it is from, and how it is loaded."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from collap.data.evaluation_set import EvaluationSet
from collap.data.sets.audioset_eval import load_audioset_eval
from collap.data.sets.harmonixset import load_harmonixset
from collap.data.sets.manifest import load_manifest_set
from collap.data.sets.old_castella import load_castella
from collap.data.sets.old_musiccaps import load_musiccaps
from collap.data.sets.old_song_describer import load_song_describer
from collap.data.sets.old_speech_transcripts import load_speech_transcripts
from collap.data.sets.old_wikimute import load_wikimute
from collap.data.sets.song_corpus import load_song_corpus

FUTGA = "hf download JoshuaW1997/FUTGA --repo-type dataset"
NO_ROW = "no row of the paper"


@dataclass(frozen=True)
class SetEntry:
    """
    A set, as a command offers it.

    Args:
        load (`Callable[..., EvaluationSet]`): `load(data_dir, audio_dir=None, **arguments)`.
        summary (`str`): What it is, in a line.
        download (`str`): What to get from where.
        licence (`str`): Of the texts and of the audio.
        paper_row (`str`): Which evaluation of CoLLAP's paper (arXiv 2410.02271) it is.
        arguments (`Mapping[str, str]`): What else `load` takes, and what it means.
    """

    load: Callable[..., EvaluationSet]
    summary: str
    download: str
    licence: str
    paper_row: str
    arguments: Mapping[str, str] = field(default_factory=dict)


_TIMES = "removed or kept: the sections' times in FUTGA's captions (default: removed)"
_COLUMNS = {
    "id_column": "column of the songs' ids in FUTGA's table (default: told by names and contents)",
    "caption_column": "column of its captions (default: likewise)",
}

SETS: Mapping[str, SetEntry] = MappingProxyType(
    {
        "song_describer": SetEntry(
            load_song_describer,
            "Song Describer: 706 songs of 2 minutes, described by people or by FUTGA",
            "song_describer.csv and audio.zip of zenodo.org/records/10072001",
            "CC BY-SA 4.0 (captions); a Creative Commons licence of each song's own",
            "retrieval on SongDescriber",
            {
                "subset": "full (706 songs, 1,106 captions) or valid (546, 746) (default: full)",
                "captions": "people or futga (default: people)",
                "times": _TIMES,
                "futga_csv": "FUTGA's table (default: SongDescriber.csv in the folder of data)",
                **_COLUMNS,
            },
        ),
        "musiccaps": SetEntry(
            load_musiccaps,
            "MusicCaps: 5,521 clips of 10 s described by musicians, or their whole songs by FUTGA",
            f"musiccaps-public.csv: hf download google/MusicCaps --repo-type dataset; {FUTGA} MusicCaps.csv; audio: "
            "YouTube, by the ids",
            "CC BY-SA 4.0 (captions), Apache-2.0 (FUTGA's); audio: that of YouTube videos",
            "retrieval on MusicCaps (with captions=futga)",
            {
                "captions": "musicians or futga (default: musicians)",
                "subset": "all (5,521), audioset_eval (2,858) or balanced (1,000) (default: all)",
                "times": _TIMES,
                "futga_csv": "FUTGA's table (default: MusicCaps.csv in the folder of data)",
                **_COLUMNS,
            },
        ),
        "audioset_eval": SetEntry(
            load_audioset_eval,
            "AudioSet-Eval: songs of AudioSet's evaluation split, described by FUTGA",
            f"{FUTGA} AudioSet-Eval.csv; audio: YouTube, by the ids",
            "Apache-2.0 (captions); audio: that of YouTube videos",
            "retrieval on AudioSet-Eval",
            {"times": _TIMES, **_COLUMNS},
        ),
        "harmonixset": SetEntry(
            load_harmonixset,
            "The Harmonix Set: whole pop songs (912 in all), described by FUTGA",
            f"{FUTGA} Harmonixset.csv; dataset/youtube_urls.csv of github.com/urinieto/harmonixset; audio: your "
            "own, or YouTube",
            "MIT (the set), Apache-2.0 (captions); audio: under its owners' copyright",
            "retrieval on HarmonixSet",
            {"times": _TIMES, **_COLUMNS},
        ),
        "speech_transcripts": SetEntry(
            load_speech_transcripts,
            "Speech transcripts and their recordings, joined to long tracks: LibriSpeech's layout, or a manifest",
            "test-clean.tar.gz of openslr.org/12; or the manifest that benchmarks/spoken_digits writes",
            "CC BY 4.0 (LibriSpeech)",
            "of the kind of its zero-shot transfer, speech transcript to audio; not verified to be its recordings",
            {
                "unit": "chapter (joined) or utterance (default: chapter)",
                "max_s": "longest track in seconds; longer chapters are cut (default: none)",
                "pause_s": "silence between utterances in seconds (default: 0.3)",
                "case": "sentence or published: how transcripts are written (default: sentence)",
                "joined_dir": "where tracks are written (default: beside the folder of the utterances)",
            },
        ),
        "wikimute": SetEntry(
            load_wikimute,
            "WikiMuTe: recordings in Wikipedia, and what its articles say of the music",
            "all.csv, filtered_sf.csv, filtered_mc.csv of zenodo.org/records/10223363; audio: by the script in "
            "github.com/Bomme/wikimute",
            "CC BY-SA 3.0 (texts); a licence of each recording's own",
            "of the kind of its zero-shot transfer, Wikipedia to music; not verified to be its texts",
            {
                "table": "all, filtered_sf or filtered_mc (default: all)",
                "texts": "page, sentence or aspects: what makes a query (default: page)",
            },
        ),
        "castella": SetEntry(
            load_castella,
            "CASTELLA: long recordings, and captions of moments with their boundaries",
            "json/ of github.com/line/CASTELLA; audio: by the script in github.com/h-munakata/CASTELLA-audio",
            "CC BY 4.0 (annotations); audio: that of YouTube videos",
            NO_ROW,
            {
                "split": "test (640 recordings), val (213) or train (1,009) (default: test)",
                "language": "en or ja (default: en)",
                "captions": "moments or global (default: moments)",
            },
        ),
        "song_corpus": SetEntry(
            load_song_corpus,
            "The song corpus: rendered songs with long captions, whole or of one section",
            "nothing: benchmarks/corpus renders it",
            "the builder's own",
            NO_ROW,
            {
                "split": "validation, content, order, near_duplicates, ... (default: content)",
                "column": "text, text_new, text_paraphrase, ..., or query, query_new, ... of sections (default: text)",
            },
        ),
        "manifest": SetEntry(
            load_manifest_set,
            "Your own songs and texts: a manifest as training takes it",
            "nothing",
            "your own",
            NO_ROW,
            {
                "split": "of a data set that has several",
                "column": "all, text or texts (default: all)",
                "name": "of the set, for the result (default: that of the file)",
            },
        ),
    }
)


def load_set(
    name: str, data_dir: str | Path, audio_dir: str | Path | None = None, /, **arguments: Any
) -> EvaluationSet:
    """
    Loads a set by its name.

    Args:
        name (`str`): One of `SETS`.
        data_dir (`str` or `Path`): Folder of the owners' files, or the one of them that matters.
        audio_dir (`str` or `Path`, *optional*): Folder of the songs, if they lie elsewhere.
        arguments: Those of the set, see `SETS[name].arguments`.

    Returns:
        [`EvaluationSet`]

    Raises:
        ValueError: if there is no such set or argument, or what the set itself raises.
    """
    if name not in SETS:
        raise ValueError(f"name must be one of {', '.join(SETS)}, got {name!r}.")
    unknown = [argument for argument in arguments if argument not in SETS[name].arguments]
    if unknown:
        raise ValueError(f"{name} takes the arguments {', '.join(SETS[name].arguments)}, got {', '.join(unknown)}.")
    return SETS[name].load(data_dir, audio_dir, **arguments)


__all__ = ["SETS", "SetEntry", "load_set"]
