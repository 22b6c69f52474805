# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""`collap publish`: what it writes loads where this package can't be imported, and gives the same there."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from huggingface_hub import ModelCard
from publish_helpers import TEXTS, python_of_card, save_trained, write
from tiny_models import tiny_beats_config
from tiny_tokenizer import tiny_tokenizer

from collap import BeatsFeatureExtractor, BeatsModel, CollapFeatureExtractor, CollapModel, CollapProcessor
from collap.baselines.mean_pooling import MeanPoolingCollap
from collap.hub.checks import repository_files

REPOSITORY = Path(__file__).resolve().parents[2]
# Runs in a Python of its own, in a folder with what was published and two songs. The blocker stands for a machine
# without the package: however it is installed beside these tests, nothing of it can be imported; and at the end
# nothing was imported from the checkout either. What was loaded is saved and loaded once more, and the card's Python
# is run.
CLEAN_PYTHON = """
import pathlib, sys

class NoCollap:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "collap":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, NoCollap())
try:
    import collap
except ModuleNotFoundError:
    pass
else:
    raise SystemExit("collap can be imported: this proves nothing")

import numpy, torch
from transformers import (
    AutoConfig, AutoFeatureExtractor, AutoModel, AutoModelForAudioXVector, AutoModelForTextEncoding, AutoProcessor,
    AutoTokenizer,
)

published, checkout, texts = sys.argv[1], sys.argv[2], sys.argv[3:]
waveforms = [numpy.load("first.npy"), numpy.load("second.npy")]

@torch.no_grad()
def load_and_run(folder):
    {body}
    for thing in (model, preparation, extractor, config):
        assert type(thing).__module__.startswith("transformers_modules."), type(thing)
    return model, preparation, values

model, preparation, values = load_and_run(published)
model.save_pretrained("again")
preparation.save_pretrained("again")
_, _, values_again = load_and_run("again")
torch.save((values, values_again), "values.pt")
exec(sys.stdin.read())
for module in list(sys.modules.values()):
    file = pathlib.Path(getattr(module, "__file__", None) or sys.prefix)
    assert file.is_relative_to(sys.prefix) or not file.is_relative_to(checkout), file
"""

COLLAP_BODY = """
    model = AutoModel.from_pretrained(folder, trust_remote_code=True)
    preparation = AutoProcessor.from_pretrained(folder, trust_remote_code=True)
    batch = preparation(text=texts, audio=waveforms, sampling_rate=16000, return_tensors="pt")
    assert len(batch.audio_coverage) == 2
    output = model(**batch)
    values = {name: output[name] for name in ("logits_per_audio", "audio_embeds", "text_embeds")}
    # Each half alone, with none of the other's weights.
    text_model = AutoModelForTextEncoding.from_pretrained(folder, trust_remote_code=True)
    audio_model = AutoModelForAudioXVector.from_pretrained(folder, trust_remote_code=True)
    assert (type(text_model).__name__, type(audio_model).__name__) == ("CollapTextModel", "CollapAudioModel")
    assert {name.partition(".")[0] for name in text_model.state_dict()} == {"encoder", "projection", "time_query"}
    assert {name.partition(".")[0] for name in audio_model.state_dict()} == {"music_model", "speech_model", "adapter"}
    torch.testing.assert_close(text_model(**batch).pooler_output, output.text_embeds)
    torch.testing.assert_close(audio_model(**batch).pooler_output, output.audio_embeds)
    extractor = AutoFeatureExtractor.from_pretrained(folder, trust_remote_code=True)
    values["fbank_features"] = extractor(waveforms, sampling_rate=16000, return_tensors="pt")["fbank_features"]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer(texts)["input_ids"] == preparation.tokenizer(texts)["input_ids"]
    config = AutoConfig.from_pretrained(folder, trust_remote_code=True)
    assert (type(config).__name__, type(config.music_config).__name__) == ("CollapConfig", "BeatsConfig")
"""

BEATS_BODY = """
    model = AutoModel.from_pretrained(folder, trust_remote_code=True)
    preparation = extractor = AutoFeatureExtractor.from_pretrained(folder, trust_remote_code=True)
    values = {"vectors": model(**extractor(waveforms, sampling_rate=16000, return_tensors="pt")).last_hidden_state}
    config = AutoConfig.from_pretrained(folder, trust_remote_code=True)
"""


def values_in_clean_python(folder: Path, body: str) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """What the published folder gives, and what it gives saved and loaded once more; without a network."""
    home = folder.parent
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(home / "cache"), "OMP_NUM_THREADS": "1"}
    code = CLEAN_PYTHON.replace("    {body}", body)
    run = subprocess.run(
        [sys.executable, "-I", "-c", code, folder.name, str(REPOSITORY), *TEXTS],
        input=python_of_card(folder),
        cwd=home,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-4000:]
    return torch.load(home / "values.pt")


@pytest.fixture(scope="module")
def waveforms() -> list[np.ndarray]:
    """1.7 s and 0.9 s: three chunks and two, the last of them short."""
    generator = np.random.default_rng(0)
    time = np.arange(27_200) / 16_000
    waveform = 0.3 * np.sin(2 * np.pi * 440 * time) + 0.05 * generator.standard_normal(len(time))
    return [waveform.astype(np.float32), waveform[:14_400].astype(np.float32) ** 2]


@pytest.fixture
def home(tmp_path, waveforms) -> Path:
    """A folder with two songs in it and nothing else: where somebody tries out what was published."""
    home = tmp_path / "home"
    home.mkdir()
    for name, waveform in zip(("first", "second"), waveforms, strict=True):
        np.save(home / f"{name}.npy", waveform)
    soundfile.write(home / "first.wav", np.tile(waveforms[0], 2), 44_100)
    soundfile.write(home / "second.ogg", np.stack([waveforms[1]] * 2, axis=1), 16_000)
    return home


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    return save_trained(tmp_path_factory.mktemp("trained"))


@pytest.mark.slow
def test_it_loads_without_the_package_and_gives_the_same(trained, home, waveforms):
    told = ["--training_data", "Two sines.", "--license", "cc-by-4.0"]
    folder = write(trained, home / "my-collap", *told)
    assert "Two sines." in (folder / "README.md").read_text()

    model = CollapModel.from_pretrained(trained)
    processor = CollapProcessor.from_pretrained(trained)
    batch = processor(text=TEXTS, audio=waveforms, sampling_rate=16_000, return_tensors="pt")
    with torch.no_grad():
        expected = {**model(**batch), "fbank_features": batch["fbank_features"]}

    for values in values_in_clean_python(folder, COLLAP_BODY):
        assert len(values) == 4
        for name, value in values.items():
            torch.testing.assert_close(value, expected[name], atol=1e-6, rtol=0)


@pytest.mark.slow
def test_beats_loads_without_the_package(home, waveforms, tmp_path):
    torch.manual_seed(0)
    model = BeatsModel(tiny_beats_config()).eval()
    model.save_pretrained(tmp_path / "beats")
    extractor = BeatsFeatureExtractor()
    extractor.save_pretrained(tmp_path / "beats")
    folder = write(tmp_path / "beats", home / "my-beats")

    with torch.no_grad():
        expected = model(**extractor(waveforms, sampling_rate=16_000, return_tensors="pt")).last_hidden_state
    for values in values_in_clean_python(folder, BEATS_BODY):
        torch.testing.assert_close(values["vectors"], expected, atol=1e-6, rtol=0)


def test_the_folder_holds_what_a_repository_needs(trained, tmp_path):
    folder = write(trained, tmp_path / "out", "--repo_id", "somebody/songs")
    names = {path.name for path in folder.iterdir()}
    assert {"LICENSE", "README.md", "config.json", "model.safetensors", "processor_config.json"} <= names
    inner = [*(REPOSITORY / "modeling_collap").glob("*.py"), *(REPOSITORY / "processing").glob("*.py")]
    not_to_load = {"__init__.py", "convert_beats_checkpoint.py", "data_collator_collap.py"}
    assert {name for name in names if name.endswith(".py")} == {path.name for path in inner} - not_to_load
    assert [path.name for path in tmp_path.iterdir()] == ["out"]  # no temporary folder is left

    texts = {path.name: path.read_text() for path in folder.iterdir() if path.suffix in (".json", ".md")}
    assert not [name for name, text in texts.items() if str(trained) in text or "local_files_only" in text]
    auto_classes = {"AutoConfig", "AutoModel", "AutoModelForTextEncoding", "AutoModelForAudioXVector"}
    assert set(json.loads(texts["config.json"])["auto_map"]) == auto_classes
    card = ModelCard.load(folder / "README.md")
    assert (card.data.library_name, card.data.license) == ("transformers", None)
    assert "The publisher states no licence for the weights." in card.text
    assert 'from_pretrained("somebody/songs", trust_remote_code=True)' in card.text
    assert card.text.count("Not stated by the publisher.") == 1  # the training data
    assert "None was published." in card.text  # an evaluation
    assert "{" not in card.text.split("## Citation")[0]  # every field of the template is filled


def test_a_calibration_goes_with_the_model(trained, tmp_path):
    copy = shutil.copytree(trained, tmp_path / "calibrated")
    (copy / "calibration.json").write_text("{}")
    folder = write(copy, tmp_path / "out")
    assert (folder / "calibration.json").read_text() == "{}"
    assert "calibration.json" in repository_files(folder)
    assert "`calibration.json` turns them into probabilities" in (folder / "README.md").read_text()


def test_a_baseline_is_not_published_as_a_collap(trained, tmp_path):
    """It has the same weights, and would load as a CollapModel with other scores."""
    folder = shutil.copytree(trained, tmp_path / "baseline")
    MeanPoolingCollap.from_pretrained(trained).save_pretrained(folder)
    with pytest.raises(ValueError, match="baseline' must hold a CollapModel, got a MeanPoolingCollap"):
        write(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_publishing_leaves_no_trace_in_later_saves(trained, tmp_path):
    write(trained, tmp_path / "out")
    CollapModel.from_pretrained(trained).save_pretrained(tmp_path / "later")
    CollapProcessor.from_pretrained(trained).save_pretrained(tmp_path / "later")
    assert not list((tmp_path / "later").glob("*.py"))


def test_it_refuses_to_write_over_something(trained, tmp_path):
    (tmp_path / "out").mkdir()
    write(trained, tmp_path / "out")  # an empty folder is taken
    with pytest.raises(ValueError, match="output_dir must not exist or be an empty folder"):
        write(trained, tmp_path / "out")


def test_it_refuses_what_is_not_whole(trained, tmp_path):
    model = CollapModel.from_pretrained(trained)
    weights = {name: weight for name, weight in model.state_dict().items() if name != "audio_model.adapter.weight"}
    model.save_pretrained(tmp_path / "broken", state_dict=weights)
    CollapProcessor.from_pretrained(trained).save_pretrained(tmp_path / "broken")
    with pytest.raises(ValueError, match=r"lacks 1 weights of a CollapModel, such as audio_model\.adapter\.weight"):
        write(tmp_path / "broken", tmp_path / "out")

    model.save_pretrained(tmp_path / "odd")
    CollapProcessor(CollapFeatureExtractor(chunk_length_s=30.0), tiny_tokenizer()).save_pretrained(tmp_path / "odd")
    with pytest.raises(ValueError, match=r"processor does not fit the model: .*chunk_length_s"):
        write(tmp_path / "odd", tmp_path / "out")
    assert not (tmp_path / "out").exists()
