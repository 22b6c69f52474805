# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""The trainer's evaluation is retrieval over the whole set, whatever its batches."""

import pytest
import torch
from tiny_models import VOCAB_SIZE, text_inputs, tiny_config
from transformers import TrainingArguments

from collap import CollapModel
from collap.training.trainer import CollapTrainer

NUM_SONGS = 7


def songs_of_ragged_length(width: int) -> list[dict]:
    torch.manual_seed(0)
    lengths = [3, 9, 1, 5, 5, 2, 8]
    return [
        {
            "encoder_frames": torch.randn(length, width),
            "sentences": torch.randint(3, VOCAB_SIZE, (1 + length % 3, 6)),
        }
        for length in lengths
    ]


def collate(songs: list[dict]) -> dict[str, torch.Tensor | bool]:
    frames = torch.nn.utils.rnn.pad_sequence([song["encoder_frames"] for song in songs], batch_first=True)
    lengths = torch.tensor([len(song["encoder_frames"]) for song in songs])
    return {
        "encoder_frames": frames,
        "frame_mask": torch.arange(frames.shape[1]) < lengths[:, None],
        "input_ids": torch.cat([song["sentences"] for song in songs]),
        "sentence_counts": torch.tensor([len(song["sentences"]) for song in songs]),
        "return_loss": True,
    }


@pytest.fixture
def model() -> CollapModel:
    return CollapModel(tiny_config(text_granularity="sentence", temporal_position=True)).eval()


def make_trainer(model: CollapModel, folder, batch_size: int, **keywords) -> CollapTrainer:
    arguments = TrainingArguments(
        output_dir=str(folder),
        per_device_eval_batch_size=batch_size,
        report_to="none",
        use_cpu=True,
        remove_unused_columns=False,
        disable_tqdm=True,
    )
    songs = songs_of_ragged_length(model.config.encoder_hidden_size)
    return CollapTrainer(model=model, args=arguments, eval_dataset=songs, data_collator=collate, **keywords)


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_figures_do_not_depend_on_the_batches(model, tmp_path, batch_size: int):
    trainer = make_trainer(model, tmp_path, batch_size)
    output = trainer.predict(trainer.eval_dataset)
    with torch.no_grad():
        whole = model(**collate(trainer.eval_dataset))
    torch.testing.assert_close(torch.from_numpy(output.predictions), whole.logits_per_audio, atol=1e-5, rtol=0)
    right = (whole.logits_per_audio.argmax(0) == torch.arange(NUM_SONGS)).float().mean().item()
    assert output.metrics["test_text_to_audio_recall@1"] == pytest.approx(right)
    assert output.metrics["test_gallery_size"] == NUM_SONGS
    if batch_size == 100:
        assert output.metrics["test_loss"] == pytest.approx(whole.loss.item(), abs=1e-5)


def test_evaluation_has_a_collator_of_its_own(model, tmp_path):
    seen = []

    def collate_for_evaluation(songs: list[dict]) -> dict:
        seen.append(len(songs))
        return collate(songs)

    trainer = make_trainer(model, tmp_path, 4, eval_data_collator=collate_for_evaluation)
    metrics = trainer.evaluate()
    assert seen == [4, 3]
    assert trainer.data_collator is collate
    expected = {
        f"eval_{way}_{name}" for way in ("text_to_audio", "audio_to_text") for name in ("recall@5", "median_rank")
    }
    assert expected <= metrics.keys()


def test_a_document_model_is_evaluated_too(tmp_path):
    model = CollapModel(tiny_config()).eval()
    trainer = make_trainer(model, tmp_path, 3)
    trainer.eval_dataset = [{**song, "sentences": text_inputs([6])["input_ids"]} for song in trainer.eval_dataset]
    assert 0 <= trainer.evaluate()["eval_audio_to_text_recall@1"] <= 1
