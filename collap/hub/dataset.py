# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
r"""
Makes a data set of the Hub of a manifest, its songs and texts as they are, with where they come from, and pushes it.

    collap publish-dataset --manifest songs.jsonl --output_dir my-songs --repo_id USER/NAME --dry_run \
        --license cc-by-4.0 --language en --source "Songs of my label, 2019 to 2024, described by their composers."
    collap publish-dataset --output_dir my-songs --repo_id USER/NAME

The first command checks the songs as `collap validate` does, and writes the folder with its README.md, which you may
change; the second pushes it. Songs and texts are published whole: publish only what may be shared. Of paths on this
machine only the names of files are published.
"""

import hashlib
import json
import logging
import re
from collections import Counter
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path, PureWindowsPath
from typing import Any

from huggingface_hub import DatasetCard, DatasetCardData
from huggingface_hub.utils import validate_repo_id
from transformers import HfArgumentParser
from transformers.hf_argparser import HfArg

from collap.captioning.captioner import PROMPTS, TEMPLATES, find_licence, hash_prompts
from collap.cli import HelpFormatter
from collap.data.audio_files import HASH_LENGTH, audio_duration_s, audio_path
from collap.data.manifest import TEXT_COLUMNS, load_manifest
from collap.data.sets.converter import PROVENANCE, read_provenance
from collap.data.validation import validate_manifest
from collap.files import whole_folder, write_json
from collap.hub.card import LicenceArguments
from collap.hub.checks import metadata_problems
from collap.hub.push import HERE, FolderArguments, check_repository, write_and_push
from collap.progress import progress_bar

logger = logging.getLogger(__name__)

SHARD_BYTES = 500 * 10**6  # of songs: so much is in memory at a time
KNOWN_PROMPTS = {hash_prompts(prompts): prompts for prompts in (PROMPTS, TEMPLATES, {})}
# The folders of a path that is absolute or leads upwards, also inside of a sentence; "a / b" and addresses have none.
_NAME = r"(?!\s)[^/\\:\"'\n]+(?<!\s)"
_START = rf"(?:file:/*|~\w*|[A-Za-z]:|(?:{_NAME}[/\\]+)*\.\.)[/\\]+|[/\\]+(?={_NAME}[/\\]+{_NAME}(?:[/\\]|\Z))"
LOCAL_FOLDERS = re.compile(rf"(?<![\w./\\])(?<!:(?=//))(?:{_START})(?:{_NAME}[/\\]+)*")


@dataclass
class DatasetCardArguments(LicenceArguments):
    """What the publisher says of the data set."""

    source: str | None = HfArg(default=None, help="In words: where songs and texts come from.")


@dataclass
class DatasetArguments(FolderArguments):
    """What is published, and where."""

    manifest: str | None = HfArg(default=None, help="Manifest to publish, as for train.py. Default: output_dir.")


def publish_dataset(command_line: list[str]) -> None:
    """`collap publish-dataset`: writes the folder, and pushes it unless `--dry_run` is given."""
    types, style = (DatasetArguments, DatasetCardArguments), HelpFormatter
    parser = HfArgumentParser(types, prog="collap publish-dataset", description=__doc__, formatter_class=style)
    arguments, card = parser.parse_args_into_dataclasses(command_line)
    write_and_push(arguments, card, "dataset", write_dataset)


def write_dataset(manifest: str | Path, output_dir: str | Path, name: str, card: DatasetCardArguments) -> Path:
    """
    Writes a whole data set (parquet shards, card and provenance.json) and checks it, or writes nothing.

    Arguments are as in [`write_repository`], `manifest` as in [`load_manifest`]; `provenance.json` beside it is taken
    over. A ValueError says that there is no licence, or what is wrong with the manifest, a song or the data set.
    """
    metadata = DatasetCardData(**{key: value for key, value in vars(card).items() if key != "source" and value})
    validate_repo_id(name)
    if problems := metadata_problems(metadata):
        what = "Songs and texts are published whole: publish only what may be shared, under a licence that allows it"
        raise ValueError(f"{'; '.join(problems)}. {what}.")
    with whole_folder(output_dir) as folder:
        if not (report := validate_manifest(manifest)).is_valid:
            raise ValueError(f"manifest must have no issue for `collap validate`, got {manifest}: {report}")
        data = load_manifest(manifest, keep_extra_columns=True)
        origin, notes = read_provenance(Path(manifest))
        content = {"name": name, **vars(card), "collap_version": version("collap")}
        content |= {"origin": without_folders({**origin, "notes": notes}), **_write_shards(data, folder)}
        if not card.source and not origin.get("source"):
            logger.warning("The card says that the source of the songs is not stated: state it by --source.")
        write_json(folder / PROVENANCE, content)
        DatasetCard.from_template(metadata, HERE / "dataset_card.md", **content).save(folder / "README.md")
        check_repository(folder, name, "dataset")
    return Path(output_dir)


def _write_shards(data: Any, folder: Path) -> dict[str, Any]:
    """Writes the rows with the bytes of their songs; returns counts, columns, and who captioned how many rows."""
    from datasets import Audio, Dataset, Features, Value, concatenate_datasets  # not before `collap.data` checks it

    features = Features(data.features | {name: Value("string") for name in ("song_id", "sha256")})
    features["audio"] = {"bytes": Value("binary"), "path": Value("string")}  # to encode Audio asks for torchcodec
    seconds, ids, captioners = {}, {}, Counter()  # by hash, of songs whose id is a path, as JSON
    rows, shards, size, texts, sections = [], [], 0, 0, 0
    (folder / "data").mkdir()
    for number, row in enumerate(progress_bar(data, desc="Writing", unit="row"), start=1):
        path = audio_path(row["audio"])
        song = Path(path).read_bytes() if path else row["audio"]["bytes"]
        sha256 = hashlib.sha256(song).hexdigest()
        audio = {"bytes": song, "path": PureWindowsPath(path or row["audio"]["path"] or sha256).name}
        song_id = row.get("song_id")
        if song_id is None or re.search(r"[/\\]", song_id):
            song_id = ids.setdefault(song_id or sha256, sha256[:HASH_LENGTH])
        changed = {"audio": audio, "song_id": song_id, "sha256": sha256}
        rows.append(Dataset.from_list([without_folders(row) | changed], features=features))  # many take much memory
        seconds[sha256] = seconds.get(sha256) or row.get("duration_s") or audio_duration_s(audio)
        texts += (row.get("text") is not None) + len(row.get("texts") or [])
        sections += len(row.get("sections") or [])
        captioners.update([json.dumps(row["captioner"])] if row.get("captioner") else [])
        size += len(song)
        if size >= SHARD_BYTES or number == len(data):
            shards.append(folder / f"data/{len(shards)}.parquet")
            concatenate_datasets(rows).cast_column("audio", Audio()).to_parquet(shards[-1])
            rows, size = [], 0
    for number, shard in enumerate(shards):
        shard.rename(folder / f"data/train-{number:05d}-of-{len(shards):05d}.parquet")
    counts = {"songs": len(seconds), "hours": round(sum(seconds.values()) / 3600, 3), "rows": len(data)}
    described = [_describe(json.loads(who)) | {"rows": count} for who, count in captioners.items()]
    return {"counts": counts | {"texts": texts, "sections": sections}, "columns": [*features], "captioners": described}


def _describe(captioner: Any) -> dict[str, Any]:
    """A captioner as `collap caption` names it, with the licence of the model and the prompts, if known."""
    if not isinstance(captioner, dict):  # a person, say
        return {"model": without_folders(str(captioner))}
    prompts = KNOWN_PROMPTS.get(captioner.get("prompts"))
    return without_folders(captioner) | {"licence": find_licence(str(captioner.get("model"))), "prompt_texts": prompts}


def without_folders(value: Any) -> Any:
    """Strings, also in lists and dicts, without the folders of this machine; texts stay as they are."""
    if isinstance(value, dict):
        return {key: item if key in TEXT_COLUMNS else without_folders(item) for key, item in value.items()}
    if isinstance(value, list):
        return [without_folders(item) for item in value]
    return LOCAL_FOLDERS.sub("", value) if isinstance(value, str) else value
