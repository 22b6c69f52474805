# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""`examples/train.py` on a tiny ClapModel: exact loss, windows drawn by seed, an ordinary ClapModel at the end."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from tiny_clap import RATE, WINDOW, tiny_clap
from torch.nn.functional import cross_entropy
from transformers import AutoProcessor, ClapModel, ClapProcessor

from collap.data.audio_files import read_audio
from collap.training.clap import (
    ClapDataCollator,
    ClapSongReader,
    TrainableClap,
    lacks_mel_statistics,
    measure_mel_statistics,
)

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
sys.path.append(str(EXAMPLES))  # last: examples/evaluate.py is not the library of that name
import train  # noqa: E402

NOTES = ["low", "middle", "high", "noise", "silence", "sweep"]
TEXTS = [[f"A song of {note} sound.", f"It ends with {note} again."] for note in NOTES]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A new ClapModel of windows of 1 s, and six songs of 1.5 to 3 s with two wordings each."""
    folder = tmp_path_factory.mktemp("train")
    model, processor = tiny_clap(*(sentence for text in TEXTS for sentence in text))
    model.save_pretrained(folder / "clap")
    processor.save_pretrained(folder / "clap")
    generator = np.random.default_rng(0)
    lines = []
    for index, (note, text) in enumerate(zip(NOTES, TEXTS, strict=True)):
        time = np.arange(12_000 + 2_400 * index) / RATE
        waveform = 0.3 * np.sin(2 * np.pi * 80 * 2**index * time) + 0.003 * generator.standard_normal(len(time))
        soundfile.write(folder / f"{note}.wav", waveform.astype(np.float32), RATE)
        lines.append({"audio": f"{note}.wav", "texts": [text, text[:1]]})
    (folder / "songs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def arguments(folder: Path, output: Path, *more: str) -> list[str]:
    shared = [f"--model_name_or_path={folder / 'clap'}", f"--output_dir={output}", "--use_cpu", "--report_to=none"]
    shared += [f"--train_manifest={folder / 'songs.jsonl'}", f"--eval_manifest={folder / 'songs.jsonl'}"]
    return [*shared, "--disable_tqdm=true", "--per_device_train_batch_size=6", "--learning_rate=0.003", *more]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return ClapModel.from_pretrained(folder).state_dict()


class TestTheScript:
    def test_it_learns_and_saves_an_ordinary_clap_model(self, folder, tmp_path):
        figures = train.main(arguments(folder, tmp_path, "--num_train_epochs=50", "--save_strategy=no"))
        assert figures["eval_text_to_audio_recall@1"] >= 5 / 6
        assert figures["eval_loss"] < 1.0

        model = ClapModel.from_pretrained(tmp_path)
        processor = AutoProcessor.from_pretrained(tmp_path)
        assert isinstance(processor, ClapProcessor)
        assert json.loads((tmp_path / "config.json").read_text())["architectures"] == ["ClapModel"]
        assert not lacks_mel_statistics(model)
        audio = [read_audio(str(folder / f"{note}.wav"), RATE, length_s=1.0).waveform for note in NOTES]
        inputs = processor(
            text=[" ".join(text) for text in TEXTS],
            audio=audio,
            sampling_rate=RATE,
            padding=True,
            return_tensors="pt",
            return_token_type_ids=False,
        )
        with torch.no_grad():
            logits = model(**inputs).logits_per_audio
        found = (logits.argmax(0) == torch.arange(6)).float().mean().item()
        assert found == pytest.approx(figures["eval_text_to_audio_recall@1"])

    def test_micro_batches_and_resuming_change_nothing(self, folder, tmp_path):
        options = ["--num_train_epochs=4", "--save_strategy=epoch", "--optim=sgd", "--max_grad_norm=0"]
        train.main(arguments(folder, tmp_path / "whole", *options))
        train.main(arguments(folder, tmp_path / "micro", *options, "--micro_batch_size=2"))
        checkpoint = tmp_path / "whole" / "checkpoint-2"
        train.main(arguments(folder, tmp_path / "resumed", *options, f"--resume_from_checkpoint={checkpoint}"))
        whole = weights(tmp_path / "whole")
        for name in ("micro", "resumed"):
            torch.testing.assert_close(weights(tmp_path / name), whole, rtol=1e-3, atol=1e-4)
        change = whole["text_projection.linear2.bias"] - weights(folder / "clap")["text_projection.linear2.bias"]
        assert change.abs().max() > 1e-3

    @pytest.mark.slow
    def test_two_processes_train_as_one(self, folder, tmp_path):
        options = ["--num_train_epochs=3", "--save_strategy=no", "--contrastive_batch_size=6", "--optim=sgd"]
        one = train.main(arguments(folder, tmp_path / "one", *options))
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
        command += [str(EXAMPLES / "train.py"), *arguments(folder, tmp_path / "two", *options)]
        result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        assert result.returncode == 0, result.stderr[-4000:]
        torch.testing.assert_close(weights(tmp_path / "two"), weights(tmp_path / "one"), rtol=1e-3, atol=1e-4)
        two = json.loads((tmp_path / "two" / "eval_results.json").read_text())
        assert two["eval_text_to_audio_recall@1"] == one["eval_text_to_audio_recall@1"]

    def test_arguments_of_a_collap_are_refused(self, folder, tmp_path):
        for given in ("--features=kept", "--kernel_size=3", "--temporal_position=false", "--section_loss_weight=1"):
            with pytest.raises(ValueError, match=f"ClapModel, which is trained without {given.split('=')[0]}:"):
                train.main(arguments(folder, tmp_path, given))
        with pytest.raises(ValueError, match="not a ClapModel"):
            train.main(arguments(folder, tmp_path, "--push_to_hub"))
        with pytest.raises(ValueError, match="--streaming needs a ClapModel whose batch norm has statistics"):
            train.main(arguments(folder, tmp_path, "--streaming", "--max_steps=1"))

    def test_long_texts_are_cut_only_if_asked_for_and_the_limit_is_kept(self, folder, tmp_path, caplog):
        too_long = r"6 of the 12 texts of .*songs\.jsonl have more than 10 tokens, the first in row 1"
        with pytest.raises(ValueError, match=too_long):
            train.main(arguments(folder, tmp_path, "--max_text_tokens=10"))
        options = ["--max_text_tokens=10", "--truncate_texts", "--max_steps=1", "--save_strategy=no"]
        train.main(arguments(folder, tmp_path, *options))
        assert "6 of the 12 texts" in caplog.text
        assert AutoProcessor.from_pretrained(tmp_path).tokenizer.model_max_length == 10


class TestTheModel:
    @pytest.fixture
    def batch(self, folder):
        _, processor = tiny_clap(*(sentence for text in TEXTS for sentence in text))
        reader = ClapSongReader(processor)
        rows = [{"audio": str(folder / f"{note}.wav"), "text": text} for note, text in zip(NOTES, TEXTS, strict=True)]
        return ClapDataCollator(processor, 16)([reader.for_evaluation(row) for row in rows])

    def test_the_loss_goes_both_ways(self, folder, batch):
        model = TrainableClap.from_pretrained(folder / "clap")
        output = model(**batch)
        plain = ClapModel.from_pretrained(folder / "clap")
        inputs = {name: batch[name] for name in ("input_features", "input_ids", "attention_mask")}
        factor_a, factor_t = plain.logit_scale_a.exp(), plain.logit_scale_t.exp()
        assert (factor_a / factor_t - 1).abs() > 0.01
        logits = plain(**inputs).logits_per_audio / factor_a * (factor_a * factor_t).sqrt()
        torch.testing.assert_close(output.logits_per_audio, logits, rtol=1e-4, atol=1e-4)
        here = torch.arange(6)
        expected = (cross_entropy(logits, here) + cross_entropy(logits.T, here)) / 2
        torch.testing.assert_close(output.loss, expected, rtol=1e-4, atol=1e-4)
        assert (cross_entropy(logits, here) - cross_entropy(logits.T, here)).abs() > 1e-3

    def test_both_factors_learn_alike(self, folder, batch):
        model = TrainableClap.from_pretrained(folder / "clap")
        model(**batch).loss.backward()
        assert model.logit_scale_a.grad == model.logit_scale_t.grad != 0

    def test_a_song_is_embedded_alike_whoever_else_is_in_the_batch(self, folder, batch):
        model = TrainableClap.from_pretrained(folder / "clap").train()
        whole = model(**batch).audio_embeds
        alone = model(**{name: value[:1] for name, value in batch.items() if name != "return_loss"}).audio_embeds
        torch.testing.assert_close(alone, whole[:1], rtol=1e-4, atol=1e-5)

    def test_mel_statistics_are_those_of_all_frames(self, folder, batch):
        model = ClapModel.from_pretrained(folder / "clap")
        assert lacks_mel_statistics(model)
        features = batch["input_features"]  # (6, 1, frames, bins)
        measure_mel_statistics(model, [features[:4], features[4:]])
        norm = model.audio_model.audio_encoder.batch_norm
        frames = features.flatten(0, 2)
        torch.testing.assert_close(norm.running_mean, frames.mean(0), rtol=1e-4, atol=1e-3)
        torch.testing.assert_close(norm.running_var, frames.var(0, correction=0), rtol=1e-3, atol=1e-3)
        assert not lacks_mel_statistics(model)

    def test_a_fused_one_is_refused(self, tmp_path):
        model, _ = tiny_clap("a", fusion=True)
        with pytest.raises(ValueError, match="enable_fusion must be off"):
            TrainableClap(model.config)


class TestWindows:
    @pytest.fixture
    def reader(self):
        return ClapSongReader(tiny_clap("a")[1])

    @pytest.fixture
    def row(self, tmp_path):
        ramp = np.arange(3 * WINDOW) / (3 * WINDOW)  # a sample tells its place
        soundfile.write(tmp_path / "ramp.wav", ramp, RATE, subtype="FLOAT")
        return {"audio": str(tmp_path / "ramp.wav"), "texts": ["one", ["two", "three"]]}

    def test_a_seed_draws_window_and_wording(self, reader, row):
        first, again = reader.for_training(row, 5), reader.for_training(row, 5)
        np.testing.assert_array_equal(first["window"], again["window"])
        assert first["text"] == again["text"]
        drawn = [reader.for_training(row, seed) for seed in range(60)]
        starts = np.array([example["window"][0] * 3 for example in drawn])  # seconds
        assert {len(example["window"]) for example in drawn} == {WINDOW}
        assert {example["text"] for example in drawn} == {"one", "two three"}
        assert starts.min() < 0.2
        assert 1.8 < starts.max() <= 2.0
        assert abs(starts.mean() - 1.0) < 0.3

    def test_a_clip_lies_in_the_section_that_its_text_describes(self, row):
        reader = ClapSongReader(tiny_clap("a")[1], section_probability=1.0)
        row["sections"] = [
            {"start_s": 0.0, "end_s": 0.5, "texts": [["in"], ["i", "n"]]},
            {"start_s": 0.5, "end_s": 3.0, "texts": [["out"], ["o", "ut"]]},
        ]
        drawn = [reader.for_training(row, seed) for seed in range(60)]
        begins = [example for example in drawn if example["text"] in ("in", "i n")]
        assert 2 <= len(begins) <= 25  # a sixth of the song
        for example in drawn:
            start_s, end_s = (example["window"][place] * 3 for place in (0, -1))
            if example["text"] in ("in", "i n"):
                assert len(example["window"]) == WINDOW // 2
                assert end_s <= 0.5
            else:
                assert example["text"] in ("out", "o ut")
                assert len(example["window"]) == WINDOW
                assert start_s >= 0.499
        assert len({example["text"] for example in drawn}) == 4
        assert len({example["text_id"] for example in drawn}) == 2
        assert {example["song_id"] for example in drawn} == {row["audio"]}

    def test_sections_are_drawn_as_often_as_asked_for(self, row):
        row["sections"] = [{"start_s": 0.0, "end_s": 3.0, "texts": ["of one", "of two"]}]
        for probability, fewest, most in ((0.0, 0, 0), (0.5, 10, 30), (1.0, 40, 40)):
            reader = ClapSongReader(tiny_clap("a")[1], probability)
            texts = [reader.for_training(row, seed)["text"] for seed in range(40)]
            assert fewest <= sum(text.startswith("of") for text in texts) <= most
        del row["sections"]
        assert reader.for_training(row, 0)["text"] in ("one", "two three")
        with pytest.raises(ValueError, match="section_probability must be between 0 and 1, got 2"):
            ClapSongReader(tiny_clap("a")[1], 2)

    def test_evaluation_hears_the_first_window_with_the_first_wording(self, reader, row):
        example = reader.for_evaluation(row)
        assert example["window"][0] == 0
        assert len(example["window"]) == WINDOW
        assert example["text"] == "one"
        assert example["song_id"] == row["audio"]

    def test_a_short_song_is_heard_whole(self, reader, tmp_path):
        soundfile.write(tmp_path / "short.wav", np.linspace(0, 0.5, 3000), RATE)
        row = {"audio": str(tmp_path / "short.wav"), "text": "short"}
        assert len(reader.for_training(row, 3)["window"]) == 3000
