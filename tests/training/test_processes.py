# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Two processes split the songs to encode, score the evaluation set, and train a part, as one process does."""

import json
from pathlib import Path

import pytest
import torch
from processes import run_processes
from safetensors.torch import load_file
from tiny_retrieval import write_songs

SECONDS = (3.0, 0.5, 0.75, 1.0, 0.75)  # the first is as long as the others together

SCRIPT = """
import gc, json, sys
from pathlib import Path
import torch
from accelerate import PartialState
from tiny_models import CHUNK_LENGTH_S, tiny_config
from test_trainer import collate_with_ids, make_trainer, train
from collap import CollapFeatureExtractor, CollapModel
from collap.data.cache import TensorCache, describe_features
from collap.encode import extract_features
from collap.training.build import freeze_text_layers

torch.set_num_threads(1)
folder = Path(sys.argv[1])
torch.manual_seed(0)
model = CollapModel(tiny_config(text_granularity="sentence", temporal_position=True)).eval()
songs = sorted(str(path) for path in folder.glob("*.wav"))
extractor = CollapFeatureExtractor(chunk_length_s=CHUNK_LENGTH_S)
extract_features([*songs, songs[1]], folder / "features", model.audio_model, extractor)
TensorCache(folder / "features", describe_features(model.audio_model, extractor)).check(songs)
trainer = make_trainer(model, folder, 2, collate_with_ids)
output = trainer.predict(trainer.eval_dataset)
state = PartialState()
loss, labels = output.metrics["test_loss"], output.label_ids.tolist()
result = {"processes": state.num_processes, "scores": output.predictions.tolist(), "loss": loss, "labels": labels}
freeze_text_layers(model.text_model.encoder, 0)
micro = 3 - state.num_processes  # songs at a time: 2 of 4, or 1 of 2
trained = train(model, folder, trainer.eval_dataset, contrastive_batch_size=4, micro_batch_size=micro).model
result["trained"] = {name: weight.flatten()[:3].tolist() for name, weight in trained.named_parameters()}
(folder / f"process-{state.process_index}.json").write_text(json.dumps(result))
del trainer, trained, output, model  # what holds the process group goes before it
gc.collect()
state.destroy_process_group()
"""


def run(folder: Path, num_processes: int) -> tuple[list[dict], str]:
    """The result of each process, and what all of them printed."""
    folder.mkdir()
    write_songs(folder, SECONDS)
    script = folder / "script.py"
    script.write_text(SCRIPT)
    printed = run_processes(num_processes, script, str(folder))
    found = [json.loads((folder / f"process-{index}.json").read_text()) for index in range(num_processes)]
    return found, printed


def load_shards(folder: Path) -> list[dict[str, torch.Tensor]]:
    return [load_file(file) for file in (folder / "features").glob("shard-*.safetensors")]


@pytest.mark.slow
def test_two_processes_split_the_work_and_score_the_same(tmp_path):
    (alone,), _ = run(tmp_path / "one", 1)
    both, said = run(tmp_path / "two", 2)
    assert [result["processes"] for result in both] == [2, 2]
    assert said.count("5 songs encoded") == 1  # of both, by the main process alone

    (expected,) = load_shards(tmp_path / "one")
    shares = load_shards(tmp_path / "two")
    assert sorted(map(len, shares)) == [1, 4]
    assert {name for share in shares for name in share} == expected.keys()
    for share in shares:
        for name, frames in share.items():
            torch.testing.assert_close(frames, expected[name], atol=2e-3, rtol=1e-3)

    for result in both:  # the ranks could differ where rounding changes the order of almost equal scores
        torch.testing.assert_close(torch.tensor(result["scores"]), torch.tensor(alone["scores"]), atol=1e-5, rtol=0)
        assert result["loss"] == pytest.approx(alone["loss"], abs=1e-5)
        assert result["labels"] == alone["labels"] == [0, 1, 2, 3, 3, 4, 5]  # two songs of 5 frames share their id
        for name, expected in alone["trained"].items():
            assert result["trained"][name] == pytest.approx(expected, abs=1e-4), name
