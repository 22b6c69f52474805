# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Evaluation is retrieval over the whole set, whatever its batches; steps without a finite gradient are skipped."""

import copy
import logging
import math

import numpy as np
import pytest
import torch
from peft import get_peft_model
from tiny_models import CHUNK_LENGTH_S, VOCAB_SIZE, tiny_config, tiny_text_config
from tiny_tokenizer import tiny_tokenizer
from transformers import EvalPrediction, Trainer, TrainerCallback, TrainingArguments

from collap import CollapDataCollator, CollapFeatureExtractor, CollapModel, CollapProcessor
from collap.metrics import text_to_audio_and_audio_to_text
from collap.training.arguments import CollapTrainingArguments
from collap.training.build import freeze_text_layers
from collap.training.lora import lora_config
from collap.training.loss import caption_loss
from collap.training.trainer import MAX_SKIPPED_IN_A_ROW, CollapTrainer

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


def collate_with_ids(songs: list[dict]) -> dict[str, torch.Tensor | bool]:
    """Each song is named by its length; the texts differ."""
    lengths = [len(song["encoder_frames"]) for song in songs]
    texts = [int(song["sentences"].sum()) for song in songs]
    return {**collate(songs), "song_ids": torch.tensor(lengths), "text_ids": torch.tensor(texts)}


def make_trainer(
    model: CollapModel, folder, batch_size: int, collator=collate, changes: dict | None = None, **keywords
) -> CollapTrainer:
    fields = {"report_to": "none", "use_cpu": True, "disable_tqdm": True, **(changes or {})}
    arguments = CollapTrainingArguments(output_dir=str(folder), per_device_eval_batch_size=batch_size, **fields)
    keywords.setdefault("eval_dataset", songs_of_ragged_length(model.config.encoder_hidden_size))
    return CollapTrainer(model=model, args=arguments, data_collator=collator, **keywords)


@pytest.mark.parametrize("batch_size", [1, 3, 100])
@pytest.mark.parametrize("drop_last", [False, True])  # of the batches of a training
def test_metrics_do_not_depend_on_the_batches(model, tmp_path, batch_size: int, drop_last: bool):
    trainer = make_trainer(model, tmp_path, batch_size, changes={"dataloader_drop_last": drop_last})
    output = trainer.predict(trainer.eval_dataset)
    with torch.no_grad():
        whole = model(**collate(trainer.eval_dataset))
    torch.testing.assert_close(torch.from_numpy(output.predictions), whole.logits_per_audio, atol=1e-5, rtol=0)
    right = (whole.logits_per_audio.argmax(0) == torch.arange(NUM_SONGS)).float().mean().item()
    assert output.metrics["test_text_to_audio_recall@1"] == pytest.approx(right)
    assert output.metrics["test_gallery_size"] == NUM_SONGS
    assert {"test_audio_to_text_recall@5", "test_audio_to_text_median_rank"} <= output.metrics.keys()
    assert output.metrics["test_loss"] == pytest.approx(whole.loss.item(), abs=1e-5)
    assert output.label_ids.tolist() == list(range(NUM_SONGS))
    assert trainer.evaluate()["eval_gallery_size"] == NUM_SONGS
    assert trainer.args.dataloader_drop_last is drop_last


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_a_song_of_two_pairs_is_one_song(model, tmp_path, batch_size: int):
    """The songs of 5 frames are one song with two texts: no negative in the loss, and once in the gallery."""
    trainer = make_trainer(model, tmp_path, batch_size, collate_with_ids)
    trainer.eval_dataset[4]["encoder_frames"] = trainer.eval_dataset[3]["encoder_frames"]
    output = trainer.predict(trainer.eval_dataset)
    with torch.no_grad():
        whole = model(**collate_with_ids(trainer.eval_dataset))
        without_ids = model(**collate(trainer.eval_dataset))
    assert output.metrics["test_loss"] == pytest.approx(whole.loss.item(), abs=1e-5)
    assert abs(whole.loss - without_ids.loss) > 0.01
    assert output.label_ids.tolist() == [0, 1, 2, 3, 3, 4, 5]
    expected = whole.logits_per_audio[[0, 1, 2, 3, 5, 6]]
    torch.testing.assert_close(torch.from_numpy(output.predictions), expected, atol=1e-5, rtol=0)
    both = text_to_audio_and_audio_to_text(expected.numpy(), output.label_ids, [1])
    assert output.metrics["test_text_to_audio_recall@1"] == both["text_to_audio"]["recall@1"]
    assert output.metrics["test_gallery_size"] == 6


def test_compute_metrics_gets_the_scores_of_the_whole_set(model, tmp_path):
    def compute_metrics(whole: EvalPrediction) -> dict[str, float]:
        return {"texts": whole.predictions.shape[1], "right": np.float32((whole.label_ids == np.arange(7)).mean())}

    trainer = make_trainer(model, tmp_path, 3, compute_metrics=compute_metrics)
    metrics = trainer.evaluate()
    assert (metrics["eval_texts"], metrics["eval_right"]) == (7, 1.0)
    assert type(metrics["eval_right"]) is float  # it is written as JSON
    assert metrics["eval_loss"] > 0
    assert trainer.predict(trainer.eval_dataset).metrics["test_texts"] == 7


def test_callbacks_see_each_batch_of_an_evaluation(model, tmp_path):
    class Count(TrainerCallback):
        steps = 0

        def on_prediction_step(self, args, state, control, eval_dataloader=None, **kwargs):
            self.steps += 1
            assert len(eval_dataloader) == 3

    count = Count()
    trainer = make_trainer(model, tmp_path, 3, callbacks=[count])
    trainer.evaluate()
    trainer.predict(trainer.eval_dataset)
    assert count.steps == 6


@pytest.mark.parametrize(
    ("keywords", "changes", "message"),
    [
        ({"compute_loss_func": len}, {}, "compute_loss_func must not be given, .* as `loss`"),
        ({"preprocess_logits_for_metrics": len}, {}, "preprocess_logits_for_metrics must not be given"),
        ({}, {"label_smoothing_factor": 0.1}, "label_smoothing_factor must not be given, got 0.1"),
        ({}, {"include_for_metrics": ["inputs"]}, "include_for_metrics must not be given"),
        ({}, {"bf16_full_eval": True}, "bf16_full_eval must not be given, got True: give `bf16`"),
        ({}, {"remove_unused_columns": True}, "remove_unused_columns must not be given, got True: leave it False"),
    ],
)
def test_what_has_no_meaning_is_refused(model, tmp_path, keywords, changes, message: str):
    with pytest.raises(ValueError, match=message):
        make_trainer(model, tmp_path, 3, changes=changes, **keywords)


EACH_EPOCH = {"eval_strategy": "epoch", "save_strategy": "epoch", "load_best_model_at_end": True}


@pytest.mark.parametrize("best", ["loss", "eval_loss", "eval_text_to_audio_recall@5", "audio_to_text_median_rank"])
def test_the_best_model_can_be_chosen_by_each_metric(model, tmp_path, best: str):
    trainer = make_trainer(model, tmp_path, 3, changes={**EACH_EPOCH, "metric_for_best_model": best})
    assert f"eval_{best.removeprefix('eval_')}" in trainer.evaluate()
    assert trainer.args.greater_is_better is ("recall" in best)


@pytest.mark.parametrize("best", ["recall@1", "text_to_audio_recall@10", "eval_accuracy"])
def test_a_metric_that_no_evaluation_gives_is_refused_at_once(model, tmp_path, best: str):
    changes = {**EACH_EPOCH, "metric_for_best_model": best}
    with pytest.raises(ValueError, match=f"metric_for_best_model must be one of loss, text_to_.* got '{best}'"):
        make_trainer(model, tmp_path, 3, changes=changes)
    make_trainer(model, tmp_path, 3, changes=changes, compute_metrics=lambda whole: {"anything": 0})


def test_the_best_model_of_several_evaluation_sets(model, tmp_path):
    songs = songs_of_ragged_length(model.config.encoder_hidden_size)
    sets = {"new": songs, "old": songs[:3]}
    with pytest.raises(ValueError, match=r"must be one of new_loss, new_text_to_.* got 'loss'"):
        make_trainer(model, tmp_path, 3, changes=EACH_EPOCH, eval_dataset=sets)
    changes = {**EACH_EPOCH, "metric_for_best_model": "eval_old_loss"}
    assert "eval_old_loss" in make_trainer(model, tmp_path, 3, changes=changes, eval_dataset=sets).evaluate()


def test_one_pair_has_nothing_to_be_ranked_with(model, tmp_path):
    songs = songs_of_ragged_length(model.config.encoder_hidden_size)
    with pytest.raises(ValueError, match="eval_dataset must hold at least 2 pairs of song and text to rank, got 1"):
        make_trainer(model, tmp_path, 3, eval_dataset=songs[:1])
    trainer = make_trainer(model, tmp_path, 3, collate_with_ids)
    with pytest.raises(ValueError, match=r"Prediction: 2 pair\(s\) of one song or one text leave nothing to rank"):
        trainer.predict(songs[3:5])


# --- steps ---


def train(
    model: CollapModel, folder, songs: list[dict], trainer_class=CollapTrainer, scaler=None, loss=None, **changes
) -> Trainer:
    """Trains a copy of the model in the order of the songs, by SGD with a step of 1."""
    arguments_class = CollapTrainingArguments if trainer_class is CollapTrainer else TrainingArguments
    fields = {
        "output_dir": str(folder),
        "per_device_train_batch_size": 4,
        "max_steps": 1,
        "train_sampling_strategy": "sequential",
        "optim": "sgd",
        "learning_rate": 1.0,
        "lr_scheduler_type": "constant",
        "weight_decay": 0.0,
        "max_grad_norm": 0.0,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "use_cpu": True,
        "remove_unused_columns": False,
        "disable_tqdm": True,
    }
    arguments = arguments_class(**(fields | changes))
    keywords = {} if loss is None else {"loss": loss}
    trainer = trainer_class(copy.deepcopy(model), arguments, train_dataset=songs, data_collator=collate, **keywords)
    trainer.accelerator.scaler = scaler
    trainer.train()
    return trainer


def updates(model: CollapModel, trainer: Trainer) -> torch.Tensor:
    """What training has added to all weights."""
    pairs = zip(model.parameters(), trainer.model.parameters(), strict=True)
    return torch.cat([(after - before).detach().flatten() for before, after in pairs])


@pytest.fixture
def songs(model) -> list[dict]:
    return [*songs_of_ragged_length(model.config.encoder_hidden_size)] * 2


@pytest.mark.parametrize("micro_batch_size", [None, 1, 3])
def test_transformers_own_trainer_makes_the_same_step(model, songs, tmp_path, micro_batch_size):
    plain = train(model, tmp_path, songs, Trainer)
    ours = train(model, tmp_path, songs, micro_batch_size=micro_batch_size)
    assert ours.state.log_history[0]["loss"] == pytest.approx(plain.state.log_history[0]["loss"], rel=1e-5)
    expected = updates(model, plain)
    assert expected.norm() > 1e-3
    assert (updates(model, ours) - expected).norm() <= 1e-5 * expected.norm()


@pytest.mark.parametrize("micro_batch_size", [None, 1])
def test_accumulation_averages_separate_losses(model, songs, tmp_path, micro_batch_size, caplog):
    changes = {"per_device_train_batch_size": 3, "gradient_accumulation_steps": 2}
    with caplog.at_level(logging.WARNING):
        trainer = train(model, tmp_path, songs, micro_batch_size=micro_batch_size, **changes)
    assert "adds no negatives" in caplog.text
    halves = [train(model, tmp_path, part, per_device_train_batch_size=3) for part in (songs[:3], songs[3:6])]
    expected = sum(updates(model, half) for half in halves) / 2
    assert (updates(model, trainer) - expected).norm() <= 1e-5 * expected.norm()
    losses = [half.state.log_history[0]["loss"] for half in halves]
    assert trainer.state.log_history[0]["loss"] == pytest.approx(sum(losses) / 2, rel=1e-5)


def test_a_batch_of_more_songs_than_there_are_is_named(model, songs, tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        train(model, tmp_path, songs, contrastive_batch_size=len(songs))
        assert "is more than" not in caplog.text
        train(model, tmp_path, songs[:3], contrastive_batch_size=8)
    assert "contrastive_batch_size=8 is more than the 3 songs of train_dataset" in caplog.text


@pytest.mark.parametrize("micro_batch_size", [None, 2])
def test_bf16_has_its_loss_in_float32(model, songs, tmp_path, micro_batch_size):
    exact = train(model, tmp_path, songs)
    half = train(model, tmp_path, songs, bf16=True, micro_batch_size=micro_batch_size)
    loss = half.training_step(half.model, collate(songs[:4]))
    assert loss.dtype == torch.float32
    assert half.state.log_history[0]["loss"] == pytest.approx(exact.state.log_history[0]["loss"], rel=0.02)
    cosine = torch.cosine_similarity(updates(model, half), updates(model, exact), dim=0)
    assert cosine > 0.99


@pytest.mark.parametrize("optimizer", ["sgd", "adamw_torch"])
def test_a_step_without_a_finite_gradient_is_skipped(model, songs, tmp_path, caplog, optimizer: str):
    broken = copy.deepcopy(songs[:4])
    broken[2]["encoder_frames"][0, 0] = float("nan")
    changes = {"optim": optimizer, "weight_decay": 0.1, "learning_rate": 1e-3}
    with caplog.at_level(logging.WARNING):
        trainer = train(model, tmp_path, broken, **changes)
    assert updates(model, trainer).abs().max() == 0
    assert "Step 1 is skipped: its gradient is not finite (1 skipped so far)" in caplog.text
    assert trainer.state.log_history[-1]["skipped_steps"] == 1

    # Between good steps it changes nothing: the first and the third are made as if there were no second.
    trainer = train(model, tmp_path, songs[:4] + broken + songs[4:8], max_steps=3, **changes)
    expected = updates(model, train(model, tmp_path, songs[:8], max_steps=2, **changes))
    assert [entry.get("skipped_steps") for entry in trainer.state.log_history[:3]] == [None, 1, 1]
    torch.testing.assert_close(updates(model, trainer), expected)


@pytest.mark.parametrize("optimizer", ["adamw_torch", "adamw_torch_fused"])
def test_steps_skipped_by_the_scaler_of_float16_are_counted(model, songs, tmp_path, optimizer: str):
    """A scale of 2^66 makes the norm of the gradient infinite until it has been halved often enough."""
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**66, growth_interval=1000)
    trainer = train(model, tmp_path, songs[:4], scaler=scaler, optim=optimizer, max_steps=45, learning_rate=1e-3)
    halved = 66 - round(math.log2(scaler.get_scale()))
    assert 1 <= halved < 45
    assert trainer.skipped.num_skipped == trainer.state.log_history[-1]["skipped_steps"] == halved
    assert trainer.skipped.num_in_a_row == 0  # the last steps were made


def test_too_many_skipped_steps_are_an_error(model, songs, tmp_path):
    songs[0]["encoder_frames"][0, 0] = float("inf")
    with pytest.raises(FloatingPointError, match=rf"{MAX_SKIPPED_IN_A_ROW} steps in a row were not finite"):
        train(model, tmp_path, songs[:4], max_steps=MAX_SKIPPED_IN_A_ROW + 5)


def test_an_evaluation_has_the_weights_of_an_optimizer_without_a_schedule(model, tmp_path):
    modes = []

    class WithTwoModes(torch.optim.SGD):
        def train(self) -> None:
            modes.append("train")

        def eval(self) -> None:
            modes.append("eval")

    changes = {"max_steps": 2, "eval_strategy": "steps", "eval_steps": 1, "save_strategy": "no"}
    songs, optimizers = (
        songs_of_ragged_length(model.config.encoder_hidden_size),
        (WithTwoModes(model.parameters()), None),
    )
    make_trainer(model, tmp_path, 7, changes=changes, train_dataset=songs, optimizers=optimizers).train()
    assert modes == ["train", "eval"] * 2


def test_the_loss_can_be_replaced_and_a_step_scores_once(model, songs, tmp_path, monkeypatch):
    calls = []
    similarity = CollapModel.similarity
    monkeypatch.setattr(CollapModel, "similarity", lambda *args, **kw: calls.append(1) or similarity(*args, **kw))
    plain = train(model, tmp_path, songs, micro_batch_size=2)
    assert len(calls) == 1
    double = train(model, tmp_path, songs, micro_batch_size=2, loss=lambda pairs: 2 * caption_loss(pairs))
    torch.testing.assert_close(updates(model, double), 2 * updates(model, plain))
    with pytest.raises(TypeError, match="args must be CollapTrainingArguments"):
        CollapTrainer(model, TrainingArguments(output_dir=str(tmp_path)))


# --- the text model ---


def test_the_text_model_has_a_learning_rate_of_its_own(model, songs, tmp_path):
    plain = train(model, tmp_path, songs)
    slower = train(model, tmp_path, songs, text_learning_rate=0.25)
    before, expected = dict(model.named_parameters()), dict(plain.model.named_parameters())
    for name, parameter in slower.model.named_parameters():
        share = 0.25 if name.startswith("text_model.encoder.") else 1.0
        torch.testing.assert_close(parameter, before[name] + share * (expected[name] - before[name]))
    # Two groups each, with and without weight decay; the schedule lowers each from its own rate.
    halfway = train(model, tmp_path, songs, max_steps=2, lr_scheduler_type="linear", text_learning_rate=0.25)
    assert [group["initial_lr"] for group in halfway.optimizer.param_groups] == [1.0, 1.0, 0.25, 0.25]
    assert halfway.state.log_history[1]["learning_rate"] == 0.5  # that of all other layers


@pytest.mark.parametrize("text", ["roberta", "gpt2"])
@pytest.mark.parametrize("number", [0, 1, 2])
def test_the_last_layers_of_the_text_model_are_trained(songs, tmp_path, text: str, number: int):
    text_config = tiny_text_config(text)
    text_config.num_hidden_layers = 2
    model = CollapModel(tiny_config(text_config=text_config, text_granularity="sentence", temporal_position=True))
    freeze_text_layers(model.text_model.encoder, number)
    stack = {"roberta": "encoder.layer", "gpt2": "h"}[text]
    expected = {f"text_model.encoder.{stack}.{index}" for index in (0, 1)[2 - number :]}
    names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    of_text = {name for name in names if name.startswith("text_model.encoder.")}
    assert {".".join(name.split(".")[: 3 + stack.count(".") + 1]) for name in of_text} == expected
    assert {"text_model.projection.weight", "text_model.time_query.norm.weight"} <= {*names}

    trainer = train(model, tmp_path, songs, micro_batch_size=2)
    changed = {
        name
        for (name, before), after in zip(model.named_parameters(), trainer.model.parameters(), strict=True)
        if not torch.equal(before, after)
    }
    assert changed <= {*names}
    assert {name.rsplit(".", 1)[0] for name in changed} >= {"text_model.projection", "audio_model.adapter"}
    assert any(name in changed for name in of_text) is (number > 0)


def test_what_the_text_model_cannot_have(model, songs, tmp_path):
    with pytest.raises(ValueError, match="trainable_text_layers must be 0 to 1, got 2"):
        freeze_text_layers(model.text_model.encoder, 2)
    with pytest.raises(ValueError, match="text_learning_rate must not be negative, got -1"):
        train(model, tmp_path, songs, text_learning_rate=-1)
    freeze_text_layers(model.text_model.encoder, 0)
    with pytest.raises(ValueError, match=r"text_learning_rate has no effect, got 0\.1: no layer of the text model"):
        train(model, tmp_path, songs, text_learning_rate=0.1)
    optimizer = torch.optim.SGD(model.parameters())
    with pytest.raises(ValueError, match="text_learning_rate must not be given together with `optimizers`"):
        make_trainer(model, tmp_path, 3, changes={"text_learning_rate": 0.1}, optimizers=(optimizer, None))


@pytest.mark.parametrize("adapt", [lambda model: model, lambda model: get_peft_model(model, lora_config(model))])
@pytest.mark.parametrize("place", ["processing_class", "data_collator"])
def test_a_processor_that_does_not_fit_is_refused(model, songs, tmp_path, adapt, place: str):
    model, tokenizer = adapt(model), tiny_tokenizer("A word.")
    extractor = CollapFeatureExtractor(chunk_length_s=CHUNK_LENGTH_S)
    arguments = CollapTrainingArguments(output_dir=str(tmp_path), use_cpu=True, report_to="none")
    for granularity in ("sentence", "document"):
        processor = CollapProcessor(extractor, tokenizer, granularity)
        keywords = {place: processor if place == "processing_class" else CollapDataCollator(processor)}
        if granularity == "sentence":
            CollapTrainer(model, arguments, **keywords)
        else:
            with pytest.raises(ValueError, match="does not fit the model: text_granularity is document"):
                CollapTrainer(model, arguments, **keywords)


@pytest.mark.parametrize("trainer_class", [Trainer, CollapTrainer])
def test_removed_columns_name_the_cure(model, tmp_path, trainer_class):
    """Lists too: transformers takes the columns out of each example before the collator gets them."""
    processor = CollapProcessor(CollapFeatureExtractor(chunk_length_s=CHUNK_LENGTH_S), tiny_tokenizer(), "sentence")
    songs = [{"audio": "a.wav", "text": "A."}, {"audio": "b.wav", "text": "B."}]
    arguments_class = CollapTrainingArguments if trainer_class is CollapTrainer else TrainingArguments
    arguments = arguments_class(output_dir=str(tmp_path), use_cpu=True, remove_unused_columns=True, report_to="none")
    with pytest.raises(ValueError, match=r"remove_unused_columns=False there|remove_unused_columns must not be"):
        trainer_class(model, arguments, CollapDataCollator(processor), train_dataset=songs).train()


def test_wrong_sizes(tmp_path):
    for name in ("contrastive_batch_size", "micro_batch_size"):
        with pytest.raises(ValueError, match=f"{name} must be at least 1 song, got 0"):
            CollapTrainingArguments(output_dir=str(tmp_path), use_cpu=True, **{name: 0})
    for sizes in ({"contrastive_batch_size": 1}, {"per_device_train_batch_size": 1}):
        with pytest.raises(ValueError, match=r"contrastive_batch_size must be at least 2 songs, .* got 1\."):
            CollapTrainingArguments(output_dir=str(tmp_path), use_cpu=True, **sizes)
    arguments = CollapTrainingArguments(output_dir=str(tmp_path), use_cpu=True, contrastive_batch_size=24)
    assert arguments.per_device_train_batch_size == 24
    arguments = CollapTrainingArguments(output_dir=str(tmp_path), use_cpu=True, per_device_train_batch_size=5)
    assert arguments.contrastive_batch_size == 5


def test_a_batch_of_one_is_no_contrastive_batch(model, songs, tmp_path):
    with pytest.raises(ValueError, match="last batch of 5 pairs has one pair only: set dataloader_drop_last"):
        train(model, tmp_path, songs[:5])
    train(model, tmp_path, songs[:5], dataloader_drop_last=True)
    trainer = train(model, tmp_path, songs)
    with pytest.raises(ValueError, match="A contrastive batch must hold at least 2 pairs of song and text, got 1"):
        trainer.training_step(trainer.model, collate(songs[:1]))
