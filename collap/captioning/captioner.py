# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Captions of whole songs by audio language models of transformers: a pass over the song, then one a section."""

import hashlib
import json
import re
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import yaml
from huggingface_hub import ModelCard
from transformers import (
    AutoConfig,
    AutoModelForMultimodalLM,
    AutoModelForSeq2SeqLM,
    AutoProcessor,
    PreTrainedModel,
    ProcessorMixin,
    Qwen3OmniMoeProcessor,
)

from collap.data.futga import has_times, parse_caption
from collap.modeling_collap.modeling_collap_base import load_complete

from .sections import SAMPLING_RATE, Spans, cut, find_sections, split_long

PROMPTS, TEMPLATES = json.loads(Path(__file__).with_name("prompts.json").read_text(encoding="utf-8")).values()
MAX_NEW_TOKENS = 1024  # of an answer


class Qwen3OmniAudioProcessor(Qwen3OmniMoeProcessor):
    """[`Qwen3OmniMoeProcessor`] without those of images and videos, which need torchvision."""

    # To 30 s, not to the longest of a batch: the last frame of a shorter one would depend on the others.
    audio_kwargs = Qwen3OmniMoeProcessor.audio_kwargs | {"padding": "max_length", "max_length": 480_000}
    audio_kwargs["truncation"] = True  # of the sample that rounding may add

    def __init__(self, feature_extractor=None, tokenizer=None, chat_template=None):
        # The names of the arguments are the parts to load: the parent's `__init__` takes no fewer than four.
        ProcessorMixin.__init__(self, feature_extractor, tokenizer, chat_template=chat_template)
        self.audio_token, self.audio_token_id = tokenizer.audio_token, tokenizer.audio_token_id


class Family(NamedTuple):
    """How models of one type are loaded and prompted."""

    longest_s: float  # most seconds of audio in a request: beyond, their processors cut silently
    model_class: Any = AutoModelForSeq2SeqLM
    processor_class: Any = AutoProcessor
    prompts: dict[str, str] = PROMPTS  # empty: they take audio alone and answer in prose
    prefix: str = ""  # of the arguments of `generate` that are for text


FAMILIES = {
    "musicflamingo": Family(1200.0),
    "audioflamingo3": Family(600.0),
    "qwen2_audio": Family(30.0),
    "qwen3_omni_moe": Family(
        30.0,
        partial(AutoModelForMultimodalLM.from_pretrained, enable_audio_output=False),  # not the part that speaks
        Qwen3OmniAudioProcessor,
        prompts={},
        prefix="thinker_",
    ),
}


def describe_captioner(model: PreTrainedModel, name: str, prompts: dict[str, str]) -> dict[str, str]:
    """What captions depend on: model, its commit (of a folder a hash of the weights), prompts, version of `collap`."""
    revision = getattr(model.config, "_commit_hash", None) or _hash_weight_files(Path(name))
    return {"model": name, "revision": revision, "prompts": hash_prompts(prompts), "collap_version": version("collap")}


def hash_prompts(prompts: dict[str, str]) -> str:
    """What stands for prompts or templates in a manifest."""
    return hashlib.sha256(json.dumps(prompts).encode()).hexdigest()[:16]


def _hash_weight_files(folder: Path) -> str:
    """Not of the weights in the model, which are not there while they are offloaded."""
    digest = hashlib.sha256()
    for file in sorted(file for file in folder.iterdir() if file.suffix in (".safetensors", ".bin")):
        with file.open("rb") as weights:
            digest.update(hashlib.file_digest(weights, "sha256").digest())
    return digest.hexdigest()[:16]


def make_columns(sentences: list[str], spans: Spans, texts: list[Any], **how: Any) -> dict[str, Any]:
    """Columns of a manifest from the sentences on a song and those on its sections, None for one to be left out."""
    found = [(span, text) for span, text in zip(spans, texts, strict=True) if text]
    sections = [{"start_s": start_s, "end_s": end_s, "text": text} for (start_s, end_s), text in found]
    return {"text": sum((text for _, text in found), sentences), "sections": sections, **how}


def find_licence(name: str) -> str:
    """The licence in the card of a model, a folder or a name on the Hub; `"unknown"` without a card or a network."""
    try:
        data = ModelCard.load(Path(name, "README.md") if Path(name).is_dir() else name).data
    except (OSError, ValueError, yaml.YAMLError):
        return "unknown"
    return data.get("license_name") or data.get("license") or "unknown"


class LanguageModelCaptioner:
    """Captions by an audio language model, a folder or a name on the Hub; a ValueError if of a type not supported."""

    def __init__(self, name: str, batch_size: int = 4):
        model_type = AutoConfig.from_pretrained(name).model_type
        if model_type not in FAMILIES:
            raise ValueError(
                f"captioner must be 'tags' or a model of type {', '.join(FAMILIES)}, got {name} of type {model_type}. "
                "Others, such as qwen2_5_omni and voxtral, are not supported: they were not tested."
            )
        self.family = FAMILIES[model_type]
        self.model = load_complete(self.family.model_class, name, dtype="auto", device_map="auto").eval()
        self.processor = self.family.processor_class.from_pretrained(name)
        self.longest_s = getattr(self.processor, "max_audio_len", self.family.longest_s)
        self.batch_size = batch_size
        self.provenance = describe_captioner(self.model, name, self.family.prompts)

    def caption(self, waveform: np.ndarray) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
        """
        [`make_columns`] of a song, `(samples,)` at 16 kHz in [-1, 1], or None, and the answers that were refused.

        One request is on all of it that the model takes, then one on each section: the model's own, if it got the
        whole song and they cover 9/10 of it in order, else [`find_sections`]; in equal parts if longer than it takes.
        """
        duration_s, refused = len(waveform) / SAMPLING_RATE, []
        covered_s = min(duration_s, self.longest_s)
        (answer,) = self._request(waveform, [(0.0, covered_s)], "song", refused)
        if answer is None:
            return None, refused
        spans = read_sections(answer.get("sections"), duration_s) if covered_s == duration_s else None
        how = {"coverage": covered_s / duration_s, "boundaries": "model" if spans else "novelty"}
        spans = split_long(spans or find_sections(waveform), self.longest_s)
        texts = [part and part["sentences"] for part in self._request(waveform, spans, "section", refused)]
        return make_columns(answer["sentences"], spans, texts, **how) if any(texts) else None, refused

    def _request(self, waveform: np.ndarray, spans: Spans, about: str, refused: list[dict[str, Any]]) -> list[Any]:
        """
        The answer on each part of a song to the prompt `about` it; None, and both answers in `refused`, if the second
        is no better. A family without prompts has one try.
        """
        prompts = self.family.prompts
        read = read_answer if prompts else read_prose
        conversations = [[_message("user", prompts.get(about), part)] for part in cut(waveform, spans)]
        answers: list[Any] = [None] * len(spans)
        problems: list[dict[str, Any]] = [{"part_s": list(span), "answers": []} for span in spans]
        for _ in range(2 if prompts else 1):
            unanswered = [index for index, answer in enumerate(answers) if answer is None]
            for start in range(0, len(unanswered), self.batch_size):
                batch = unanswered[start : start + self.batch_size]
                for index, text in zip(batch, self._generate([conversations[index] for index in batch]), strict=True):
                    try:
                        answers[index] = read(text)
                    except ValueError as error:
                        problems[index]["answers"].append({"problem": str(error), "answer": text})
                        again = prompts.get("repair", "").replace("{problem}", str(error))
                        conversations[index] += [_message("assistant", text), _message("user", again)]
        refused += [problem for problem, answer in zip(problems, answers, strict=True) if answer is None]
        return answers

    @torch.inference_mode()
    def _generate(self, conversations: list[list[dict[str, Any]]]) -> list[str]:
        """The next answer in each of some conversations with audio."""
        # Of text only: the encoders need audio that is padded to 30 s, as their processors do without being told.
        settings = {"text_kwargs": {"padding": True, "padding_side": "left"}, "return_tensors": "pt"}
        inputs = self.processor.apply_chat_template(
            conversations, tokenize=True, add_generation_prompt=True, return_dict=True, processor_kwargs=settings
        ).to(self.model.device, self.model.dtype)  # only floating point changes its type
        prefix = self.family.prefix
        options = {f"{prefix}do_sample": False, f"{prefix}max_new_tokens": MAX_NEW_TOKENS}
        tokens = self.model.generate(**inputs, **options)
        return self.processor.batch_decode(tokens[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)


def _message(role: str, text: str | None, audio: np.ndarray | None = None) -> dict[str, Any]:
    parts = [{"type": kind, kind: part} for kind, part in (("audio", audio), ("text", text)) if part is not None]
    return {"role": role, "content": parts}


def read_answer(text: str) -> dict[str, Any]:
    """The JSON object in an answer, which has a list of `sentences` without times; else a ValueError says why."""
    try:
        answer = json.loads(text[text.index("{") : text.rindex("}") + 1])
        json.dumps(answer, ensure_ascii=False).encode()  # half a surrogate pair is no text
    except (ValueError, RecursionError) as error:
        raise ValueError("it has no JSON object that can be read") from error
    sentences = answer.get("sentences")
    are_texts = isinstance(sentences, list) and all(isinstance(text, str) and text.strip() for text in sentences)
    if not sentences or not are_texts:
        raise ValueError('"sentences" must be a non-empty list of strings')
    if any(map(has_times, sentences)):
        raise ValueError("a sentence contains a time")
    return answer


def read_prose(text: str) -> dict[str, Any]:
    """
    The `sentences` of an answer without markdown, but for those with times, and for the last one if it is not
    complete, as [`MAX_NEW_TOKENS`] may have cut it; a ValueError if none is left.
    """
    complete = re.match(r".*[.!?…][\"'”’)*_]*(?=\s|$)", text, re.DOTALL)
    sentences = parse_caption(complete[0].replace("*", ""), duration_s=0.0).sentences if complete else []
    sentences = [sentence for sentence in sentences if not has_times(sentence)]
    if not sentences:
        raise ValueError("it has no complete sentence without a time")
    return {"sentences": sentences}


def read_sections(sections: Any, duration_s: float) -> Spans | None:
    """Start and end in seconds of sections as a model gives them; None if they cannot be used."""
    try:
        lines = [f"({section['start']} - {section['end']}) A section." for section in sections]
    except (TypeError, KeyError):
        return None
    parsed = parse_caption("\n".join(lines), duration_s).sections  # reads the times as FUTGA's, and checks them
    spans = [(section["start_s"], section["end_s"]) for section in parsed or []]
    lengths_s = [end - start for start, end in spans]
    is_usable = len(spans) == len(lines) > 1 and min(lengths_s) >= 1 and sum(lengths_s) >= 0.9 * duration_s
    return spans if is_usable else None
