# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Checks of the repository of a model or a data set in a folder, before anything is sent to the Hub."""

import inspect
import re
from pathlib import Path

import yaml
from huggingface_hub import CardData, DatasetCard, ModelCard, ModelCardData
from safetensors import SafetensorError, safe_open
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME

from collap.files import read_object
from collap.hub.code import AUTO_CLASSES, is_hub_id

# What the card is, and what a model, a processor, a tokenizer and `collap calibrate` write, and what is read by
# sentence-transformers; the last are vocabularies.
SAVED_FILES = re.compile(
    r"README\.md|LICENSE|((generation_|processor_|preprocessor_|tokenizer_)?config|tokenizer|special_tokens_map"
    r"|added_tokens|model\.safetensors\.index)\.json|model(-\d+-of-\d+)?\.safetensors|chat_template\.jinja"
    r"|calibration\.json|modules\.json|sentence_bert_config\.json|vocab\.(json|txt)|merges\.txt"
    r"|(spiece|tokenizer|sentencepiece\.bpe)\.model"
)
DATASET_FILES = re.compile(r"README\.md|provenance\.json|data/train-\d{5}-of-\d{5}\.parquet")
CARD_TYPES = {"model": ModelCard, "dataset": DatasetCard}
LOADERS = {"model": "from_pretrained", "dataset": "load_(?:dataset|manifest)"}  # in the Python of a card
LINKS = re.compile(r"\]\(([^)\s]+)")


def repository_files(folder: Path, repo_type: str = "model") -> list[str]:
    """What is uploaded: model, processor and code, or data; card and its pictures; no other folders, and no links."""
    folders = {Path(inspect.getfile(ours)).parent for ours in AUTO_CLASSES} if repo_type == "model" else ()
    known = {path.name for code in folders for path in code.glob("[a-z]*.py")}
    paths, saved = (folder.iterdir(), SAVED_FILES) if repo_type == "model" else (folder.rglob("*"), DATASET_FILES)
    files = [path.relative_to(folder).as_posix() for path in paths if path.is_file() and not path.is_symlink()]
    if "README.md" in files:
        links = LINKS.findall((folder / "README.md").read_text(encoding="utf-8", errors="replace"))
        known |= {link for link in links if link.endswith((".png", ".jpg", ".svg"))}
    return sorted(name for name in files if name in known or saved.fullmatch(name))


def repository_problems(folder: Path, name: str, repo_type: str = "model") -> list[str]:
    """The problems of a folder that is to become the repository `name`, one sentence each."""
    files = repository_files(folder, repo_type)
    needed = ("README.md", "LICENSE", "config.json") if repo_type == "model" else ("README.md", "provenance.json")
    problems = [f"{file} is missing, or a link" for file in needed if file not in files]
    if not problems:
        problems = _card_problems(folder, name, files, repo_type)
    if repo_type == "dataset":
        number = max([1, *(int(file[-13:-8]) for file in files if file.endswith(".parquet"))])
        shards = [f"data/train-{index:05d}-of-{number:05d}.parquet" for index in range(number)]
        return problems + _shard_problems(folder, files, shards)
    preparations = [file for file in ("processor_config.json", "preprocessor_config.json") if file in files]
    if not preparations:
        problems.append("neither processor_config.json nor preprocessor_config.json is there")
    for file in ("config.json", *preparations):
        problems += _code_problems(folder, file, files)
    return problems + _weights_problems(folder, files)


def _code_problems(folder: Path, file: str, files: list[str]) -> list[str]:
    """Whether a JSON file names code that is in the folder."""
    try:
        auto_map = read_object(folder / file).get("auto_map")
    except (OSError, ValueError) as error:
        return [f"{file} can't be read: {error}"]
    if not auto_map:
        return [f"{file} has no auto_map, so trust_remote_code loads no code from here"]
    modules = {f"{reference.partition('.')[0]}.py" for reference in auto_map.values()}
    return [f"{file} names {module}, which is missing" for module in sorted(modules.difference(files))]


def _weights_problems(folder: Path, files: list[str]) -> list[str]:
    index = folder / SAFE_WEIGHTS_INDEX_NAME
    shards = [SAFE_WEIGHTS_NAME]
    if index.name in files:
        try:
            shards = sorted(set(read_object(index)["weight_map"].values()))
        except (OSError, ValueError, KeyError, AttributeError) as error:
            return [f"{index.name} can't be read: {error!r}"]
    return _shard_problems(folder, files, shards)


def _shard_problems(folder: Path, files: list[str], shards: list[str]) -> list[str]:
    problems = [f"{shard} is missing, or a link" for shard in shards if shard not in files]
    for shard in sorted(set(shards).intersection(files)):
        try:
            # Reads the header or the footer, and so that the file is as long as that says; no weights, no songs.
            if shard.endswith(".parquet"):
                import pyarrow.parquet  # only data sets need it

                pyarrow.parquet.read_schema(folder / shard)
            else:
                with safe_open(folder / shard, framework="pt"):
                    pass
        except (OSError, ValueError, SafetensorError) as error:
            problems.append(f"{shard} can't be read: {error}")
    return problems


def _card_problems(folder: Path, name: str, files: list[str], repo_type: str) -> list[str]:
    """The problems of a card: metadata, links, its Python. The Hub checks more when it is pushed."""
    try:
        card = CARD_TYPES[repo_type].load(folder / "README.md")  # also parses the model-index
    except (OSError, ValueError, yaml.YAMLError) as error:
        return [f"README.md can't be read as a {repo_type} card: {error}"]
    problems = metadata_problems(card.data)
    for target in LINKS.findall(card.text):
        if not re.match(r"[a-z]+:|#", target) and target.partition("#")[0] not in files:
            problems.append(f"README.md links to {target!r}, which is not uploaded")
    others = set(re.findall(LOADERS[repo_type] + r'\("([^"]+)"', card.text)) - {name}
    return problems + [f"README.md loads {other!r}, not {name!r}" for other in sorted(others)]


def metadata_problems(data: CardData) -> list[str]:
    """The problems of what the Hub reads of a card: licence (a model may have none), languages, other repositories."""
    problems = []
    licence, name, link = (data.get(key) for key in ("license", "license_name", "license_link"))
    is_unknown = licence is None and isinstance(data, ModelCardData)
    if not is_unknown and not (isinstance(licence, str) and re.fullmatch(r"[a-z0-9][a-z0-9.+-]*", licence)):
        problems.append(
            f"license must be the Hub's name of one licence, such as cc-by-4.0, or 'other', got {licence!r}"
        )
    if licence == "other" and not (name and re.match("https?://", str(link))):
        problems.append(
            "license 'other' needs a license_name and, as license_link, the address of its text, got "
            f"{name!r} and {link!r}"
        )
    for key in ("language", "base_model", "datasets"):
        values = data.get(key, [])
        for value in [values] if isinstance(values, str) else values:
            if key == "language" and not re.fullmatch(r"[a-z]{2,3}|code|multilingual", str(value)):
                problems.append(f"language must be an ISO code such as 'en', got {value!r}")
            elif key != "language" and not is_hub_id(str(value)):
                problems.append(f"{key} must name a repository on the Hub, got {value!r}")
    return problems
