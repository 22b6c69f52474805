# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""N processes x b songs, one process x N b songs, and micro-batches: the same loss and the same gradients."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from exact_loss_script import SECTION_LOSS_WEIGHT, make_model, make_songs, train
from processes import run_processes
from safetensors.torch import load_file
from torch.nn.functional import normalize

from collap import CollapDataCollator, CollapModel, CollapOutput
from collap.modeling_collap.scoring_collap import score_sentences
from collap.training.dataset import ContrastiveBatchSampler

SECONDS = [1.5, 0.4, 2.3, 0.7, 1.0, 0.9, 1.2, 0.5, 2.0, 0.3, 0.8]
# Songs in a batch / songs in a micro-batch. 11 songs in batches of at most 8 are 6 and 5, so that no number of
# processes divides both.
RUNS = ["8/all", "8/1", "8/2"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Eleven pairs, songs of 0.3 to 2.3 s: one song has three captions, and three songs share one."""
    folder = tmp_path_factory.mktemp("exact")
    generator = np.random.default_rng(0)
    lines = []
    for index, seconds in enumerate(SECONDS):
        # Songs and texts that differ: where all are alike, gradients are differences of like numbers, and rounding is
        # most of them.
        time = np.arange(int(16_000 * seconds)) / 16_000
        waveform = 0.3 * np.sin(2 * np.pi * 80 * 1.5**index * time) + 1e-3 * generator.standard_normal(len(time))
        soundfile.write(folder / f"{index}.wav", waveform, 16_000)
        text = [" ".join(f"word{generator.integers(40)}" for _ in range(6)) for _ in range(1 + index % 4)]
        # Texts of three and four sentences: the first two describe one section, the last one another.
        sections = [(0.0, 0.1, text[:2]), (0.1, 0.2, text[-1:])] if len(text) > 2 else []
        sections = [{"start_s": start, "end_s": end, "text": own} for start, end, own in sections]
        lines.append({"audio": f"{index}.wav", "text": text, "sections": sections})
    for index in (3, 6):  # of three, two are in one of the two batches of an epoch
        lines[index]["audio"] = lines[2]["audio"]
    for index in (5, 8):
        lines[index] |= {"text": lines[4]["text"], "sections": lines[4]["sections"]}
    (folder / "songs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def reference(folder: Path, batch_size: int, with_ids: bool = True) -> tuple[list[float], dict[str, torch.Tensor]]:
    """The plain way, written out: whole batches through the model, its own loss, one backward pass, SGD."""
    songs, model = make_songs(folder), make_model().train()
    collator = CollapDataCollator(songs.reader.processor)
    sampler = ContrastiveBatchSampler(len(songs), batch_size, songs.lengths(), seed=42)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
    losses, gradients = [], {}
    for epoch in range(2):
        sampler.set_epoch(epoch)
        for batch in sampler:
            inputs = dict(collator([songs[key] for key in batch]))
            section_ids = inputs.pop("section_ids")
            ids = {name: inputs[name] for name in ("song_ids", "text_ids")}
            if not with_ids:
                del inputs["song_ids"], inputs["text_ids"]
            output = model(**inputs)
            loss = output.loss + SECTION_LOSS_WEIGHT * section_loss(model, output, section_ids, **ids)
            loss.backward()
            for name, parameter in model.named_parameters():
                if parameter.grad is not None:
                    gradients[f"{len(losses)}.{name}"] = parameter.grad.clone()
            losses.append(loss.item())
            optimizer.step()
            optimizer.zero_grad()
    return losses, gradients


def section_loss(
    model: CollapModel, output: CollapOutput, section_ids: torch.Tensor, song_ids: torch.Tensor, text_ids: torch.Tensor
) -> torch.Tensor:
    """Section by section, song by song; only the temporal alignment of one song and one query is not written out."""
    text = output.text_model_output
    queries, origins = [], []
    counts = text.sentence_counts.tolist()
    for origin, (sentences, ids) in enumerate(
        zip(text.query_embeds.split(counts), section_ids.split(counts), strict=True)
    ):
        for section in sorted({*ids.tolist()} - {-1}):
            queries.append(normalize(sentences[ids == section].sum(0), dim=0))
            origins.append(origin)
    if not queries:
        return output.loss.new_zeros(())
    config = copy.copy(model.config)
    config.kernel_weight, config.temporal_weight = 0.0, 1.0
    audio, rows = output.audio_model_output, []
    for frames, mask in zip(audio.last_hidden_state, audio.frame_mask, strict=True):
        of_song = [score_sentences(frames[mask][None], mask[mask][None], query[None], config) for query in queries]
        rows.append(torch.cat(of_song, dim=1)[0])
    logits = output.logit_scale * torch.stack(rows)  # (songs, sections)
    belong = [
        [bool(song_ids[song] == song_ids[origin] or text_ids[song] == text_ids[origin]) for origin in origins]
        for song in range(len(rows))
    ]

    def one_way(table: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        losses = []
        for values, is_right in zip(table, right, strict=True):
            wrong = values[~is_right].exp().sum()
            if is_right.any():
                losses.append(torch.stack([-torch.log(z.exp() / (z.exp() + wrong)) for z in values[is_right]]).mean())
        return torch.stack(losses).mean()

    right = torch.tensor(belong)
    return (one_way(logits, right) + one_way(logits.T, right.T)) / 2


def assert_same(folder: Path, name: str, expected: tuple[list[float], dict[str, torch.Tensor]]) -> None:
    losses, gradients = expected
    ours = load_file(folder / f"{name}.safetensors")
    assert json.loads((folder / f"{name}.json").read_text()) == pytest.approx(losses, rel=1e-5)
    assert ours.keys() == gradients.keys()
    for step in range(len(losses)):
        keys = [key for key in gradients if key.startswith(f"{step}.")]
        whole = torch.cat([gradients[key].flatten() for key in keys])
        difference = torch.cat([ours[key].flatten() for key in keys]) - whole
        assert difference.norm() <= 1e-5 * whole.norm(), f"{name}, step {step}"
        for key in keys:  # some, of biases that a softmax ignores, are nothing but rounding
            difference = (ours[key] - gradients[key]).norm()
            assert difference <= 1e-4 * gradients[key].norm() + 1e-6, f"{name}, {key}: {difference}"


@pytest.fixture(scope="module")
def expected(folder) -> tuple[list[float], dict[str, torch.Tensor]]:
    return reference(folder, 8)


def test_the_reference_depends_on_what_is_contrasted(folder, expected):
    """So that the tests below could fail: batches of 4 have other losses, and the ids matter."""
    losses, gradients = expected
    assert len(losses) == 4
    assert any(key.startswith("3.audio_model.music_model") for key in gradients)
    assert any(key.startswith("3.text_model.time_query") for key in gradients)
    assert any(key.startswith("3.logit_scale") for key in gradients)
    assert min(abs(ours - other) for ours in losses for other in reference(folder, 4)[0]) > 0.02
    without_ids = reference(folder, 8, with_ids=False)[0]
    assert sum(abs(ours - other) > 0.01 for ours, other in zip(losses, without_ids, strict=True)) >= 2


@pytest.mark.parametrize("run", RUNS)
def test_micro_batches_give_the_loss_of_the_batch(folder, expected, run: str):
    batch, micro = run.split("/")
    train(folder, run.replace("/", "-"), int(batch), None if micro == "all" else int(micro))
    assert_same(folder, f"{run.replace('/', '-')}-0-of-1", expected)


@pytest.mark.slow
@pytest.mark.parametrize("num_processes", [2, 3])
def test_processes_give_the_loss_of_one(folder, expected, num_processes: int):
    run_processes(num_processes, Path(__file__).with_name("exact_loss_script.py"), str(folder), *RUNS)
    for run in RUNS:
        for process in range(num_processes):
            assert_same(folder, f"{run.replace('/', '-')}-{process}-of-{num_processes}", expected)
