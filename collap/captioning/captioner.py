# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Captions of whole songs by audio language models of transformers: a pass over the song, then one a section."""

import hashlib
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from huggingface_hub import ModelCard
from transformers import AutoConfig, AutoModelForSeq2SeqLM, AutoProcessor, PreTrainedModel

from collap.data.futga import has_times, parse_caption
from collap.modeling_collap.modeling_collap_base import load_complete

from .sections import SAMPLING_RATE, Spans, cut, find_sections, split_long

PROMPTS, TEMPLATES = json.loads(Path(__file__).with_name("prompts.json").read_text(encoding="utf-8")).values()
MAX_NEW_TOKENS = 1024  # of an answer
# Model type -> most seconds of audio in a request: beyond, their processors cut silently.
FAMILIES = {"musicflamingo": 1200.0, "audioflamingo3": 600.0, "qwen2_audio": 30.0}


def describe_captioner(model: PreTrainedModel, name: str, prompts: dict[str, str]) -> dict[str, str]:
    """What captions depend on: model, its commit (of a folder a hash of the weights), prompts, version of `collap`."""
    revision = getattr(model.config, "_commit_hash", None) or _hash_weight_files(Path(name))
    prompts_hash = hashlib.sha256(json.dumps(prompts).encode()).hexdigest()[:16]
    return {"model": name, "revision": revision, "prompts": prompts_hash, "collap_version": version("collap")}


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
                "Others, such as qwen2_5_omni, qwen3_omni_moe and voxtral, are not supported: they were not tested."
            )
        self.model = load_complete(AutoModelForSeq2SeqLM, name, dtype="auto", device_map="auto").eval()
        self.processor = AutoProcessor.from_pretrained(name)
        self.longest_s = getattr(self.processor, "max_audio_len", FAMILIES[model_type])
        self.batch_size = batch_size
        self.provenance = describe_captioner(self.model, name, PROMPTS)

    def caption(self, waveform: np.ndarray) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
        """
        [`make_columns`] of a song, `(samples,)` at 16 kHz in [-1, 1], or None, and the answers that were refused.

        One request is on all of it that the model takes, then one on each section: the model's own, if it got the
        whole song and they cover 9/10 of it in order, else [`find_sections`]; in equal parts if longer than it takes.
        """
        duration_s, refused = len(waveform) / SAMPLING_RATE, []
        covered_s = min(duration_s, self.longest_s)
        (answer,) = self._ask(waveform, [(0.0, covered_s)], PROMPTS["song"], refused)
        if answer is None:
            return None, refused
        spans = read_sections(answer.get("sections"), duration_s) if covered_s == duration_s else None
        how = {"coverage": covered_s / duration_s, "boundaries": "model" if spans else "novelty"}
        spans = split_long(spans or find_sections(waveform), self.longest_s)
        texts = [part and part["sentences"] for part in self._ask(waveform, spans, PROMPTS["section"], refused)]
        return make_columns(answer["sentences"], spans, texts, **how) if any(texts) else None, refused

    def _ask(self, waveform: np.ndarray, spans: Spans, prompt: str, refused: list[dict[str, Any]]) -> list[Any]:
        """The answer on each part of a song; None, and both answers in `refused`, if the second is no better."""
        talks = [[_message("user", prompt, {"type": "audio", "audio": part})] for part in cut(waveform, spans)]
        answers: list[Any] = [None] * len(spans)
        problems: list[dict[str, Any]] = [{"part_s": list(span), "answers": []} for span in spans]
        for _ in range(2):
            unanswered = [index for index, answer in enumerate(answers) if answer is None]
            for start in range(0, len(unanswered), self.batch_size):
                batch = unanswered[start : start + self.batch_size]
                for index, text in zip(batch, self._generate([talks[index] for index in batch]), strict=True):
                    try:
                        answers[index] = read_answer(text)
                    except ValueError as error:
                        problems[index]["answers"].append({"problem": str(error), "answer": text})
                        again = PROMPTS["repair"].replace("{problem}", str(error))
                        talks[index] += [_message("assistant", text), _message("user", again)]
        refused += [problem for problem, answer in zip(problems, answers, strict=True) if answer is None]
        return answers

    @torch.inference_mode()
    def _generate(self, talks: list[list[dict[str, Any]]]) -> list[str]:
        """The next answer in each of some conversations with audio."""
        # Of text only: the encoders need audio that is padded to 30 s, as their processors do without being told.
        settings = {"text_kwargs": {"padding": True, "padding_side": "left"}, "return_tensors": "pt"}
        inputs = self.processor.apply_chat_template(
            talks, tokenize=True, add_generation_prompt=True, return_dict=True, processor_kwargs=settings
        ).to(self.model.device, self.model.dtype)  # only floating point changes its type
        tokens = self.model.generate(**inputs, do_sample=False, max_new_tokens=MAX_NEW_TOKENS)
        return self.processor.batch_decode(tokens[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)


def _message(role: str, text: str, *audio: dict[str, Any]) -> dict[str, Any]:
    return {"role": role, "content": [*audio, {"type": "text", "text": text}]}


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
