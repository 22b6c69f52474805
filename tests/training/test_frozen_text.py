# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""A frozen text model encodes each sentence once, without dropout; losses, gradients and scores are the same."""

import copy

import pytest
import torch
from peft import get_peft_model
from test_trainer import collate_with_ids, make_trainer, songs_of_ragged_length
from tiny_models import text_inputs, tiny_config, tiny_text_config

from collap import CollapModel
from collap.training import frozen_text, trainer
from collap.training.arguments import CollapTrainingArguments
from collap.training.build import freeze_text_layers
from collap.training.frozen_text import encode_once
from collap.training.lora import lora_config
from collap.training.loss import split_pairs
from collap.training.trainer import CollapTrainer


def make_model(num_trainable: int = 0) -> CollapModel:
    torch.manual_seed(0)
    text_config = tiny_text_config()
    text_config.num_hidden_layers, text_config.hidden_dropout_prob = 2, 0.3
    config = tiny_config(text_config=text_config, text_granularity="sentence", temporal_position=True)
    model = CollapModel(config)
    freeze_text_layers(model.text_model.encoder, num_trainable)
    return model


def collate(songs: list[dict]) -> dict:
    """Sentences of 2 to 6 tokens; padding on either side, and what it holds, must not matter."""
    batch = collate_with_ids(songs)
    lengths = 2 + batch["input_ids"].sum(-1) % 5
    mask = torch.arange(6) < lengths[:, None]
    if len(songs) % 2:
        mask = mask.flip(-1)
        batch["input_ids"] = batch["input_ids"].flip(-1)
    noise = torch.randint(3, 9, mask.shape)
    section_ids = torch.arange(len(mask)) % 2
    ids = torch.where(mask, batch["input_ids"].sort(-1).values[:, :1], noise)  # a sentence repeats one token
    return {**batch, "input_ids": ids, "attention_mask": mask.long(), "section_ids": section_ids}


def train(model: CollapModel, folder, **changes) -> CollapTrainer:
    """Two epochs of SGD in batches of 4 and 3 songs, and the evaluation after each."""
    songs = songs_of_ragged_length(model.config.encoder_hidden_size)
    arguments = CollapTrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=4,
        num_train_epochs=2,
        optim="sgd",
        learning_rate=0.5,
        eval_strategy="epoch",
        logging_steps=1,
        save_strategy="no",
        section_loss_weight=0.7,
        report_to="none",
        use_cpu=True,
        disable_tqdm=True,
        **changes,
    )
    run = CollapTrainer(
        copy.deepcopy(model), arguments, train_dataset=songs, eval_dataset=songs, data_collator=collate
    )
    run.train()
    return run


@pytest.mark.parametrize(("micro_batch_size", "bf16"), [(None, False), (1, False), (3, False), (None, True)])
def test_training_and_evaluation_are_those_of_the_plain_path(tmp_path, monkeypatch, micro_batch_size, bf16):
    model = make_model()
    ours = train(model, tmp_path, micro_batch_size=micro_batch_size, bf16=bf16)
    monkeypatch.setattr(trainer, "encode_once", lambda model, inputs, known: inputs)
    plain = train(model, tmp_path, micro_batch_size=micro_batch_size, bf16=bf16)
    names = ("loss", "grad_norm", "eval_loss", "eval_text_to_audio_median_rank")
    for name in names:
        values = [[entry[name] for entry in run.state.log_history if name in entry] for run in (ours, plain)]
        assert len(values[0]) >= 2
        if not bf16:
            assert values[0] == pytest.approx(values[1], rel=1e-5)
        elif not name.startswith("eval"):  # rounding grows from step to step, and changes ranks: the first step only
            assert values[0][0] == pytest.approx(values[1][0], rel=0.02)
    expected, before = dict(plain.model.named_parameters()), dict(model.named_parameters())
    for name, weight in ours.model.named_parameters():  # the first weights and the sum of all gradients
        if not bf16:
            torch.testing.assert_close(weight, expected[name], rtol=1e-4, atol=1e-6)
        if name.startswith(("text_model.projection", "text_model.time_query.mlp")):
            assert not torch.equal(weight, before[name])


@pytest.mark.parametrize("steps", [0, 1])
def test_all_layers_compute_in_bf16(tmp_path, steps: int):
    model, dtypes = make_model(), []
    for layer in (model.audio_model.adapter, model.text_model.encoder.encoder.layer[0].attention.self.query):
        layer.register_forward_hook(lambda module, args, output: dtypes.append(output.dtype))
    songs = songs_of_ragged_length(model.config.encoder_hidden_size)
    changes = {"bf16": True, "max_steps": steps, "save_strategy": "no"}
    trainer = make_trainer(model, tmp_path, 4, collate, changes, train_dataset=songs)
    trainer.train() if steps else trainer.evaluate()
    assert set(dtypes) == {torch.bfloat16}


@pytest.mark.parametrize("limit", [2**32, 0])
def test_a_sentence_is_encoded_once(tmp_path, monkeypatch, limit):
    monkeypatch.setattr(frozen_text, "MAX_BYTES", limit)
    model = make_model().train()
    encoded, projected = [], []
    model.text_model.projection.register_forward_hook(lambda *_: projected.append(1))
    model.text_model.encoder.register_forward_pre_hook(
        lambda module, args, inputs: encoded.append(len(inputs["input_ids"])), with_kwargs=True
    )
    memory = {}
    inputs = text_inputs([3, 5, 3, 4])
    inputs["input_ids"][2] = inputs["input_ids"][0]
    known = encode_once(model, inputs, memory)
    assert (sum(encoded), projected) == (3, [])  # under autocast, what is trained would lose its gradient
    given = model.text_model(**known)
    assert sum(encoded) == 3
    again = encode_once(model, {name: value[:2] for name, value in inputs.items()}, memory)
    assert sum(encoded) == (3 if limit else 5)
    torch.testing.assert_close(again["pooled_text_states"], known["pooled_text_states"][:2])
    whole = model.text_model(**inputs)
    torch.testing.assert_close(given.query_embeds, whole.query_embeds)
    with pytest.raises(ValueError, match="pooled_text_states must have 4 rows, got 2"):
        model.text_model(**inputs, pooled_text_states=again["pooled_text_states"])


def test_what_is_trained_is_encoded_anew():
    inputs, memory = text_inputs([3, 5]), {}
    for model in (make_model(1), make_model(2), get_peft_model(make_model(), lora_config(make_model()))):
        encode_once(make_model(), inputs, memory)
        assert len(memory) == 2
        assert encode_once(model, inputs, memory) is inputs
        assert memory == {}  # of other weights, once it is frozen again
    audio_only = make_model()
    audio_only = get_peft_model(audio_only, lora_config(audio_only, towers=["music"]))
    assert encode_once(audio_only, inputs, {})["pooled_text_states"].shape == (2, 16)


def test_inputs_that_differ_in_more_than_token_ids_are_encoded_anew():
    model, inputs = make_model(), text_inputs([3, 5])
    ids = inputs["input_ids"]
    embeds = {"inputs_embeds": model.get_input_embeddings()(ids), "attention_mask": inputs["attention_mask"]}
    own_types = inputs | {"token_type_ids": torch.ones_like(ids)}
    known = inputs | {"pooled_text_states": torch.ones(2, 16)}
    for given in (embeds, own_types, known, inputs | {"position_ids": torch.arange(ids.shape[1])[None]}):
        assert encode_once(model, given, {}) is given
    assert "pooled_text_states" in encode_once(model, inputs | {"token_type_ids": torch.zeros_like(ids)}, {})


def test_micro_batches_cut_pooled_states_by_sentences():
    inputs = text_inputs([2, 3, 4]) | {"sentence_counts": torch.tensor([2, 1]), "pooled_text_states": torch.eye(3, 16)}
    parts = [part["pooled_text_states"] for part in split_pairs(inputs, 2)]
    torch.testing.assert_close(parts, [torch.eye(3, 16)[:2], torch.eye(3, 16)[2:]])


def test_frozen_layers_have_no_dropout():
    encoder = make_model(1).train().text_model.encoder
    dropouts = [encoder.embeddings.dropout, *(layer.output.dropout for layer in encoder.encoder.layer)]
    assert [dropout.training for dropout in dropouts] == [False, False, True]
    everything = make_model(2)
    everything.text_model.encoder.requires_grad_(True)
    assert all(module.training for module in everything.train().text_model.modules())
    assert not any(module.training for module in everything.eval().text_model.modules())
