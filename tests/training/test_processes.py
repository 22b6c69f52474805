# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Two real processes: they share the songs to encode, and evaluate to the figures of one process."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

TESTS = Path(__file__).resolve().parents[1]

SCRIPT = """
import json, sys
from pathlib import Path
import torch
from accelerate import PartialState
from tiny_models import CHUNK_LENGTH_S, tiny_config
from test_trainer import make_trainer
from collap import CollapFeatureExtractor, CollapModel
from collap.training import encoder_frames

torch.set_num_threads(1)
folder = Path(sys.argv[1])
torch.manual_seed(0)
model = CollapModel(tiny_config(text_granularity="sentence", temporal_position=True)).eval()
songs = sorted(str(path) for path in folder.glob("*.wav"))
written = []
write = encoder_frames._write
encoder_frames._write = lambda file, frames: (written.append(file.name), write(file, frames))
extractor = CollapFeatureExtractor(chunk_length_s=CHUNK_LENGTH_S)
encoder_frames.keep_encoder_frames(songs, folder / "frames", model.audio_model, extractor)
metrics = make_trainer(model, folder, batch_size=2).evaluate()
state = PartialState()
result = {"processes": state.num_processes, "written": written, "metrics": metrics}
(folder / f"process-{state.process_index}.json").write_text(json.dumps(result))
"""


def run(folder: Path, num_processes: int) -> list[dict]:
    folder.mkdir()
    for index in range(5):
        soundfile.write(folder / f"{index}.wav", 0.1 * np.random.default_rng(index).standard_normal(9_000), 16_000)
    script = folder / "script.py"
    script.write_text(SCRIPT)
    path = os.pathsep.join([str(TESTS), str(TESTS / "training")])
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={num_processes}"]
    result = subprocess.run(
        [*command, str(script), str(folder)],
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-4000:]
    return [json.loads((folder / f"process-{index}.json").read_text()) for index in range(num_processes)]


@pytest.mark.slow
def test_two_processes_share_the_work_and_find_the_same(tmp_path):
    (alone,) = run(tmp_path / "one", 1)
    both = run(tmp_path / "two", 2)
    assert [result["processes"] for result in both] == [2, 2]
    shares = [set(result["written"]) for result in both]
    assert not shares[0] & shares[1]
    assert shares[0] | shares[1] == set(alone["written"])
    assert sorted(map(len, shares)) == [2, 3]
    for result in both:
        for name, value in alone["metrics"].items():
            if "recall" in name or "rank" in name or "gallery" in name:
                assert result["metrics"][name] == pytest.approx(value), name
