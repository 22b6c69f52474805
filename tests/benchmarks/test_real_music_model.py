# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Real music: targets of crops, metrics of tags, rearranged songs and versions."""

import json
import os
import shutil

import numpy as np
import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from benchmarks import towers as small_towers
from benchmarks.pipeline import Pipeline
from benchmarks.questions import Query
from benchmarks.rank import rearrange_songs
from benchmarks.real_music import towers, versions
from benchmarks.real_music.__main__ import RealMusic
from benchmarks.real_music.__main__ import main as real_music
from collap.files import write_json

TRACK = {"frames_s": 3.0, "tags": [{"0": 50}, {"0": 90, "7": 20}], "level_db": [-20.0, -60.0]}


def test_targets_are_means_over_the_frames_that_a_window_covers():
    frames = towers.frame_targets(TRACK)
    assert frames[:, 0].tolist() == pytest.approx([0.5, 0.9])
    assert frames[:, 7].tolist() == pytest.approx([0.02, 0.2])  # what is not in the list is unlikely
    assert frames[:, -1].tolist() == pytest.approx([0.5, 0.0])  # -20 dB is half of the range, -60 below it
    first, second = towers.crop_targets(TRACK, 2.0, 6.0)
    assert first[0] == pytest.approx((0.5 + 0.9) / 2)
    assert second[0] == pytest.approx(0.9)
    assert towers.crop_targets(TRACK, 7.0, 9.0)[0, 0] == pytest.approx(0.9)  # the last frame goes on


def test_the_loss_is_of_standardised_roots(tmp_path):
    """One tag goes from 4 to 64 %: roots 0.2 and 0.8, of mean 0.5 and deviation 0.3. All else is equal."""
    track = {"frames_s": 3.0, "tags": [{"0": 4}, {"0": 64}], "level_db": [-20.0, -20.0]}
    (tmp_path / "tracks.jsonl").write_text(json.dumps(track) + "\n")
    loss = towers.standardised_loss(tmp_path / "tracks.jsonl")
    targets = torch.from_numpy(towers.frame_targets(track))[None]
    predicted = torch.zeros_like(targets)
    assert loss(predicted, targets).item() == pytest.approx((0.3 / 0.31) ** 2 / 101, rel=1e-4)
    predicted[0, :, 0] = torch.tensor([-0.3, 0.3]) / 0.31
    assert loss(predicted, targets).item() == pytest.approx(0, abs=1e-9)


def test_auc_and_average_precision():
    # From the best: present, absent, present, absent. Three of the four pairs are in order.
    auc, ap = towers.auc_and_ap(np.array([0.1, 0.9, 0.5, 0.7]), np.array([False, True, True, False]))
    assert auc == pytest.approx(3 / 4)
    assert ap == pytest.approx((1 + 2 / 3) / 2)


def test_versions_are_songs_of_an_album_whose_titles_differ_by_a_suffix():
    titles = ["race", "menu", "race_fast", "old"]
    songs = [{"album": "a", "title": title} for title in titles] + [{"album": "b", "title": "menu_fast"}]
    assert versions.find_pairs(songs) == [(0, 2), (2, 0)]


class Times:
    def frame_times(self, num_frames: int, duration_s: float) -> np.ndarray:
        return np.stack((np.arange(num_frames), np.arange(num_frames) + 1.0), axis=1)


def test_a_rearranged_song_has_its_frames_in_whole_sections():
    songs = [{"duration_s": 6.0, "sections": [{"start_s": 2.0 * place} for place in range(count)]} for count in (2, 3)]
    frames = np.arange(6.0)[:, None]
    queries = [Query(0, ["two sections: one other order"]), Query(1, ["text"])]
    gallery, moved, groups = rearrange_songs(Times(), songs, [frames, frames], queries, 3)
    assert moved == [(0, ["text"])]
    assert groups == [1] * 4
    assert np.array_equal(gallery[0], frames)
    assert len({tuple(other[:, 0]) for other in gallery}) == 4
    for other in gallery[1:]:
        found = other[:, 0].tolist()
        assert found != sorted(found) == [0, 1, 2, 3, 4, 5]
        assert sorted((found[place], found[place + 1]) for place in (0, 2, 4)) == [(0, 1), (2, 3), (4, 5)]


def test_pretraining_that_was_stopped_goes_on_as_if_it_had_not(tmp_path, monkeypatch):
    batches = [(torch.randn(2, 32, 128), torch.rand(2, 1, 3)) for _ in range(4)]
    monkeypatch.setattr(small_towers, "crops", lambda *args, first_batch: iter(batches[first_batch:]))
    monkeypatch.setattr(small_towers, "CHECKPOINT_STEPS", 2)
    options = {"labels": small_towers.Labels(3, None, binary_cross_entropy_with_logits), "num_steps": 4}
    whole = small_towers.pretrain("music", None, tmp_path / "whole", **options)
    monkeypatch.setattr(small_towers, "crops", lambda *args, first_batch: (batches[i] for i in (0, 1, 9)))
    with pytest.raises(IndexError):
        small_towers.pretrain("music", None, tmp_path / "stopped", **options)
    monkeypatch.setattr(small_towers, "crops", lambda *args, first_batch: iter(batches[first_batch:]))
    assert (tmp_path / "stopped" / "pretraining.pt").is_file()
    shutil.copytree(tmp_path / "stopped", tmp_path / "shorter")
    shorter = small_towers.pretrain("music", None, tmp_path / "shorter", **options | {"num_steps": 1})
    anew = small_towers.pretrain("music", None, tmp_path / "anew", **options | {"num_steps": 1})
    assert all(map(torch.equal, shorter.parameters(), anew.parameters()))  # what another call has left is not used
    again = small_towers.pretrain("music", None, tmp_path / "stopped", **options)
    for one, other in zip(whole.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)
    assert not (tmp_path / "stopped" / "pretraining.pt").exists()


def test_a_changed_manifest_repeats_the_steps_that_read_it(tmp_path, monkeypatch):
    steps = {}
    monkeypatch.setattr(Pipeline, "run", lambda self, given: steps.update({step.name: step for step in given}))
    monkeypatch.setattr(RealMusic, "read_row", lambda self, name: {})
    for split in ("train", "test", "all"):
        (tmp_path / f"{split}.jsonl").write_text("{}\n")
    given = [f"--data={tmp_path}", f"--output_dir={tmp_path / 'out'}", "--text_model=mini", "--seeds=0"]
    monkeypatch.setattr("benchmarks.real_music.__main__.format_tables", str)
    real_music([*given, "--rows", "mean", "ours"])
    for name in ("mean-0", "ours-0"):
        (tmp_path / "out" / "models" / name).mkdir(parents=True)
        (tmp_path / "out" / "models" / name / "model.safetensors").touch()
    for step in steps.values():
        write_json(step.marker, step.command)
    assert all(step.is_done() for step in steps.values())
    later = 1 + max(step.marker.stat().st_mtime_ns for step in steps.values())
    for split, changed in {"test": ("rank", "where"), "train": ("train",), "all": ("extract",)}.items():
        os.utime(tmp_path / f"{split}.jsonl", ns=(later, later))
        for name, step in steps.items():
            if any(word in name for word in changed):
                assert not step.is_done(), name
            elif split == "test":
                assert step.is_done(), name
