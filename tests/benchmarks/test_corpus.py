# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""The song corpus: builds, manifests, stored texts, and sound."""

import hashlib
import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile

from benchmarks.corpus import audio
from benchmarks.corpus.build import Recipe, build_corpus, describe_song
from benchmarks.corpus.captions import PHRASES
from benchmarks.corpus.plan import (
    LONG_MINUTES,
    SIZES,
    SPLITS,
    TRAINING_SPLITS,
    draw_song,
    read_freehand,
)
from benchmarks.corpus.tags import ACCOMPANIMENTS, LEADS, TAG_NAMES, TAGS, is_held_out_pair, window_targets

for package in ("tinysoundfont", "pretty_midi", "espeakng_loader"):
    if find_spec(package) is None:
        pytest.skip(f"the song corpus is rendered with {package}, which is not installed", allow_module_level=True)

DEMO = Recipe(size=SIZES["demo"])
BENCHMARK = Recipe(size=SIZES["small"], splits=SPLITS, test_columns=True)
FULL = replace(BENCHMARK, size=SIZES["full"])
NUM_SONGS = {
    "validation_order": 4,
    "train": 3,
    "content": 2,
    "order": 4,
    "near_duplicates": 4,
}  # 1 of all others
STRUCTURES = ((("intro", 8.0), ("verse", 24.0), ("chorus", 16.0), ("verse", 24.0), ("outro", 12.0)),)
TINY_SIZE = replace(
    SIZES["demo"],
    num_songs={split: NUM_SONGS.get(split, 1) for split in SPLITS},
    min_duration_s=30.0,
    max_duration_s=40.0,
)
TINY = Recipe(size=TINY_SIZE, splits=SPLITS, structures=STRUCTURES)
CLOCK_RANGE = r" \(\d+:\d\d to \d+:\d\d\)"


def read_lines(folder: Path, split: str) -> list[dict]:
    return [json.loads(line) for line in (folder / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()]


def lines_of(split: str, count: int, recipe: Recipe = BENCHMARK) -> list[dict]:
    """The first lines of the manifest of a split; no audio is made."""
    songs = [draw_song(recipe.size, recipe.seed, split, index) for index in range(count)]
    return [describe_song(song, "a", recipe) for song in songs]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("songs")
    build_corpus(folder, TINY)
    return folder


# Builds


def test_the_result_depends_neither_on_processes_nor_on_other_songs(corpus, tmp_path):
    splits = ("train", "content", "order")
    size = replace(TINY_SIZE, num_songs={"train": 2, "content": 1, "order": 4})
    build_corpus(tmp_path, replace(TINY, size=size, splits=splits), num_processes=2)
    for split in splits:
        lines = read_lines(tmp_path, split)
        assert lines == read_lines(corpus, split)[: len(lines)]
    rendered = contents(tmp_path / "audio")
    assert rendered == {name: content for name, content in contents(corpus / "audio").items() if name in rendered}


def test_a_stopped_build_goes_on(corpus, tmp_path, monkeypatch):
    stopped = tmp_path / "stopped"
    shutil.copytree(corpus, stopped)
    (stopped / "audio/train/00001.wav").unlink()
    (stopped / "train.jsonl").unlink()
    (stopped / "audio/content/.00000.123.tmp.wav").write_bytes(b"half a song")
    played = []

    def play_song(song) -> np.ndarray:
        played.append(song.index)
        return audio.play_song(song)

    monkeypatch.setattr("benchmarks.corpus.build.play_song", play_song)
    build_corpus(stopped, TINY)
    assert played == [1]
    assert contents(stopped) == contents(corpus)
    monkeypatch.setattr("benchmarks.corpus.build.make_song", None)  # a finished corpus is left as it is
    build_corpus(stopped, TINY)


@pytest.mark.parametrize("change", [{"seed": 1}, {"test_columns": True}, {"splits": ("train",)}])
def test_a_folder_of_other_arguments_is_refused(corpus, change):
    before = contents(corpus)
    with pytest.raises(ValueError, match=rf"(?s)output_dir.*{next(iter(change))} was"):
        build_corpus(corpus, replace(TINY, **change))
    assert contents(corpus) == before


@pytest.mark.parametrize(
    ("split", "changes", "match"),
    [
        ("test", {}, "num_songs.*test"),
        ("order", {"size": {"num_songs": {"order": 6}}}, "num_songs.*order"),
        ("train", {"clock_share": 1.5}, "clock_share"),
    ],
)
def test_wrong_arguments(tmp_path, split, changes, match):
    size = replace(TINY_SIZE, **changes.get("size", {}))
    with pytest.raises(ValueError, match=match):
        build_corpus(tmp_path / "songs", replace(TINY, splits=(split,), **changes | {"size": size}))
    assert not (tmp_path / "songs").exists()


def test_command(tmp_path):
    marks = [[0.0, "silence"], [1.0, "intro"], [9.0, "verse2"], [30.0, "solo"], [50, "chorus"], [60, "end"]]
    (tmp_path / "layouts.jsonl").write_text(json.dumps({"sections": marks}))
    command = [sys.executable, "-m", "benchmarks.corpus", "--output_dir", str(tmp_path / "songs")]
    command += ["--num_processes", "2", "--splits", "structures", "--num_songs", "structures=1", "--test_columns"]
    command += ["--structures", str(tmp_path / "layouts.jsonl")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert str(tmp_path / "songs") in done.stdout
    assert "text_paraphrase is stored for 1 songs of structures" in done.stderr  # of this layout
    (line,) = read_lines(tmp_path / "songs", "structures")
    assert [section["label"] for section in line["sections"]] == ["intro", "verse", "interlude", "chorus"]
    refused = subprocess.run([*command, "--seed", "5"], capture_output=True, text=True)
    assert refused.returncode == 2
    assert "seed was 0, now 5" in refused.stderr


# Manifests


@pytest.mark.parametrize(
    ("recipe", "split", "digest"),
    [
        (DEMO, "train", "fc2ebdc02ec35c81"),
        (DEMO, "validation", "ea5311a047063940"),
        (DEMO, "content", "87332b4129fd6ee2"),
        (DEMO, "order", "094b663a1d1d5221"),
        (BENCHMARK, "validation", "1c8588072933514b"),
        (BENCHMARK, "content", "6e5b0e7649ca08da"),
        (BENCHMARK, "order", "e7c53f67bd965fa5"),
        (BENCHMARK, "long_20", "c08b969028c50ff2"),
        (BENCHMARK, "freehand", "56657ec2c64f91b1"),
        (FULL, "content", "2db7197804b0fcf6"),
    ],
)
def test_manifests_stay_as_they_were_published(recipe, split, digest):
    """Every text, the stored ones too. A change of them changes all results: it raises CORPUS_VERSION."""
    written = "".join(json.dumps(line, ensure_ascii=False) for line in lines_of(split, 4, recipe))
    assert hashlib.sha256(written.encode()).hexdigest()[:16] == digest


def test_sections_cover_the_audio(corpus):
    for split in SPLITS:
        lines = read_lines(corpus, split)
        assert len(lines) == TINY_SIZE.num_songs[split]
        for line in lines:
            samples, rate = soundfile.read(corpus / line["audio"], dtype="int16")
            assert (rate, samples.shape) == (16_000, (round(16_000 * line["duration_s"]),))
            assert 0.02 * 32767 < np.abs(samples.astype(int)).max() <= np.ceil(audio.PEAK * 32767)
            seconds = samples[: len(samples) // rate * rate].reshape(-1, rate) / 32767
            assert np.sqrt((seconds**2).mean(axis=1)).min() > 0.001  # no second of silence
            bounds = [(section["start_s"], section["end_s"]) for section in line["sections"]]
            assert (bounds[0][0], bounds[-1][1]) == (0, line["duration_s"])
            assert all(before[1] == after[0] for before, after in pairwise(bounds))
            assert all(end - start >= 6 for start, end in bounds)
            for section in line["sections"]:
                assert all(section["tags"][tag] in names for tag, names in TAGS.items())
                assert bool(section["words"]) == (section["tags"]["voice"] != "none")
            if split in TRAINING_SPLITS:
                tags = [section["tags"] for section in line["sections"]]
                assert not any(is_held_out_pair(values["lead"], values["accompaniment"]) for values in tags)


@pytest.mark.parametrize("split", ["train", "validation", "content"])
def test_training_takes_the_sections(corpus, split):
    manifest = pytest.importorskip("collap.data.manifest", reason="the manifest reader needs the extra 'train'")
    for row, line in zip(manifest.load_manifest(corpus / f"{split}.jsonl"), read_lines(corpus, split), strict=True):
        texts = line["texts"] if split == "train" else [line["text"]]
        assert len({" ".join(text) for text in texts}) == (16 if split == "train" else 1)
        for number, text in enumerate(texts):
            for taken, section in zip(row["sections"], line["sections"], strict=True):
                sentences = section["sentences"][number] if split == "train" else section["sentences"]
                expected = [text[index] for index in sentences]
                assert (taken["texts"][number] if split == "train" else taken["text"]) == expected
                assert 1 <= len(expected) <= 3


def test_groups(corpus):
    lines = read_lines(corpus, "order")
    pieces = []
    for line in lines:
        samples, _ = soundfile.read(corpus / line["audio"], dtype="int16")
        cuts = [round(section["start_s"] * 16_000) for section in line["sections"][1:]]
        pieces.append([piece.tobytes() for piece in np.split(samples, cuts)])
    assert len({tuple(song) for song in pieces}) == 4
    assert all(sorted(song) == sorted(pieces[0]) for song in pieces)  # the same sections, sample for sample
    assert len({tuple(section["label"] for section in line["sections"]) for line in lines}) == 1

    lines = read_lines(corpus, "near_duplicates")
    tags = [[section["tags"] for section in line["sections"]] for line in lines]
    (place,) = [place for place in range(len(tags[0])) if any(song[place] != tags[0][place] for song in tags)]
    assert len({(song[place]["lead"], song[place]["accompaniment"]) for song in tags}) == 4
    start, end = (round(lines[0]["sections"][place][name] * 16_000) for name in ("start_s", "end_s"))
    first, other = (soundfile.read(corpus / line["audio"])[0] for line in lines[:2])
    assert np.array_equal(first[:start], other[:start])
    assert np.array_equal(first[end:], other[end:])
    assert (first - other)[start:end].std() > 0.3 * other[start:end].std()


def test_long_songs_differ_in_their_length_only():
    for index in range(10):
        songs = {split: draw_song(SIZES["small"], 0, split, index) for split in LONG_MINUTES}
        for split, song in songs.items():
            bar_s = song.bar_samples / 16_000
            assert song.section_bounds[-1][1] / 16_000 == pytest.approx(60 * LONG_MINUTES[split], abs=bar_s)
        plans = {tuple(replace(section, num_bars=0) for section in song.sections) for song in songs.values()}
        assert len(plans) == 1
    short, long = (lines_of(split, 5) for split in ("long_2", "long_20"))
    texts = ("text", "text_new", "text_paraphrase")
    assert [[line[name] for name in texts] for line in short] == [[line[name] for name in texts] for line in long]
    assert short[0]["text_clock"] != long[0]["text_clock"]


def test_pairs_of_instruments_are_held_out():
    pairs = [is_held_out_pair(lead, accompaniment) for lead in LEADS for accompaniment in ACCOMPANIMENTS]
    assert np.mean(pairs) == pytest.approx(0.2, abs=0.03)
    for song in (draw_song(SIZES["small"], 0, "instrument_pairs", index) for index in range(30)):
        for section in song.sections:
            assert section.lead == "none" or is_held_out_pair(section.lead, section.accompaniment)


def test_descriptions_by_hand():
    """Song i holds the section that line i describes, and no other song does."""
    described = read_freehand()
    lines = lines_of("freehand", len(described))
    for line, given in zip(lines, described, strict=True):
        (section,) = [section for section in line["sections"] if "query_freehand" in section]
        assert (section["tags"], section["query_freehand"]) == (given["tags"], given["text"])


# Captions and queries


def test_wordings_share_no_phrase():
    phrases: dict[str, set[str]] = {"seen": set(), "new": set()}

    def collect(table: dict) -> None:
        for key, value in table.items():
            if key in phrases:
                phrases[key] |= set(map(str, value))
            else:
                collect(value)

    collect(PHRASES)
    assert len(phrases["seen"]) > 250
    assert not phrases["seen"] & phrases["new"]


def test_captions_with_times_say_the_same():
    for line in [line for split in ("content", "order", "long_5") for line in lines_of(split, 4)]:
        for column in ("text", "text_new"):
            told = line[f"{column}_clock"]
            assert not re.search(r"\d", " ".join(line[column]))
            assert [re.sub(CLOCK_RANGE, "", sentence) for sentence in told] == line[column]
            ends = [60 * int(m) + int(s) for m, s in re.findall(r"to (\d+):(\d\d)\)", " ".join(told))]
            assert ends == pytest.approx([section["end_s"] for section in line["sections"]], abs=0.51)
    (line,) = lines_of("train", 1, replace(BENCHMARK, clock_share=0.25))
    assert [place for place, text in enumerate(line["texts"]) if ":" in " ".join(text)] == [3, 7, 11, 15]


# Sound


def test_notes_do_not_depend_on_earlier_notes():
    first = audio._raw_note(73, 72, 0.5)
    audio._raw_note(30, 40, 0.5)
    audio._raw_note(audio.DRUM_KIT, 46, 0.5)
    assert np.array_equal(audio._raw_note(73, 72, 0.5), first)


def test_window_targets():
    tags = {tag: names[0] for tag, names in TAGS.items()} | {"lead": "flute"}
    sections = [{"start_s": 0.0, "end_s": 10.0, "tags": tags}]
    sections.append({"start_s": 10.0, "end_s": 20.0, "tags": tags | {"lead": "violin"}})
    targets = dict(zip(TAG_NAMES, window_targets(sections, 7.0, 11.0).tolist(), strict=True))
    assert (targets["lead=flute"], targets["lead=violin"], targets["key=C"]) == (0.75, 0.25, 1.0)
    assert sum(targets.values()) == pytest.approx(len(TAGS))
