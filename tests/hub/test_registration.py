# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""What `import collap` registers with the Auto classes, also where transformers has a BEATs of its own."""

import os
import subprocess
import sys

import pytest

# A Python whose transformers has a model of the name "beats" before this package is imported. The two folders are
# saved as the name is taken, and then made what a transformers without that name would have written.
NAME_TAKEN = """
import pathlib, sys, types

import torch
from transformers import AutoConfig, AutoModel, PreTrainedConfig
from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

class BeatsConfig(PreTrainedConfig):
    model_type = "beats"

sys.modules["transformers.models.beats"] = types.ModuleType("transformers.models.beats")
sys.modules["transformers.models.beats"].BeatsConfig = BeatsConfig
CONFIG_MAPPING_NAMES["beats"] = "BeatsConfig"

import collap
from tiny_models import tiny_beats_config, tiny_config

def as_of_before(folder):
    file = pathlib.Path(folder, "config.json")
    assert file.read_text().count('"collap-beats"') == 1
    file.write_text(file.read_text().replace('"collap-beats"', '"beats"'))

assert type(AutoConfig.for_model("beats")) is BeatsConfig
assert type(AutoConfig.for_model("collap-beats")) is collap.BeatsConfig

beats = collap.BeatsModel(tiny_beats_config())
beats.save_pretrained("beats")
again = AutoModel.from_pretrained("beats")
assert type(again) is collap.BeatsModel
torch.testing.assert_close(again.state_dict(), beats.state_dict())

# Of before: by our class it loads as ever, and by an auto class it is theirs, as for anybody without this package.
as_of_before("beats")
torch.testing.assert_close(collap.BeatsModel.from_pretrained("beats").state_dict(), beats.state_dict())
assert type(AutoConfig.from_pretrained("beats")) is BeatsConfig

model = collap.CollapModel(tiny_config())
model.save_pretrained("collap")
as_of_before("collap")
again = AutoModel.from_pretrained("collap")
assert type(again.config.music_config) is collap.BeatsConfig
torch.testing.assert_close(again.state_dict(), model.state_dict())
"""


@pytest.mark.slow
def test_a_beats_of_transformers_keeps_its_name(tmp_path):
    run = subprocess.run(
        [sys.executable, "-c", NAME_TAKEN],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-4000:]
