# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
# ruff: noqa: E402
"""Tests of examples/song_corpus: songs, manifests, captions, and builds that are stopped and started again."""

import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

for package in ("tinysoundfont", "pretty_midi", "espeakng_loader", "tqdm"):
    if find_spec(package) is None:
        pytest.skip(f"the song corpus is rendered with {package}, which is not installed", allow_module_level=True)


from benchmarks.corpus import audio as song_audio
from benchmarks.corpus import wordings
from benchmarks.corpus.audio import DRUM_PATTERNS, ESPEAK_VOICES, LINES, place_words, spoken_words, write_loop
from benchmarks.corpus.build import Recipe, build_corpus
from benchmarks.corpus.captions import CaptionWriter
from benchmarks.corpus.plan import (
    LAYOUTS,
    SIZES,
    SPLITS,
    TRAINING_SPLITS,
    VOICE_SHARES,
    Section,
    draw_song,
    random_stream,
    read_structures,
)
from benchmarks.corpus.tags import (
    ACCOMPANIMENTS,
    BASSES,
    DRUMS,
    DYNAMICS,
    LEADS,
    TAG_NAMES,
    TAGS,
    TEXTURES,
    is_held_out_pair,
    window_targets,
)

DEMO = SIZES["demo"]
STRUCTURES = ((("intro", 8.0), ("verse", 24.0), ("chorus", 16.0), ("verse", 24.0), ("outro", 12.0)),)
NUM_SONGS = {"validation_order": 4, "train": 3, "content": 2, "order": 4, "near_duplicates": 4}  # 1 of all others
SMALL = Recipe(
    size=replace(
        DEMO,
        num_songs={split: NUM_SONGS.get(split, 1) for split in SPLITS},
        min_duration_s=30.0,
        max_duration_s=40.0,
    ),
    splits=SPLITS,
    structures=STRUCTURES,
)


def rms(audio: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(audio, dtype=np.float64))))


def read_lines(folder: Path, split: str) -> list[dict]:
    return [json.loads(line) for line in (folder / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    return build_corpus(tmp_path_factory.mktemp("songs"), SMALL, progress=False)


@pytest.fixture(scope="module")
def songs():
    """Plans of 200 songs of the demo corpus, without audio."""
    return [draw_song(DEMO, 0, "train", index) for index in range(200)]


# Builds


def test_result_does_not_depend_on_processes(corpus, tmp_path):
    build_corpus(tmp_path, SMALL, num_processes=2, progress=False)
    assert contents(tmp_path) == contents(corpus)


def test_song_does_not_depend_on_other_songs(corpus, tmp_path):
    size = replace(SMALL.size, num_songs={"train": 1, "content": 1})
    build_corpus(tmp_path, replace(SMALL, size=size, splits=("train", "content")), progress=False)
    for split in ("train", "content"):
        assert read_lines(tmp_path, split) == read_lines(corpus, split)[:1]
        assert (tmp_path / f"audio/{split}/00000.wav").read_bytes() == (
            corpus / f"audio/{split}/00000.wav"
        ).read_bytes()


def test_stopped_build_goes_on(corpus, tmp_path, monkeypatch):
    whole = contents(corpus)
    stopped = tmp_path / "stopped"
    shutil.copytree(corpus, stopped)
    (stopped / "audio/train/00001.wav").unlink()
    (stopped / "train.jsonl").unlink()
    (stopped / "audio/content/00000.wav.123.unfinished").write_bytes(b"half a song")
    played = []
    monkeypatch.setattr(
        "benchmarks.corpus.build.play_song", lambda song: played.append(song.index) or song_audio.play_song(song)
    )
    build_corpus(stopped, SMALL, progress=False)
    assert played == [1]  # what is finished is kept
    assert contents(stopped) == whole


def test_finished_corpus_returns_at_once(corpus, monkeypatch):
    def refuse(*_):
        raise AssertionError("a finished corpus is not to be drawn again")

    monkeypatch.setattr("benchmarks.corpus.build.make_song", refuse)
    assert build_corpus(corpus, SMALL, progress=False) == corpus


@pytest.mark.parametrize("change", [{"seed": 1}, {"clock_times": True}, {"splits": ("train",)}])
def test_other_arguments_are_refused(corpus, change):
    before = contents(corpus)
    with pytest.raises(ValueError, match=f"(?s)holds a corpus with other arguments.*{next(iter(change))}"):
        build_corpus(corpus, replace(SMALL, **change), progress=False)
    assert contents(corpus) == before


@pytest.mark.parametrize(
    ("recipe", "match"),
    [
        (replace(SMALL, splits=("test",)), "splits"),
        (replace(SMALL, structures=()), "structures"),
        (replace(SMALL, size=replace(DEMO, num_songs={"order": 6}), splits=("order",)), "multiple of 4"),
        (replace(SMALL, size=replace(DEMO, num_songs={}), splits=("train",)), "num_songs"),
        (replace(SMALL, seed=-1), "seed"),
    ],
)
def test_wrong_arguments(tmp_path, recipe, match):
    with pytest.raises(ValueError, match=match):
        build_corpus(tmp_path / "songs", recipe, progress=False)
    assert not (tmp_path / "songs").exists()


def test_command(tmp_path, corpus):
    (tmp_path / "layouts.jsonl").write_text(
        json.dumps(
            {
                "sections": [
                    [0.0, "silence"],
                    [1.0, "intro"],
                    [9.0, "verse2"],
                    [30.0, "solo"],
                    [50, "chorus"],
                    [60, "end"],
                ]
            }
        )
    )
    command = [
        sys.executable,
        "-m",
        "benchmarks.corpus",
        "--output_dir",
        str(tmp_path / "songs"),
        "--num_processes",
        "2",
    ]
    command += [
        "--splits",
        "structures",
        "--num_songs",
        "structures=1",
        "--structures",
        str(tmp_path / "layouts.jsonl"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert str(tmp_path / "songs") in done.stdout
    assert "100%" in done.stderr
    (line,) = read_lines(tmp_path / "songs", "structures")
    assert [section["label"] for section in line["sections"]] == ["intro", "verse", "interlude", "chorus"]
    refused = subprocess.run([*command, "--seed", "5"], capture_output=True, text=True)
    assert refused.returncode == 2
    assert "other arguments: seed was 0, now 5" in refused.stderr


def test_structures_of_the_harmonix_set_are_read_as_they_are(tmp_path):
    (tmp_path / "0001_song.txt").write_text(
        "0.0 silence\n1.5 intro\n9.5 verse\n33.5 prechorus\n41.5 chorus\n57.5 end\n"
    )
    (tmp_path / "0002_short.txt").write_text("0.0 intro\n8.0 verse\n20.0 end\n")
    (tmp_path / "README.md").write_text("not a song")
    (layout,) = read_structures(tmp_path)
    assert [label for label, _ in layout] == ["intro", "verse", "pre-chorus", "chorus"]
    assert [seconds for _, seconds in layout] == [8.0, 24.0, 8.0, 16.0]


# Manifests


@pytest.mark.parametrize("split", SPLITS)
def test_manifest(corpus, split):
    lines = read_lines(corpus, split)
    assert len(lines) == SMALL.size.num_songs[split]
    for line in lines:
        info = soundfile.info(corpus / line["audio"])
        assert (info.samplerate, info.channels, info.subtype) == (16_000, 1, "PCM_16")
        bounds = [(section["start_s"], section["end_s"]) for section in line["sections"]]
        assert bounds[0][0] == 0
        assert bounds[-1][1] == line["duration_s"] == info.frames / 16_000
        assert all(before[1] == after[0] for before, after in pairwise(bounds))
        assert all(start * 16_000 == pytest.approx(round(start * 16_000), abs=1e-6) for start, _ in bounds)
        assert all(end - start >= 6 for start, end in bounds)
        for section in line["sections"]:
            assert set(section["tags"]) == set(TAGS)
            assert all(name in TAGS[tag] for tag, name in section["tags"].items())
            assert bool(section["words"]) == (section["tags"]["voice"] != "none")
        held_out = [is_held_out_pair(s["tags"]["lead"], s["tags"]["accompaniment"]) for s in line["sections"]]
        assert not (split in TRAINING_SPLITS and any(held_out))


@pytest.mark.parametrize("split", SPLITS)
def test_sentences_of_sections(corpus, split):
    for line in read_lines(corpus, split):
        if split == "train":
            assert len(line["texts"]) == 16
            assert len({" ".join(caption) for caption in line["texts"]}) == 16
            told = [
                (caption, [section["sentences"][number] for section in line["sections"]])
                for number, caption in enumerate(line["texts"])
            ]
        else:
            told = [(line["text"], [section["sentences"] for section in line["sections"]])]
            assert all(1 <= len(section["query"]) <= 3 for section in line["sections"])
        has_new_wording = split not in TRAINING_SPLITS
        assert ("text_new" in line) == has_new_wording
        if has_new_wording:
            told.append((line["text_new"], [section["sentences_new"] for section in line["sections"]]))
            assert all(1 <= len(section["query_new"]) <= 3 for section in line["sections"])
        for caption, indices in told:
            flat = [index for section in indices for index in section]
            assert flat == list(range(1, 1 + len(flat)))  # in order, after the opening sentence
            assert len(caption) - 1 - len(flat) in (1, 2)  # the closing ones
            assert all(1 <= len(section) <= 3 for section in indices)


@pytest.mark.parametrize("split", SPLITS)
def test_training_takes_the_sections(corpus, split):
    """Each song can be cropped and rejoined, in each of its wordings."""
    pytest.importorskip("datasets", reason="the manifest reader needs the extra 'train'")
    from collap.data.manifest import load_manifest
    from collap.training.augmentation import Section, find_section_problem

    rows = load_manifest(corpus / f"{split}.jsonl")
    assert len(rows) == SMALL.size.num_songs[split]
    for row in rows:
        wordings = row["texts"] if split == "train" else [row["text"]]
        for number, text in enumerate(wordings):
            sections = []
            for section in row["sections"]:
                sentences = section["texts"][number] if split == "train" else section["text"]
                sections.append(Section(section["start_s"], section["end_s"], tuple(sentences)))
            assert find_section_problem(text, sections, row["duration_s"]) is None
            assert sum(len(section.sentences) for section in sections) in (len(text) - 2, len(text) - 3)


def test_orders_hold_the_same_sections(corpus):
    lines = read_lines(corpus, "order")
    assert [line["group"] for line in lines] == [0] * 4
    pieces = []
    for line in lines:
        audio, _ = soundfile.read(corpus / line["audio"], dtype="int16")
        cuts = [round(section["start_s"] * 16_000) for section in line["sections"][1:]]
        pieces.append([piece.tobytes() for piece in np.split(audio, cuts)])
    assert len({tuple(song) for song in pieces}) == 4
    assert all(sorted(song) == sorted(pieces[0]) for song in pieces)
    # The words for the places stay where they are: only what is heard there changes.
    assert len({tuple(section["label"] for section in line["sections"]) for line in lines}) == 1


def test_near_duplicates_differ_in_one_section(corpus):
    lines = read_lines(corpus, "near_duplicates")
    tags = [[section["tags"] for section in line["sections"]] for line in lines]
    differing = {
        place
        for song in tags
        for other in tags
        if song is not other
        for place in range(len(song))
        if song[place] != other[place]
    }
    assert len(differing) == 1
    (place,) = differing
    assert len({(song[place]["lead"], song[place]["accompaniment"]) for song in tags}) == 4


# Plans


def test_shares(songs):
    sections = [section for song in songs for section in song.sections]
    for lead in ("none", *list(LEADS)[:10]):
        assert sum(section.lead == lead for section in sections) / len(sections) == pytest.approx(0.09, abs=0.04)
    for voice, share in VOICE_SHARES.items():
        assert sum(section.voice == voice for section in sections) / len(sections) == pytest.approx(share, abs=0.04)
    assert {len(song.sections) for song in songs} == {4, 5, 6, 7, 8}
    assert {len(layout) for layout in LAYOUTS} == {4, 5, 6, 7, 8}


def test_a_fifth_of_the_pairs_is_held_out():
    pairs = [(lead, accompaniment) for lead in LEADS for accompaniment in ACCOMPANIMENTS]
    assert np.mean([is_held_out_pair(*pair) for pair in pairs]) == pytest.approx(0.2, abs=0.03)
    demo = [(lead, accompaniment) for lead in list(LEADS)[:10] for accompaniment in list(ACCOMPANIMENTS)[:8]]
    assert np.mean([is_held_out_pair(*pair) for pair in demo]) == pytest.approx(0.2, abs=0.03)
    tested = [section for index in range(50) for section in draw_song(DEMO, 0, "content", index).sections]
    assert any(is_held_out_pair(section.lead, section.accompaniment) for section in tested)


def test_lengths(songs):
    seconds = np.array([song.section_bounds[-1][1] / 16_000 for song in songs])
    assert seconds.min() >= 60
    assert seconds.max() <= 120
    # Neither the number of sections nor that of words tells how long a song is.
    words = [
        len(" ".join(CaptionWriter("seen", random_stream(0, song.index)).write(song).sentences).split())
        for song in songs
    ]
    assert abs(np.corrcoef(seconds, [len(song.sections) for song in songs])[0, 1]) < 0.2
    assert abs(np.corrcoef(seconds, words)[0, 1]) < 0.2


def test_no_pair_twice_in_a_song(songs):
    for song in songs:
        pairs = Counter((section.lead, section.accompaniment) for section in song.sections)
        assert max(pairs.values()) == 1


# Captions


def _all_strings(value) -> list[str]:
    if isinstance(value, str):
        return [value]
    values = value.values() if isinstance(value, dict) else value
    return [text for item in values for text in _all_strings(item)]


def _phrases(wording: str, *modules) -> list[str]:
    """Every phrase of one wording in the modules' tables of names and frames."""
    phrases = []

    def collect(table):
        if isinstance(table, dict) and set(table) == set(wordings.WORDINGS):
            phrases.extend(_all_strings(table[wording]))
        elif isinstance(table, dict):
            for value in table.values():
                collect(value)

    for module in modules:
        for name, table in vars(module).items():
            if name.isupper():
                collect(table)
    return phrases


def test_wordings_share_no_phrase():
    seen, new = (_phrases(wording, wordings) for wording in wordings.WORDINGS)
    assert len(seen) > 250
    assert not set(seen) & set(new)
    assert len(wordings.MELODY["seen"]) >= 15
    names = {"lead": wordings.LEAD_NAMES, "accompaniment": wordings.ACCOMPANIMENT_NAMES}
    names |= {"bass": wordings.BASS_NAMES, "drums": wordings.DRUM_NAMES, "texture": wordings.TEXTURES}
    for tag, table in names.items():
        assert set(table) == set(TAGS[tag]) - {"none"}


def test_training_captions_hold_no_new_frame(songs):
    texts = [CaptionWriter("seen", random_stream(1, song.index)).write(song).sentences for song in songs]
    trained = " ".join(sentence for text in texts for sentence in text).lower()
    checked = 0
    for frame in _phrases("new", wordings):
        # The longest run of words between two slots tells a frame from others.
        words = max(re.split(r"\{\w+\}", frame.lower()), key=len).strip(" ,")
        if len(words.split()) >= 3:
            checked += 1
            assert words not in trained, frame
    assert checked > 25


@pytest.mark.parametrize(("wording", "clock_times"), [("seen", False), ("new", False), ("seen", True)])
def test_captions(songs, wording, clock_times):
    lengths = []
    for song in songs[:100]:
        caption = CaptionWriter(wording, random_stream(0, song.index), clock_times).write(song)
        text = " ".join(caption.sentences)
        lengths.append(len(text.split()))
        assert len(re.findall(r"\d+:\d\d", text)) == (2 * len(song.sections) if clock_times else 0)
        if not clock_times:
            assert not re.search(r"\d", text)  # no length, no tempo in numbers, no hidden number
        for sentence in caption.sentences:
            assert re.fullmatch(r"[A-Z][^{}]*\.", sentence)
            assert not re.search(r"\ba [aeiou]|\ban [^aeiou]|  | ,|\.\.|;;", sentence)
    assert 200 < np.median(lengths) < 400


def test_times_of_cropped_and_rejoined_songs(songs):
    """Captions that tell times tell them of the pieces: each section's times are as far apart as before, from 0:00."""
    from collap.training.augmentation import Section, StructureAugmentation

    augmentation = StructureAugmentation(section_crop_probability=0.5, section_reorder_probability=0.5)
    generator = torch.Generator().manual_seed(0)
    changed = 0
    for song in songs[:60]:
        caption = CaptionWriter("seen", random_stream(2, song.index), clock_times=True).write(song)
        bounds = [(start / 16_000, end / 16_000) for start, end in song.section_bounds]
        told = [[caption.sentences[index] for index in indices] for indices in caption.section_sentences]
        sections = [Section(*times, tuple(sentences)) for times, sentences in zip(bounds, told, strict=True)]
        drawn = augmentation(caption.sentences, sections, bounds[-1][1], generator)
        if drawn.pieces is None:
            continue
        changed += 1
        ends = [
            [60 * int(minutes) + int(seconds) for minutes, seconds in re.findall(r"(\d+):(\d\d)", sentence)]
            for sentence in drawn.sentences
            if ":" in sentence
        ]
        assert ends[0][0] == 0
        assert all(abs(before[1] - after[0]) <= 1 for before, after in pairwise(ends))
        assert ends[-1][1] == pytest.approx(sum(end - start for start, end in drawn.pieces), abs=1)
    assert changed > 30


def test_caption_names_what_is_heard():
    section = Section("verse", 4, 0, "flute", "harp", "slap bass", "march", "arpeggio", "soft", "female")
    for number in range(20):
        query = " ".join(CaptionWriter("seen", random_stream(number)).query(section).sentences).lower()
        for words in ("flute", "harp", "slap", "march|military", "arpeggio|broken", "quiet|soft|low", "woman|female"):
            assert re.search(words, query), (words, query)


def test_unknown_wording():
    with pytest.raises(ValueError, match="wording"):
        CaptionWriter("old", np.random.default_rng(0))


# Sound


def plain_section(**heard) -> Section:
    nothing = {"lead": "none", "accompaniment": "piano", "bass": "none", "drums": "none", "texture": "pulse"}
    return Section("verse", 4, 1, **(nothing | {"dynamics": "loud", "voice": "none"} | heard))


@pytest.mark.parametrize(
    ("part", "names", "least", "most"),
    [
        ("lead", LEADS, 0.025, 0.25),
        ("accompaniment", ACCOMPANIMENTS, 0.025, 0.15),
        ("bass", BASSES, 0.05, 0.15),
        ("drums", DRUMS, 0.03, 0.15),
    ],
)
def test_levels_of_instruments(part, names, least, most):
    """Every instrument is heard: alone in a loop it reaches the level of its part."""
    bar_samples = 38_400  # 100 beats a minute
    for name in names:
        section = plain_section(**{part: name})
        notes = [note for note in write_loop(section, "D", "major") if note.part == part]
        audio = song_audio._play_loop(section, notes, bar_samples, 4)
        assert np.isfinite(audio).all()
        assert least < rms(audio[: 4 * bar_samples]) < most, name


@pytest.mark.parametrize("texture", TEXTURES)
def test_levels_of_textures(texture):
    song = replace(draw_song(DEMO, 0, "train", 0), beats_per_minute=100)
    levels = [rms(song_audio.play_section(song, plain_section(texture=texture, dynamics=name))) for name in DYNAMICS]
    assert 0.004 < levels[0] < levels[1] / 2 < levels[2] / 4 < 0.1  # 6 dB and more between the dynamics


def test_audio_is_neither_clipped_nor_silent(corpus):
    for path in corpus.rglob("*.wav"):
        audio, _ = soundfile.read(path, dtype="int16")
        assert 0.02 * 32767 < np.abs(audio.astype(int)).max() <= np.ceil(song_audio.PEAK * 32767)
        windows = audio[: len(audio) // 16_000 * 16_000].reshape(-1, 16_000) / 32767
        assert np.sqrt((windows**2).mean(axis=1)).min() > 0.001  # no second of silence


def test_notes_do_not_depend_on_earlier_notes():
    first = song_audio._raw_note.__wrapped__(73, 72, 0.5)
    song_audio._raw_note.__wrapped__(30, 40, 0.5)
    song_audio._raw_note.__wrapped__(song_audio.DRUM_KIT, 46, 0.5)
    assert np.array_equal(song_audio._raw_note.__wrapped__(73, 72, 0.5), first)


def test_score_fits_its_loop():
    for mode in ("major", "minor"):
        for seed in range(20):
            section = replace(plain_section(lead="cello", bass="slap bass", drums="rock"), theme_seed=seed)
            notes = write_loop(section, "B", mode)
            assert all(0 <= note.start < 16 and 0 < note.length <= 4 and 24 <= note.pitch <= 96 for note in notes)
    assert set(DRUM_PATTERNS) == set(DRUMS)


def test_voices():
    spoken = spoken_words()
    assert set(spoken) == {(voice, word) for voice in ESPEAK_VOICES for line in LINES for word in line.split()}
    assert max(len(audio) for audio in spoken.values()) < 0.6 * 16_000
    pitches = {voice: [] for voice in ESPEAK_VOICES}
    for (voice, _), audio in spoken.items():
        for start in range(0, len(audio) - 800, 400):
            frame = audio[start : start + 800]
            correlation = np.correlate(frame, frame, "full")[799:]
            lag = 50 + int(np.argmax(correlation[50:230]))
            if correlation[lag] > 0.5 * correlation[0]:
                pitches[voice].append(16_000 / lag)
    assert 80 < np.median(pitches["male"]) < 120
    assert 220 < np.median(pitches["female"]) < 280


def test_words_are_placed_on_beats():
    for bpm, step in ((66, 1), (114, 1), (140, 2)):
        placed = place_words(3, 6, bpm)
        beats = [beat for _, beat in placed]
        assert beats == sorted(set(beats))
        assert all(beat % step == 0 and 0 <= beat < 24 for beat in beats)
        assert beats[-1] >= 16  # the voice is there until the end


# Targets


def test_window_targets():
    tags = {"lead": "flute", "accompaniment": "harp", "bass": "none", "drums": "rock", "texture": "pulse"}
    tags |= {"dynamics": "loud", "voice": "none", "key": "C", "mode": "major", "tempo": "slow"}
    sections = [
        {"start_s": 0.0, "end_s": 10.0, "tags": tags},
        {"start_s": 10.0, "end_s": 20.0, "tags": tags | {"lead": "violin"}},
    ]
    targets = dict(zip(TAG_NAMES, window_targets(sections, 7.0, 11.0).tolist(), strict=True))
    assert targets["lead=flute"] == 0.75
    assert targets["lead=violin"] == 0.25
    assert targets["drums=rock"] == targets["key=C"] == 1.0
    assert sum(targets.values()) == pytest.approx(len(TAGS))
    with pytest.raises(ValueError, match="end_s"):
        window_targets(sections, 5.0, 5.0)
