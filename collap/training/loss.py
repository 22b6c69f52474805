# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
r"""
The exact contrastive loss of a batch that is spread over processes and micro-batches.

Over processes: each scores its own songs against the texts of all, so that only the texts' queries and the finished
rows of scores travel, never frames. Over micro-batches: gradient caching (Gao et al., arXiv 2101.06983). Everything is
embedded without a graph; the loss over all of it gives the gradient of each embedding; then each micro-batch is
embedded again, with a graph, and passes its gradients on. The loss and the gradients are those of one big batch.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, fields
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from collap.modeling_collap.loss_collap import contrastive_loss, symmetric_loss
from collap.modeling_collap.modeling_collap import CollapModel
from collap.modeling_collap.outputs_collap import CollapAudioOutput, CollapOutput, CollapTextOutput


def num_processes() -> int:
    """Processes that train together; 1 if `torch.distributed` was not started."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def gather_with_gradient(tensor: torch.Tensor) -> torch.Tensor:
    """
    The rows of all processes, in the order of their ranks; a gradient finds its way back to the process of its row.

    If every process computes the same loss from what was gathered, the gradient of a row is that of the *sum* of the
    losses of all processes. DistributedDataParallel and FSDP divide by the number of processes, which leaves the
    gradient of one loss.

    Args:
        tensor (`torch.Tensor` of shape `(rows of this process, ...)`): On the device of the process group.

    Returns:
        `torch.Tensor` of shape `(rows of all processes, ...)`; on one process `tensor` itself.
    """
    return tensor if num_processes() == 1 else _Gather.apply(tensor)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, tensor: torch.Tensor) -> torch.Tensor:
        rank = dist.get_rank()
        counts = [torch.zeros(1, dtype=torch.long, device=tensor.device) for _ in range(num_processes())]
        dist.all_gather(counts, torch.tensor([len(tensor)], device=tensor.device))
        sizes = [int(count) for count in counts]
        # The collective wants equal shapes.
        padded = tensor.new_zeros(max(sizes), *tensor.shape[1:])
        padded[: len(tensor)] = tensor
        gathered = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(gathered, padded)
        ctx.own = slice(sum(sizes[:rank]), sum(sizes[: rank + 1]))
        return torch.cat([rows[:size] for rows, size in zip(gathered, sizes, strict=True)])

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, gradient: torch.Tensor) -> torch.Tensor:
        total = gradient.contiguous().clone()
        dist.all_reduce(total)
        return total[ctx.own]


TEXT_ROWS = ("input_ids", "attention_mask", "token_type_ids")  # one row a sentence, everything else one a pair
IDS = ("song_ids", "text_ids", "section_ids")


@dataclass
class Pairs:
    """What the loss needs to know of some songs and their texts."""

    frame_embeds: torch.Tensor  # (B, N, d)
    frame_mask: torch.Tensor  # (B, N)
    query_embeds: torch.Tensor  # (S, d)
    time_query_embeds: torch.Tensor | None  # (S, P)
    sentence_counts: torch.Tensor  # (B,)
    logit_scale: torch.Tensor  # ()

    @classmethod
    def of(cls, output: CollapOutput) -> "Pairs":
        audio, text = output.audio_model_output, output.text_model_output
        return cls(
            audio.last_hidden_state,
            audio.frame_mask,
            text.query_embeds,
            text.time_query_embeds,
            text.sentence_counts,
            output.logit_scale,
        )

    @classmethod
    def join(cls, parts: list["Pairs"]) -> "Pairs":
        """Several micro-batches as one batch; songs are padded to the longest of all."""
        longest = max(part.frame_mask.shape[1] for part in parts)

        def pad(frames: torch.Tensor) -> torch.Tensor:
            missing = (0, 0) * (frames.dim() - 2) + (0, longest - frames.shape[1])
            return nn.functional.pad(frames, missing)

        with_time = parts[0].time_query_embeds is not None
        return cls(
            torch.cat([pad(part.frame_embeds) for part in parts]),
            torch.cat([pad(part.frame_mask) for part in parts]),
            torch.cat([part.query_embeds for part in parts]),
            torch.cat([part.time_query_embeds for part in parts]) if with_time else None,
            torch.cat([part.sentence_counts for part in parts]),
            parts[0].logit_scale,
        )

    def embeddings(self) -> dict[str, torch.Tensor]:
        """What has a gradient."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value is not None and value.is_floating_point()}


@dataclass
class GatheredPairs:
    """The songs of this process and the texts of all: what a loss is computed from."""

    model: CollapModel  # its `similarity` scores; no weight is read
    audio: CollapAudioOutput  # B songs of this process
    texts: CollapTextOutput  # of all processes
    logit_scale: torch.Tensor  # ()
    song_ids: torch.Tensor  # of all pairs
    text_ids: torch.Tensor  # of all pairs
    section_ids: torch.Tensor  # of the sentences of all texts; -1 where none is known

    def logits(self, texts: CollapTextOutput, section_query: bool = False) -> torch.Tensor:
        """Scaled scores of the songs of all processes (rows) and `texts`, the same on every process."""
        rows = self.logit_scale * self.model.similarity(self.audio, texts, section_query=section_query)
        return gather_with_gradient(rows)


def gather_pairs(model: CollapModel, pairs: Pairs, ids: dict[str, torch.Tensor]) -> GatheredPairs:
    """
    Gathers the texts and ids of all processes.

    Args:
        model ([`CollapModel`]): Without its wrappers.
        pairs ([`Pairs`]): Songs and texts of this process.
        ids (`dict`): `song_ids` and `text_ids` `(B,)` and `section_ids` `(S,)` of this process. Missing song and text
            ids are taken to be all different, missing section ids to be -1.
    """
    times = pairs.time_query_embeds
    texts = CollapTextOutput(
        query_embeds=gather_with_gradient(pairs.query_embeds),
        time_query_embeds=None if times is None else gather_with_gradient(times),
        sentence_counts=gather_with_gradient(pairs.sentence_counts),
    )
    # All processes have to gather. In place of missing ids stand numbers that no other pair of any process has.
    counts, device = pairs.sentence_counts, pairs.sentence_counts.device
    rank = dist.get_rank() if num_processes() > 1 else 0
    different = -1 - rank * 2**32 - torch.arange(len(counts), device=device)  # ids are never negative
    no_section = torch.full((len(pairs.query_embeds),), -1, device=device)
    return GatheredPairs(
        model,
        CollapAudioOutput(last_hidden_state=pairs.frame_embeds, frame_mask=pairs.frame_mask),
        texts,
        pairs.logit_scale,
        gather_with_gradient(ids.get("song_ids", different)),
        gather_with_gradient(ids.get("text_ids", different)),
        gather_with_gradient(ids.get("section_ids", no_section)),
    )


@dataclass(frozen=True)
class ContrastiveLoss:
    """The symmetric contrastive loss of songs and whole texts ([`contrastive_loss`])."""

    def __call__(self, pairs: GatheredPairs) -> torch.Tensor:
        return contrastive_loss(pairs.logits(pairs.texts), pairs.song_ids, pairs.text_ids)


@dataclass(frozen=True)
class SectionLoss:
    r"""
    The contrastive loss of songs and section queries (ours; the paper has only whole captions).

    The sentences of a text that describe one section of the song have to find the song together, as one section query
    (`section_query` of [`CollapModel.score`]), among all songs; and the song has to find them, among the sections of
    all texts. The value is 0 if no text describes a section.

    Args:
        weight (`float`): Factor of the loss.
    """

    weight: float = 1.0

    def __call__(self, pairs: GatheredPairs) -> torch.Tensor:
        queries, text_of_query = section_queries_of(pairs.texts, pairs.section_ids)
        if len(text_of_query) == 0:
            return pairs.logit_scale.new_zeros(())
        same_song = pairs.song_ids[:, None] == pairs.song_ids[text_of_query]  # (songs, section queries)
        same_text = pairs.text_ids[:, None] == pairs.text_ids[text_of_query]
        return self.weight * symmetric_loss(pairs.logits(queries, section_query=True), same_song | same_text)


def section_queries_of(texts: CollapTextOutput, section_ids: torch.Tensor) -> tuple[CollapTextOutput, torch.Tensor]:
    """
    The sections that texts describe, each as a text of its own.

    Args:
        texts ([`CollapTextOutput`]): Queries `(S, d)` and sentence counts `(T,)`.
        section_ids (`torch.Tensor` of shape `(S,)`): Sentences of a text with the same number describe one section; -1
            for a sentence that describes none.

    Returns:
        [`CollapTextOutput`] of *M* sections, and the text `(M,)` that each is from.
    """
    counts = texts.sentence_counts
    text_of_sentence = torch.arange(len(counts), device=counts.device).repeat_interleave(counts)  # (S,)
    described = (section_ids >= 0).nonzero().squeeze(-1)
    keys = torch.stack((text_of_sentence, section_ids), dim=-1)[described]
    sections, section_of_sentence, sizes = torch.unique(keys, dim=0, return_inverse=True, return_counts=True)
    order = described[section_of_sentence.argsort(stable=True)]  # the sentences of a section side by side
    return CollapTextOutput(query_embeds=texts.query_embeds[order], sentence_counts=sizes), sections[:, 0]


def split_ids(inputs: dict[str, Any]) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """The inputs of the model without the wish for a loss, and the ids that the loss goes by."""
    ids = {name: inputs[name] for name in IDS if name in inputs}
    return {name: value for name, value in inputs.items() if name not in (*IDS, "return_loss")}, ids


def count_micro_batches(num_pairs: int, micro_batch_size: int | None, device: torch.device) -> int:
    """Micro-batches of at most `micro_batch_size` pairs; as many on each process, as the one with most needs."""
    if micro_batch_size is None:
        return 1
    count = torch.tensor([-(-num_pairs // micro_batch_size)], device=device)
    if num_processes() > 1:
        dist.all_reduce(count, dist.ReduceOp.MAX)
    return int(count)


def split_pairs(inputs: dict[str, Any], num_parts: int) -> list[dict[str, Any]]:
    """
    Cuts the inputs of the model into `num_parts` of about as many pairs, each without padding that only others need.

    There may be fewer parts than asked for: as many as there are pairs.
    """
    sentence_counts = inputs["sentence_counts"]
    ends = sentence_counts.cumsum(0).tolist()
    parts = []
    for pairs in torch.arange(len(sentence_counts)).tensor_split(min(num_parts, len(sentence_counts))):
        first, last = int(pairs[0]), int(pairs[-1])
        of_pairs = slice(first, last + 1)
        of_sentences = slice(ends[first] - int(sentence_counts[first]), ends[last])
        part = {}
        for name, value in inputs.items():
            if isinstance(value, torch.Tensor) and value.dim() > 0:
                value = value[of_sentences if name in TEXT_ROWS else of_pairs]
            part[name] = value
        parts.append(_without_padding(part))
    return parts


def _without_padding(part: dict[str, Any]) -> dict[str, Any]:
    """Cuts off the columns (tokens, frames, chunks) that are padding in every row."""
    part = dict(part)
    padded = {
        "attention_mask": TEXT_ROWS,
        "frame_mask": ("encoder_frames", "frame_mask"),
        "audio_attention_mask": ("fbank_features", "input_features", "audio_attention_mask"),
    }
    for mask_name, names in padded.items():
        if mask_name not in part:
            continue
        is_real = part[mask_name].bool().flatten(2).any(-1) if part[mask_name].dim() > 2 else part[mask_name].bool()
        longest = int(is_real.any(0).nonzero().max()) + 1
        part |= {name: part[name][:, :longest] for name in names if name in part}
    return part


class RandomState:
    """The state of torch's random numbers, to draw the same dropout again."""

    def __init__(self, device: torch.device):
        self.device = device
        self.cpu_state = torch.get_rng_state()
        self.device_state = None
        if device.type != "cpu":
            self.device_state = torch.get_device_module(device).get_rng_state(device)

    @contextmanager
    def again(self) -> Iterator[None]:
        """Inside, random numbers begin at the kept state; afterwards they go on as if nothing had been drawn."""
        devices = [] if self.device_state is None else [self.device]
        with torch.random.fork_rng(devices, device_type=self.device.type if devices else "cuda"):
            torch.set_rng_state(self.cpu_state)
            if devices:
                torch.get_device_module(self.device).set_rng_state(self.device_state, self.device)
            yield


def loss_and_backward(
    embed: Callable[[dict[str, Any]], Pairs],
    parts: list[dict[str, Any]],
    num_parts: int,
    loss_function: Callable[[Pairs], torch.Tensor],
    backward: Callable[[torch.Tensor], None],
    accumulate: Callable[[], AbstractContextManager],
    device: torch.device,
) -> torch.Tensor:
    """
    The loss of a batch given as micro-batches, with its gradients accumulated in the weights.

    Args:
        embed (`Callable`): Micro-batch to [`Pairs`]; runs the (wrapped) model's forward.
        parts (`list`): The micro-batches of this process, one at least.
        num_parts (`int`): Micro-batches of the process that has most. Sharded models need as many forward passes on
            each process, so a process with fewer repeats its first, without effect.
        loss_function (`Callable`): [`Pairs`] of all micro-batches to the loss.
        backward (`Callable`): Computes gradients of a scalar (the accelerator's, which scales for float16).
        accumulate (`Callable`): Context of all backward passes but the last: gradients stay on their process.
        device (`torch.device`): Whose random numbers are drawn.

    Returns:
        `torch.Tensor`: the loss, without a graph.
    """
    if num_parts == 1:
        loss = loss_function(embed(parts[0]))
        backward(loss)
        return loss.detach()

    states, embedded = [], []
    for part in parts:
        states.append(RandomState(device))
        with torch.no_grad():
            embedded.append(embed(part))
    for _ in range(num_parts - len(parts)):
        with torch.no_grad():
            embed(parts[0])

    together = Pairs.join(embedded)
    leaves = {name: value.detach().requires_grad_() for name, value in together.embeddings().items()}
    for name, leaf in leaves.items():
        setattr(together, name, leaf)
    loss = loss_function(together)
    gradients = dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values())), strict=True))

    # Dummies first: what comes last goes over the processes.
    turns = [None] * (num_parts - len(parts)) + list(range(len(parts)))
    ends = {"songs": 0, "sentences": 0}
    for turn in turns:
        is_last = turn == len(parts) - 1
        with nullcontext() if is_last else accumulate():
            if turn is None:
                backward(sum(value.sum() * 0 for value in embed(parts[0]).embeddings().values()))
                continue
            with states[turn].again():
                pairs = embed(parts[turn])
            songs = slice(ends["songs"], ends["songs"] + len(pairs.frame_mask))
            sentences = slice(ends["sentences"], ends["sentences"] + len(pairs.query_embeds))
            ends = {"songs": songs.stop, "sentences": sentences.stop}
            # A scalar whose gradient by each embedding is the one that the loss gave it.
            backward(_dot(pairs, gradients, songs, sentences, len(parts)))
    return loss.detach()


def _dot(
    pairs: Pairs, gradients: dict[str, torch.Tensor], songs: slice, sentences: slice, num_parts: int
) -> torch.Tensor:
    num_frames = pairs.frame_mask.shape[1]
    total = pairs.logit_scale * gradients["logit_scale"] / num_parts
    for name, value in pairs.embeddings().items():
        if name == "frame_embeds":
            total = total + (value * gradients[name][songs, :num_frames]).sum()
        elif name != "logit_scale":
            total = total + (value * gradients[name][sentences]).sum()
    return total


__all__ = [
    "ContrastiveLoss",
    "GatheredPairs",
    "Pairs",
    "SectionLoss",
    "count_micro_batches",
    "gather_pairs",
    "gather_with_gradient",
    "loss_and_backward",
    "num_processes",
    "split_ids",
    "split_pairs",
]
