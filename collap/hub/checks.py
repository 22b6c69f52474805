# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Checks of a model repository in a folder, before anything is sent to the Hub."""

import inspect
import json
import re
from pathlib import Path

import yaml
from huggingface_hub import ModelCard, ModelCardData
from safetensors import SafetensorError, safe_open
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME

from collap.hub.code import AUTO_CLASSES, is_hub_id

# What the card is, and what a model, a processor, a tokenizer and `collap calibrate` write; the last are vocabularies.
SAVED_FILES = re.compile(
    r"README\.md|LICENSE|((generation_|processor_|preprocessor_|tokenizer_)?config|tokenizer|special_tokens_map"
    r"|added_tokens|model\.safetensors\.index)\.json|model(-\d+-of-\d+)?\.safetensors|chat_template\.jinja"
    r"|calibration\.json|vocab\.(json|txt)|merges\.txt|(spiece|tokenizer|sentencepiece\.bpe)\.model"
)
LINKS = re.compile(r"\]\(([^)\s]+)")


def repository_files(folder: Path) -> list[str]:
    """What of a folder is uploaded: model, processor, code, card and its pictures; no folders, and no links."""
    folders = {Path(inspect.getfile(ours)).parent for ours in AUTO_CLASSES}
    known = {path.name for code in folders for path in code.glob("[a-z]*.py")}
    files = [path.name for path in folder.iterdir() if path.is_file() and not path.is_symlink()]
    if "README.md" in files:
        links = LINKS.findall((folder / "README.md").read_text(encoding="utf-8", errors="replace"))
        known |= {link for link in links if link.endswith((".png", ".jpg", ".svg"))}
    return sorted(name for name in files if name in known or SAVED_FILES.fullmatch(name))


def repository_problems(folder: Path, name: str) -> list[str]:
    """The problems of a folder that is to become the model repository `name`, one sentence each."""
    files = repository_files(folder)
    problems = [
        f"{file} is missing, or a link" for file in ("README.md", "LICENSE", "config.json") if file not in files
    ]
    if not problems:
        problems = _card_problems(folder, name, files)
    preparations = [file for file in ("processor_config.json", "preprocessor_config.json") if file in files]
    if not preparations:
        problems.append("neither processor_config.json nor preprocessor_config.json is there")
    for file in ("config.json", *preparations):
        problems += _code_problems(folder, file, files)
    return problems + _weights_problems(folder, files)


def _code_problems(folder: Path, file: str, files: list[str]) -> list[str]:
    """Whether a JSON file names code that is in the folder."""
    try:
        auto_map = json.loads((folder / file).read_text(encoding="utf-8")).get("auto_map")
    except (OSError, json.JSONDecodeError) as error:
        return [f"{file} can't be read: {error}"]
    if not auto_map:
        return [f"{file} has no auto_map, so trust_remote_code loads no code from here"]
    modules = {f"{reference.partition('.')[0]}.py" for reference in auto_map.values()}
    return [f"{file} names {module}, which is missing" for module in sorted(modules.difference(files))]


def _weights_problems(folder: Path, files: list[str]) -> list[str]:
    index = folder / SAFE_WEIGHTS_INDEX_NAME
    shards = [SAFE_WEIGHTS_NAME]
    if index.name in files:
        shards = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    problems = [f"{shard} is missing, or a link" for shard in shards if shard not in files]
    for shard in sorted(set(shards).intersection(files)):
        try:
            # Reads the header, and that the file is as long as that says; no weights.
            with safe_open(folder / shard, framework="pt"):
                pass
        except (OSError, SafetensorError) as error:
            problems.append(f"{shard} can't be read: {error}")
    return problems


def _card_problems(folder: Path, name: str, files: list[str]) -> list[str]:
    """The problems of a model card: metadata, links, its Python. The Hub checks more when it is pushed."""
    try:
        card = ModelCard.load(folder / "README.md")  # also parses the model-index
    except (OSError, ValueError, yaml.YAMLError) as error:
        return [f"README.md can't be read as a model card: {error}"]
    problems = _metadata_problems(card.data)
    for target in LINKS.findall(card.text):
        if not re.match(r"[a-z]+:|#", target) and target.partition("#")[0] not in files:
            problems.append(f"README.md links to {target!r}, which is not uploaded")
    others = set(re.findall(r'from_pretrained\("([^"]+)"', card.text)) - {name}
    return problems + [f"README.md loads {other!r}, not {name!r}" for other in sorted(others)]


def _metadata_problems(data: ModelCardData) -> list[str]:
    problems = []
    if not isinstance(data.license, str) or not data.license:
        problems.append(f"license must be the Hub's name of one licence (or 'other'), got {data.license!r}")
    if data.license == "other" and not (data.license_name and re.match("https?://", str(data.license_link))):
        problems.append(
            "license 'other' needs a license_name and, as license_link, the address of its text, got "
            f"{data.license_name!r} and {data.license_link!r}"
        )
    for key in ("language", "base_model", "datasets"):
        values = data.get(key, [])
        for value in [values] if isinstance(values, str) else values:
            if key == "language" and not re.fullmatch(r"[a-z]{2,3}|code|multilingual", str(value)):
                problems.append(f"language must be an ISO code such as 'en', got {value!r}")
            elif key != "language" and not is_hub_id(str(value)):
                problems.append(f"{key} must name a repository on the Hub, got {value!r}")
    return problems
