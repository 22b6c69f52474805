# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Writes a song's line of the manifest: what is heard when, and its captions and queries in all wordings."""

import numpy as np
from captions import ALWAYS_TOLD, CaptionWriter
from captions_german import write_german, write_german_section
from paraphrases import TEST_STYLES, VALIDATION_STYLE, read_freehand, write_paraphrase, write_section_paraphrase
from recipe import Recipe
from song_plan import SAMPLING_RATE, TRAINING_SPLITS, Section, Song, random_stream
from song_voice import place_words

NUM_TRAINING_WORDINGS = 16


def describe_song(song: Song, audio: str, recipe: Recipe) -> dict:
    """The line of the manifest of one song, as README.md documents it.

    Args:
        song (`Song`): the song.
        audio (`str`): its file, as the manifest is to name it.
        recipe (`Recipe`): of the corpus.

    Returns:
        `dict`: what depends on the arguments only.
    """
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
                "words": _spoken(song, section),
            }
            for section, (start, end) in zip(song.sections, bounds, strict=True)
        ],
    }
    if song.split == "train":
        _add_training_captions(line, song, recipe)
    elif song.split in TRAINING_SPLITS:
        # Nothing is to be chosen by a look at the held-out wordings: one of the other writers is for validation alone.
        _add_texts(line, song, recipe, {"seen": ""})
        if recipe.test_columns:
            _add_paraphrase(line, song, recipe, (VALIDATION_STYLE,))
    else:
        _add_texts(line, song, recipe, {"seen": "", "new": "_new"})
        if recipe.test_columns:
            _add_paraphrase(line, song, recipe, TEST_STYLES)
        if song.split == "freehand":
            _add_freehand(line, read_freehand()[song.index])
    if recipe.german:
        _add_german(line, song, recipe)
    return line


def in_german(line: dict) -> dict:
    """A line of a manifest with the German captions in the place of the English ones, for training on them."""
    texts = "texts" if "texts" in line else "text"
    sections = [section | {"sentences": section["sentences_german"]} for section in line["sections"]]
    return line | {texts: line[f"{texts}_german"], "sections": sections}


def _writer(song: Song, recipe: Recipe, purpose: str, wording: str = "seen", clock_times: bool | None = None):
    rng = random_stream(recipe.seed, song.stream, song.index, purpose)
    return CaptionWriter(wording, rng, recipe.clock_times if clock_times is None else clock_times)


def _add_training_captions(line: dict, song: Song, recipe: Recipe) -> None:
    captions = []
    for number in range(NUM_TRAINING_WORDINGS):
        # Every fourth for a share of 1/4.
        told = int((number + 1) * recipe.clock_share) > int(number * recipe.clock_share)
        writer = _writer(song, recipe, f"caption {number}", clock_times=recipe.clock_times or told)
        captions.append(writer.write(song))
    line["texts"] = [caption.sentences for caption in captions]
    for place, entry in enumerate(line["sections"]):
        entry["sentences"] = [caption.section_sentences[place] for caption in captions]


def _add_texts(line: dict, song: Song, recipe: Recipe, wordings: dict[str, str]) -> None:
    """Adds a caption and a query a section in each wording, in columns with its suffix."""
    with_test_columns = recipe.test_columns and song.split not in TRAINING_SPLITS
    for wording, suffix in wordings.items():
        purpose = f"caption {wording}"
        caption = _writer(song, recipe, purpose, wording).write(song)
        line[f"text{suffix}"] = caption.sentences
        if with_test_columns:
            # The same random stream gives the same sentences, so nothing but the times differs from the caption above.
            line[f"text{suffix}_clock"] = _writer(song, recipe, purpose, wording, True).write(song).sentences
        for place, entry in enumerate(line["sections"]):
            query = _writer(song, recipe, f"query {wording} {place}", wording).query(song.sections[place])
            entry[f"sentences{suffix}"] = caption.section_sentences[place]
            entry[f"query{suffix}"] = query.sentences
            if with_test_columns:
                entry[f"text_tags{suffix}"] = caption.section_tags[place]
                entry[f"query_tags{suffix}"] = query.tags


def _add_paraphrase(line: dict, song: Song, recipe: Recipe, styles: tuple[str, ...]) -> None:
    """Adds a caption and a query a section in the words of one of the other writers."""
    # The styles take turns. A group has one style: its captions are to differ in what they say, not in how.
    style = styles[(song.index if song.group is None else song.group) % len(styles)]
    rng = random_stream(recipe.seed, song.stream, song.index, "caption paraphrase")
    sentences, section_sentences = write_paraphrase(line, style, rng)
    line["paraphrase_style"] = style
    line["text_paraphrase"] = sentences
    for place, entry in enumerate(line["sections"]):
        rng = random_stream(recipe.seed, song.stream, song.index, f"query paraphrase {place}")
        entry["sentences_paraphrase"] = section_sentences[place]
        entry["query_paraphrase"] = write_section_paraphrase(entry, style, rng)
        # At least these: some queries also tell the key, the mode or the tempo.
        entry["text_tags_paraphrase"] = entry["query_tags_paraphrase"] = _surely_told(entry["tags"])


def _add_freehand(line: dict, described: dict) -> None:
    """Adds the description written by hand to the one section that it describes."""
    (entry,) = [entry for entry in line["sections"] if entry["tags"] == described["tags"]]
    entry["query_freehand"] = described["text"]
    entry["query_tags_freehand"] = _surely_told(entry["tags"])


def _surely_told(tags: dict[str, str]) -> list[str]:
    """What every text of another writer tells: that nobody speaks may be left unsaid."""
    return [*ALWAYS_TOLD] if tags["voice"] == "none" else [*ALWAYS_TOLD, "voice"]


def _add_german(line: dict, song: Song, recipe: Recipe) -> None:
    """Adds the captions in German, and a query a section where there is an English one."""

    def stream(purpose: str) -> np.random.Generator:
        return random_stream(recipe.seed, song.stream, song.index, f"german {purpose}")

    if song.split == "train":
        captions = [write_german(line, stream(f"caption {number}")) for number in range(NUM_TRAINING_WORDINGS)]
        line["texts_german"] = [sentences for sentences, _ in captions]
        for place, entry in enumerate(line["sections"]):
            entry["sentences_german"] = [section_sentences[place] for _, section_sentences in captions]
        return
    line["text_german"], section_sentences = write_german(line, stream("caption"))
    for place, entry in enumerate(line["sections"]):
        entry["sentences_german"] = section_sentences[place]
        entry["query_german"] = write_german_section(entry, stream(f"query {place}"))


def _spoken(song: Song, section: Section) -> str:
    if section.voice == "none":
        return ""
    return " ".join(word for word, _ in place_words(section.theme_seed, section.num_bars, song.beats_per_minute))
