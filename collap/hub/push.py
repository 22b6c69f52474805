# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
r"""
Makes a model repository of a trained CoLLAP (or BEATs) that loads without this package, and pushes it to the Hub.

    collap publish --model my-collap --output_dir my-collap-hub --repo_id USER/NAME --dry_run \
        --evaluation_json my-collap/eval_results.json --evaluation_dataset "My test songs" \
        --training_data "Songs of my label, 2019 to 2024." --license cc-by-4.0 --language en
    collap publish --output_dir my-collap-hub --repo_id USER/NAME

The first command writes the folder and checks it without a network. Read its README.md, and change it if you like. The
second command checks again and pushes. Without `--dry_run` the first command does both.

The folder holds the weights, the configuration, the code, the licence and a model card. It loads by
`AutoModel.from_pretrained(folder, trust_remote_code=True)`, and likewise by the other auto classes. A PEFT adapter (a
folder with `adapter_config.json`) is merged into its base.

Pushing needs a token with write access: `hf auth login`, or the variable HF_TOKEN.
"""

import logging
import shutil
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, ModelCard
from huggingface_hub.utils import validate_repo_id
from transformers import AutoConfig, HfArgumentParser, PreTrainedModel
from transformers.hf_argparser import HfArg

from collap import BeatsConfig, BeatsFeatureExtractor, BeatsModel, CollapConfig, CollapModel, CollapProcessor
from collap.cli import HelpFormatter
from collap.extras import require_extra
from collap.files import find_model_file, whole_folder
from collap.hub.card import CardArguments, render_card
from collap.hub.checks import CARD_TYPES, repository_files, repository_problems
from collap.hub.code import code_is_saved, copy_sentence_transformers_files, for_the_hub, is_hub_id
from collap.modeling_collap.modeling_collap_base import load_complete, resolve_name
from collap.processing.processing_collap import UNLIMITED_TOKENS

logger = logging.getLogger(__name__)

HERE = Path(__file__).resolve().parent
ADAPTER_CONFIG = "adapter_config.json"


@dataclass(frozen=True)
class Kind:
    """The classes, the card template and the tags of one model type."""

    model_class: type[PreTrainedModel]
    processor_class: Any  # of a BEATs its feature extractor
    template: Path
    tags: list[str]


COLLAP = Kind(
    CollapModel,
    CollapProcessor,
    HERE / "model_card.md",
    ["collap", "audio", "music", "text-to-audio-retrieval", "sentence-transformers", "arxiv:2410.02271"],
)
BEATS = Kind(BeatsModel, BeatsFeatureExtractor, HERE / "model_card_beats.md", ["beats", "audio", "arxiv:2212.09058"])
KINDS = {CollapConfig.model_type: COLLAP, BeatsConfig.model_type: BEATS}


@dataclass
class Publication:
    """A model with its processor, ready to be published."""

    kind: Kind
    model: PreTrainedModel  # an adapter is merged into it
    processor: Any  # of a BEATs its feature extractor
    base_models: list[str]  # on the Hub, of its towers or of the adapter

    @classmethod
    def load(cls, name_or_path: str) -> "Publication":
        """
        Loads a CoLLAP, a BEATs, or an adapter of one of them.

        Raises:
            ValueError: if weights are missing, or model and processor do not fit each other.
        """
        base_models = []
        if (Path(name_or_path) / ADAPTER_CONFIG).is_file():
            kind, model, base = _load_adapted(name_or_path)
            base_models = [base] if is_hub_id(base) else []
            if not (Path(name_or_path) / "processor_config.json").is_file():
                name_or_path = base
        else:
            kind, model = _load_model(name_or_path)
        processor = kind.processor_class.from_pretrained(name_or_path)
        if kind is COLLAP:
            processor.check_model(model.config)
        towers = [getattr(model.config, name) for name in model.config.sub_configs]
        on_the_hub = [tower._name_or_path for tower in towers if tower is not None and is_hub_id(tower._name_or_path)]
        return cls(kind, model, processor, base_models or on_the_hub)

    def card(self, name: str, arguments: CardArguments, calibrated: bool) -> ModelCard:
        """
        The model card; errors as in [`render_card`], or if `name` can't be that of a repository. `calibrated` says
        whether a calibration is published with the model.
        """
        validate_repo_id(name)
        if self.kind is BEATS and arguments.evaluation_json:
            raise ValueError("evaluation_json is for retrieval models, got it for a BeatsModel.")
        if self.base_models and not arguments.base_model:
            logger.info("base_model of the card: %s (--base_model changes it)", self.base_models)
            arguments = replace(arguments, base_model=self.base_models)
        config = self.model.config
        variables = {"config": config, "num_parameters": f"{self.model.num_parameters():,}"}
        if self.kind is COLLAP:
            tokens = self.processor.max_text_tokens or self.processor.tokenizer.model_max_length
            variables |= {
                "chunk_encoded_s": config.vectors_per_chunk * config.frame_length_s / config.frame_pooling,
                "max_length_s": self.processor.feature_extractor.max_length_s,
                "max_text_tokens": tokens if tokens < UNLIMITED_TOKENS else None,
                "calibrated": calibrated,
            }
        return render_card(self.kind.template, name, self.kind.tags, arguments, **variables)


def _load_model(name_or_path: str) -> tuple[Kind, PreTrainedModel]:
    model_type = AutoConfig.from_pretrained(resolve_name(name_or_path)).model_type
    if model_type not in KINDS:
        raise ValueError(f"model must be one of {sorted(KINDS)}, got a {model_type!r}.")
    kind = KINDS[model_type]
    return kind, load_complete(kind.model_class, name_or_path)


def _load_adapted(folder: str) -> tuple[Kind, PreTrainedModel, str]:
    """The base of an adapter with the adapter merged into it, and the name of the base."""
    require_extra("train", "peft")
    from peft import PeftConfig, PeftModel  # only adapters need it

    base = PeftConfig.from_pretrained(folder).base_model_name_or_path
    if not base:
        raise ValueError(f"model: {folder}/{ADAPTER_CONFIG} must have a base_model_name_or_path, got {base!r}.")
    kind, model = _load_model(base)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", ".*missing adapter keys")  # else PEFT goes on with fresh weights
        try:
            adapted = PeftModel.from_pretrained(model, folder)
        except UserWarning as warning:
            raise ValueError(f"model must be a whole adapter, got {folder!r}: {warning}") from warning
    logger.info("Merging the adapter %s into %s.", folder, base)
    return kind, adapted.merge_and_unload(safe_merge=True), base


def write_repository(model: str | Path, output_dir: str | Path, name: str, card: CardArguments) -> Path:
    """
    Writes a whole repository and checks it, or writes nothing.

    Args:
        model (`str` or `Path`): Folder or Hub name of a CoLLAP with its processor, of a BEATs, or of an adapter.
        output_dir (`str` or `Path`): Folder to write.
        name (`str`): The repository's name in the card, USER/NAME.
        card ([`CardArguments`]): What the publisher adds to the card.

    Raises:
        ValueError: if `output_dir` exists and is not an empty folder, or the repository has a problem; as
            [`Publication.load`].
    """
    with whole_folder(output_dir) as folder:
        publication = Publication.load(str(model))
        with code_is_saved():
            for_the_hub(publication.model).save_pretrained(folder)
            for_the_hub(publication.processor).save_pretrained(folder)
        shutil.copy(HERE / "LICENSE", folder / "LICENSE")
        if publication.kind is COLLAP:
            copy_sentence_transformers_files(folder)
        calibration = None
        if not (Path(model) / ADAPTER_CONFIG).is_file():  # merged, it has other weights
            calibration = find_model_file(model, "calibration.json")
        if calibration is not None:
            shutil.copy(calibration, folder)
        publication.card(name, card, calibration is not None).save(folder / "README.md")
        if card.license is None:
            logger.warning("The card states no licence for the weights: `collap publish --license` states it.")
        if publication.kind is COLLAP and not card.evaluation_json:
            logger.info("The card has no metrics: `collap publish --evaluation_json` takes those of a training.")
        files = check_repository(folder, name)
        if unknown := {path.name for path in folder.iterdir()}.difference(files):
            raise ValueError(f"model has files that are not known to belong to a model: {sorted(unknown)}.")
    return Path(output_dir)


def check_repository(folder: Path, name: str, repo_type: str = "model") -> list[str]:
    """The files of the folder that are uploaded; a `ValueError` with all problems of the folder, if there are any."""
    validate_repo_id(name)
    problems = repository_problems(folder, name, repo_type)
    if problems:
        lines = "\n".join(f"  {problem}" for problem in problems)
        raise ValueError(f"{folder} has {len(problems)} problem(s):\n{lines}")
    return repository_files(folder, repo_type)


def push_repository(
    folder: str | Path,
    repo_id: str,
    token: str | None = None,
    private: bool | None = None,
    again: str = "",
    repo_type: str = "model",
) -> str:
    """
    Pushes a folder that `collap publish` or `publish-dataset` wrote, in one commit: it arrives whole or not at all.

    Args:
        folder (`str` or `Path`):
            Stays as it is in any case. Of other files than those of [`repository_files`] nothing is uploaded.
        repo_id (`str`): USER/NAME, created if it does not exist. Files there that are not in the folder stay.
        token (`str`, *optional*): Default: that of `hf auth login` or HF_TOKEN.
        private (`bool`, *optional*): For a new repository. Default: the setting of the account.
        again (`str`): The command to try again by, for the message of an error.
        repo_type (`str`): `"model"` or `"dataset"`.

    Returns:
        `str`: address of the commit.

    Raises:
        ValueError: if the folder has a problem.
        RuntimeError: if the Hub refuses it, with the reason.
    """
    folder = Path(folder)
    files = check_repository(folder, repo_id, repo_type)
    api = HfApi(token=token)
    try:
        CARD_TYPES[repo_type].load(folder / "README.md").validate()  # by the Hub, before anything is created there
        api.create_repo(repo_id, repo_type=repo_type, private=private, exist_ok=True)
        where = {"repo_id": repo_id, "repo_type": repo_type, "commit_message": f"Publish {Path(repo_id).name}"}
        commit = api.upload_folder(folder_path=folder, allow_patterns=files, **where)
    except Exception as error:  # of the HTTP client, of huggingface_hub or of its transfer library
        raise RuntimeError(
            f"{repo_id} was not published: {_reason(error, repo_id)} {folder} is unchanged. {again}".strip()
        ) from error
    return str(commit.commit_url)


def _reason(error: BaseException, repo_id: str) -> str:
    cause: BaseException | None = error
    while cause is not None:  # a failed upload of one file wraps the answer of the Hub
        status = getattr(getattr(cause, "response", None), "status_code", None)
        if status == 401:
            return "there is no token, or it is not valid (401). Log in by `hf auth login`, or set HF_TOKEN."
        if status == 403:
            return f"the token has no write access to {repo_id} (403)."
        if status is not None:
            return f"the Hub answered {status}: {' '.join(str(cause).split())}."
        cause = cause.__cause__
    return f"{type(error).__name__}: {' '.join(str(error).split())}."


def publish_model(
    model: str | Path, repo_id: str, card: CardArguments, token: str | None = None, private: bool | None = None
) -> str:
    """
    [`write_repository`] and [`push_repository`] in one, for the end of a training; no folder is left.

    `repo_id` is USER/NAME; a NAME alone belongs to the user of the token. All else is as in the two.
    """
    again = f"Try again by `collap publish --model {model} --output_dir FOLDER --repo_id {repo_id}`."
    if "/" not in repo_id:
        try:
            repo_id = f"{HfApi(token=token).whoami()['name']}/{repo_id}"
        except Exception as error:
            raise RuntimeError(f"{repo_id} was not published: {_reason(error, repo_id)} {again}") from error
    with tempfile.TemporaryDirectory(dir=model, prefix=".publish-") as temporary:
        folder = write_repository(model, Path(temporary) / "repository", repo_id, card)
        return push_repository(folder, repo_id, token, private, again)


@dataclass
class FolderArguments:
    """Which folder is published, and where."""

    output_dir: str = HfArg(
        help="Folder to write, which must not exist or be empty; or to push, as it was written before."
    )
    repo_id: str | None = HfArg(default=None, help="Hub repository to push to, as USER/NAME.")
    private: bool = HfArg(default=False, help="Make a new repository private.")
    dry_run: bool = HfArg(default=False, help="Write the folder and check it, push nothing.")


@dataclass
class PublishArguments(FolderArguments):
    """What is published, and where."""

    model: str | None = HfArg(
        default=None, help="Folder or Hub name of a CoLLAP with its processor, or of a BEATs. Default: output_dir."
    )


def publish(command_line: list[str]) -> None:
    """`collap publish`: writes the folder, and pushes it unless `--dry_run` is given."""
    types, style = (PublishArguments, CardArguments), HelpFormatter
    parser = HfArgumentParser(types, prog="collap publish", description=__doc__, formatter_class=style)
    arguments, card = parser.parse_args_into_dataclasses(command_line)
    write_and_push(arguments, card, "model", write_repository)


def write_and_push(arguments: FolderArguments, card: Any, repo_type: str, write: Callable[..., Any]) -> None:
    """Writes a repository by `write` if its source (a model, or the manifest of a data set) is given; pushes it."""
    what, command = {"model": ("model", "publish"), "dataset": ("manifest", "publish-dataset")}[repo_type]
    folder, source = Path(arguments.output_dir), getattr(arguments, what)
    if not arguments.dry_run and (arguments.repo_id is None or "/" not in arguments.repo_id):
        raise ValueError(f"repo_id must be USER/NAME to push (or give --dry_run), got {arguments.repo_id!r}.")
    name = arguments.repo_id or folder.resolve().name
    if source is not None:
        write(source, folder, name, card)
    elif card != type(card)():
        raise ValueError(f"Without --{what} the folder is not changed: edit its README.md in place of arguments.")
    files = check_repository(folder, name, repo_type)
    logger.info("Checked %s: %s", folder, ", ".join(files))
    if others := sorted({path.name for path in folder.iterdir()} - {file.partition("/")[0] for file in files}):
        logger.warning("Not uploaded, as they are no part of the %s or its card: %s", repo_type, ", ".join(others))
    if arguments.dry_run:
        logger.info("Nothing was pushed.")
        return
    again = f"Try again by `collap {command} --output_dir {folder} --repo_id {name}`."
    logger.info("Pushed: %s", push_repository(folder, name, None, arguments.private or None, again, repo_type))
