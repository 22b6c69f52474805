# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
r"""
The exact contrastive loss of a batch that is spread over processes and micro-batches.

Over processes: each process scores its own songs against the texts of all, so that only text queries and rows of
scores are sent, never frames. Over micro-batches: gradient caching (Gao et al., arXiv 2101.06983). All micro-batches
are encoded without a graph; the loss of the whole batch gives the gradient of each embedding; then each micro-batch is
encoded again, with a graph, and these gradients are passed on. Loss and gradients are those of one large batch.
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
from collap.modeling_collap.scoring_collap import text_of_each_sentence

TOKEN_COLUMNS = ("input_ids", "attention_mask", "token_type_ids", "position_ids", "inputs_embeds")
TEXT_ROWS = (*TOKEN_COLUMNS, "pooled_text_states")  # a row a sentence; all other inputs have one row a pair
IDS = ("song_ids", "text_ids", "section_ids")


# --- processes ---


def num_processes() -> int:
    """Processes that train together; 1 if `torch.distributed` was not started."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def gather_with_gradient(tensor: torch.Tensor) -> torch.Tensor:
    """
    The rows `(rows of all processes, ...)` of all processes in the order of their ranks, with a gradient.

    If every process computes the same loss from them, the gradient of a row is that of the *sum* of the losses of all
    processes. DistributedDataParallel and FSDP divide by the number of processes, which leaves that of one loss.
    """
    return tensor if num_processes() == 1 else _Gather.apply(tensor)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, tensor: torch.Tensor) -> torch.Tensor:
        rank = dist.get_rank()
        counts = [torch.zeros(1, dtype=torch.long, device=tensor.device) for _ in range(num_processes())]
        dist.all_gather(counts, torch.tensor([len(tensor)], device=tensor.device))
        sizes = [int(count) for count in counts]
        padded = tensor.new_zeros(max(sizes), *tensor.shape[1:])  # all_gather needs equal shapes
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


# --- losses ---


@dataclass
class Pairs:
    """Embeddings of songs and their texts: all that a loss needs of them."""

    frame_embeds: torch.Tensor  # (B, N, d)
    frame_mask: torch.Tensor  # (B, N)
    query_embeds: torch.Tensor  # (S, d)
    time_query_embeds: torch.Tensor | None  # (S, P)
    sentence_counts: torch.Tensor  # (B,)
    logit_scale: torch.Tensor  # ()

    @classmethod
    def of(cls, output: CollapOutput) -> "Pairs":
        audio, text = output.audio_model_output, output.text_model_output
        texts = text.query_embeds, text.time_query_embeds, text.sentence_counts
        return cls(audio.last_hidden_state, audio.frame_mask, *texts, output.logit_scale)

    @classmethod
    def join(cls, parts: list["Pairs"]) -> "Pairs":
        """Several batches as one; songs are padded to the longest of all."""
        longest = max(part.frame_mask.shape[1] for part in parts)
        columns = {field.name: [getattr(part, field.name) for part in parts] for field in fields(cls)}
        for name, before in (("frame_embeds", (0, 0, 0)), ("frame_mask", (0,))):
            columns[name] = [nn.functional.pad(rows, (*before, longest - rows.shape[1])) for rows in columns[name]]
        scales = columns.pop("logit_scale")
        joined = {name: None if rows[0] is None else torch.cat(rows) for name, rows in columns.items()}
        return cls(**joined, logit_scale=scales[0])

    def split(self) -> list["Pairs"]:
        """Each pair as a batch of its own, without the padding of its song."""
        counts, times = self.sentence_counts.tolist(), self.time_query_embeds
        rows = (
            self.frame_embeds,
            self.frame_mask,
            self.query_embeds.split(counts),
            [None] * len(counts) if times is None else times.split(counts),
            self.sentence_counts[:, None],
        )
        return [
            Pairs(frames[None, mask], mask[None, mask], *of_text, self.logit_scale)
            for frames, mask, *of_text in zip(*rows, strict=True)
        ]

    def to(self, device: torch.device | str) -> "Pairs":
        values = (getattr(self, field.name) for field in fields(self))
        return Pairs(*(None if value is None else value.to(device) for value in values))

    def embeddings(self) -> dict[str, torch.Tensor]:
        """The tensors that have a gradient."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value is not None and value.is_floating_point()}

    @property
    def audio(self) -> CollapAudioOutput:
        return CollapAudioOutput(last_hidden_state=self.frame_embeds, frame_mask=self.frame_mask)

    @property
    def texts(self) -> CollapTextOutput:
        return CollapTextOutput(
            query_embeds=self.query_embeds,
            time_query_embeds=self.time_query_embeds,
            sentence_counts=self.sentence_counts,
        )


@dataclass
class GatheredPairs:
    """The songs of this process and the texts of all: what a loss is computed from."""

    model: CollapModel  # its `similarity` scores; no weight is used
    audio: CollapAudioOutput  # B songs of this process
    texts: CollapTextOutput  # of all processes
    logit_scale: torch.Tensor  # ()
    song_ids: torch.Tensor  # of all pairs
    text_ids: torch.Tensor  # of all pairs
    section_ids: torch.Tensor  # of the sentences of all texts; -1 where there is none

    def logits(self, texts: CollapTextOutput, section_query: bool = False) -> torch.Tensor:
        """Scaled scores of the songs of all processes (rows) and `texts`, the same on every process."""
        rows = self.logit_scale * self.model.similarity(self.audio, texts, section_query=section_query)
        return gather_with_gradient(rows)


def gather_pairs(model: CollapModel, pairs: Pairs, ids: dict[str, torch.Tensor]) -> GatheredPairs:
    """
    Gathers the texts and ids of all processes; `model` has no wrappers.

    Of `song_ids` and `text_ids` `(B,)` and `section_ids` `(S,)`, missing ones are all different, or -1 for sections.
    """
    times, counts, device = pairs.time_query_embeds, pairs.sentence_counts, pairs.sentence_counts.device
    texts = CollapTextOutput(
        query_embeds=gather_with_gradient(pairs.query_embeds),
        time_query_embeds=None if times is None else gather_with_gradient(times),
        sentence_counts=gather_with_gradient(counts),
    )
    # All processes have to gather. Missing ids become numbers that no other pair of any process has.
    rank = dist.get_rank() if num_processes() > 1 else 0
    different = -1 - rank * 2**32 - torch.arange(len(counts), device=device)  # ids are never negative
    no_section = torch.full((len(pairs.query_embeds),), -1, device=device)
    return GatheredPairs(
        model,
        pairs.audio,
        texts,
        pairs.logit_scale,
        gather_with_gradient(ids.get("song_ids", different)),
        gather_with_gradient(ids.get("text_ids", different)),
        gather_with_gradient(ids.get("section_ids", no_section)),
    )


def caption_loss(pairs: GatheredPairs) -> torch.Tensor:
    """The symmetric contrastive loss of songs and whole texts ([`contrastive_loss`])."""
    return contrastive_loss(pairs.logits(pairs.texts), pairs.song_ids, pairs.text_ids)


def section_loss(pairs: GatheredPairs) -> torch.Tensor:
    r"""
    The contrastive loss of songs and section queries (ours; the paper has only whole captions).

    The sentences of a text that describe one section of the song are one section query (`section_query` of
    [`CollapModel.score`]). It has to find its song among all songs, and the song has to find it among the sections of
    all texts. The value is 0 if no text describes a section.
    """
    queries, text_of_query = section_queries_of(pairs.texts, pairs.section_ids)
    if len(text_of_query) == 0:
        return pairs.logit_scale.new_zeros(())
    same_song = pairs.song_ids[:, None] == pairs.song_ids[text_of_query]  # (songs, section queries)
    same_text = pairs.text_ids[:, None] == pairs.text_ids[text_of_query]
    return symmetric_loss(pairs.logits(queries, section_query=True), same_song | same_text)


def section_queries_of(texts: CollapTextOutput, section_ids: torch.Tensor) -> tuple[CollapTextOutput, torch.Tensor]:
    """
    The sections that texts describe, each as a text of its own.

    Sentences of a text with the same number in `section_ids` `(S,)` describe one section, those with -1 none. Returns
    *M* sections and the index `(M,)` of the text of each.
    """
    counts = texts.sentence_counts
    text_of_sentence = text_of_each_sentence(counts, len(texts.query_embeds))  # (S,)
    described = (section_ids >= 0).nonzero().squeeze(-1)
    keys = torch.stack((text_of_sentence, section_ids), dim=-1)[described]
    sections, section_of_sentence, sizes = torch.unique(keys, dim=0, return_inverse=True, return_counts=True)
    order = described[section_of_sentence.argsort(stable=True)]  # section by section
    return CollapTextOutput(query_embeds=texts.query_embeds[order], sentence_counts=sizes), sections[:, 0]


# --- micro-batches ---


def split_ids(inputs: dict[str, Any]) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """The inputs of the model without `return_loss`, and the ids for the loss."""
    ids = {name: inputs[name] for name in IDS if name in inputs}
    return {name: value for name, value in inputs.items() if name not in (*IDS, "return_loss")}, ids


def count_micro_batches(num_pairs: int, micro_batch_size: int | None, device: torch.device) -> int:
    """Micro-batches of at most `micro_batch_size` pairs, the same number on all processes: the largest."""
    if micro_batch_size is None:
        return 1
    count = torch.tensor([-(-num_pairs // micro_batch_size)], device=device)
    if num_processes() > 1:
        dist.all_reduce(count, dist.ReduceOp.MAX)
    return int(count)


def split_pairs(inputs: dict[str, Any], num_parts: int) -> list[dict[str, Any]]:
    """
    Cuts the inputs of the model into `num_parts` of about equal numbers of pairs, each with its own padding only.

    There are fewer parts if there are fewer pairs.
    """
    sentence_counts = inputs["sentence_counts"]
    ends = sentence_counts.cumsum(0).tolist()
    parts = []
    for pairs in torch.arange(len(sentence_counts)).tensor_split(min(num_parts, len(sentence_counts))):
        first, last = int(pairs[0]), int(pairs[-1])
        rows = {True: slice(ends[first] - int(sentence_counts[first]), ends[last]), False: slice(first, last + 1)}
        part = {
            name: value[rows[name in TEXT_ROWS]] if isinstance(value, torch.Tensor) and value.dim() > 0 else value
            for name, value in inputs.items()
        }
        parts.append(_without_padding(part))
    return parts


def _without_padding(part: dict[str, Any]) -> dict[str, Any]:
    """Cuts off the columns (tokens, frames, chunks) that are padding in every row."""
    padded = {
        "attention_mask": TOKEN_COLUMNS,
        "frame_mask": ("encoder_frames", "frame_mask"),
        "audio_attention_mask": ("fbank_features", "input_features", "audio_attention_mask"),
    }
    for mask_name, names in padded.items():
        if mask_name in part:
            is_real = part[mask_name].bool()
            is_real = is_real.flatten(2).any(-1) if is_real.dim() > 2 else is_real
            longest = int(is_real.any(0).nonzero().max()) + 1
            part = part | {name: part[name][:, :longest] for name in names if name in part}
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
        """Inside, random numbers start from this state; afterwards they continue as if none had been drawn."""
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
    The loss of a batch given as micro-batches; its gradients are accumulated in the weights.

    `embed` runs the forward pass of the (wrapped) model, `loss_function` takes the [`Pairs`] of all micro-batches,
    `accumulate` is the context of all backward passes but the last: gradients stay on their process. `num_parts` is
    the largest number of micro-batches of any process: sharded models need the same number of forward passes on each
    process, so a process with fewer repeats its first, without effect. `device` is that of the random numbers.
    """
    if num_parts == 1:
        loss = loss_function(embed(parts[0]))
        backward(loss)
        return loss.detach()

    repeated = num_parts - len(parts)
    states, embedded = [], []
    with torch.no_grad():
        for part in parts:
            states.append(RandomState(device))
            embedded.append(embed(part))
        for _ in range(repeated):
            embed(parts[0])
    whole = Pairs.join(embedded)
    leaves = {name: value.detach().requires_grad_() for name, value in whole.embeddings().items()}
    for name, leaf in leaves.items():
        setattr(whole, name, leaf)
    loss = loss_function(whole)
    # A loss need not use all embeddings: mean pooling has no use for those of time.
    values = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True, materialize_grads=True)
    gradients = dict(zip(leaves, values, strict=True))

    for _ in range(repeated):  # first, because the last backward pass sends the gradients to all processes
        with accumulate():
            backward(sum(value.sum() * 0 for value in embed(parts[0]).embeddings().values()))
    num_songs = num_sentences = 0
    for index, part in enumerate(parts):
        with nullcontext() if index == len(parts) - 1 else accumulate():
            with states[index].again():
                pairs = embed(part)
            embeddings = pairs.embeddings()
            # A scalar whose gradient for each embedding is that of the loss.
            total = embeddings.pop("logit_scale") * gradients["logit_scale"] / len(parts)
            for name, value in embeddings.items():
                first = num_songs if name == "frame_embeds" else num_sentences
                gradient = gradients[name][first : first + len(value), : value.shape[1]]
                total = total + (value * gradient).sum()
            backward(total)
        num_songs, num_sentences = num_songs + len(pairs.frame_mask), num_sentences + len(pairs.query_embeds)
    return loss.detach()
