# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
r"""
Makes a model repository of a trained CoLLAP (or BEATs) that loads without this package, and pushes it to the Hub.

    python examples/publish.py --model my-collap --output_dir my-collap-hub --repo_id USER/NAME --dry_run \
        --evaluation_json my-collap/eval_results.json --evaluation_dataset "My test songs" \
        --training_data "What it was trained on." --license cc-by-4.0 --language en
    python examples/publish.py --output_dir my-collap-hub --repo_id USER/NAME

The first command writes the folder and checks it, without a network; look at its README.md, and change it if you like.
The second one checks again and pushes. Without `--dry_run` the first does both. The folder holds the weights, the
configuration, the code, the licence and a model card, so that everybody can load it by
`AutoModel.from_pretrained(folder, trust_remote_code=True)`, and likewise by `AutoProcessor`, `AutoConfig`,
`AutoFeatureExtractor` and `AutoTokenizer`.

A PEFT adapter (a folder with `adapter_config.json`) is merged into its base, so what is published needs no PEFT.

To push you need a token that may write: `hf auth login`, or the variable HF_TOKEN.
"""

import logging
import shutil
import sys
import tempfile
import warnings
from argparse import RawDescriptionHelpFormatter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, ModelCard
from transformers import AutoConfig, AutoFeatureExtractor, AutoModel, AutoProcessor, HfArgumentParser, PreTrainedModel

from collap import (
    BeatsConfig,
    BeatsFeatureExtractor,
    BeatsModel,
    CollapConfig,
    CollapFeatureExtractor,
    CollapModel,
    CollapProcessor,
)
from collap.hub.card import CardArguments, render_card
from collap.hub.checks import is_hub_id, repository_problems

logger = logging.getLogger(__name__)

REPOSITORY = Path(__file__).resolve().parents[1]
ADAPTER_CONFIG = "adapter_config.json"


@dataclass(frozen=True)
class Kind:
    """What a repository of one model type is made of."""

    config_class: type
    model_class: type[PreTrainedModel]
    feature_extractor_class: type
    processor_class: type | None
    card: Path
    tags: tuple[str, ...]

    @property
    def saved_with_model(self) -> type:
        """The class that is saved beside the model: the processor, which holds the feature extractor, if any."""
        return self.processor_class or self.feature_extractor_class


KINDS = {
    "collap": Kind(
        CollapConfig,
        CollapModel,
        CollapFeatureExtractor,
        CollapProcessor,
        REPOSITORY / "model_card.md",
        ("collap", "audio", "music", "text-to-audio-retrieval", "contrastive", "arxiv:2410.02271"),
    ),
    "beats": Kind(
        BeatsConfig,
        BeatsModel,
        BeatsFeatureExtractor,
        None,
        REPOSITORY / "collap" / "hub" / "model_card_beats.md",
        ("beats", "audio", "arxiv:2212.09058"),
    ),
}


def load_whole(name_or_path: str) -> tuple[Kind, PreTrainedModel, Any, list[str]]:
    """
    Loads the model and what prepares its inputs.

    Returns:
        what it is, the model, its processor or feature extractor, and the Hub models that it was made of, as far as
        its configuration says.

    Raises:
        ValueError: if weights are missing, or model and processor do not fit each other.
    """
    folder = Path(name_or_path)
    if (folder / ADAPTER_CONFIG).is_file():
        kind, model, base = _load_adapted(name_or_path)
        made_of = [base] if is_hub_id(base) else []
        if not (folder / "processor_config.json").is_file():
            name_or_path = base
    else:
        kind, model = _load_model(name_or_path)
        made_of = []
    preparation = kind.saved_with_model.from_pretrained(name_or_path)
    if kind.processor_class is not None:
        _check_fit(model.config, preparation)
        for name in ("is_local", "local_files_only"):  # how this process found the tokenizer; would be saved with it
            preparation.tokenizer.init_kwargs.pop(name, None)
    return kind, model, preparation, made_of or _towers(model.config)


def _load_model(name_or_path: str) -> tuple[Kind, PreTrainedModel]:
    model_type = AutoConfig.from_pretrained(name_or_path).model_type
    if model_type not in KINDS:
        raise ValueError(f"model must be one of {sorted(KINDS)}, got a {model_type!r}.")
    kind = KINDS[model_type]
    model, report = kind.model_class.from_pretrained(name_or_path, output_loading_info=True)
    absent = sorted({*report["missing_keys"], *(name for name, *_ in report["mismatched_keys"])})
    if absent:
        raise ValueError(f"model must be a whole {kind.model_class.__name__}, got {name_or_path!r} without {absent}.")
    return kind, model


def _load_adapted(folder: str) -> tuple[Kind, PreTrainedModel, str]:
    """The base of an adapter with the adapter merged into it, and the name of the base."""
    from peft import PeftConfig, PeftModel  # only adapters need it

    base = PeftConfig.from_pretrained(folder).base_model_name_or_path
    if not base:
        raise ValueError(
            f"model: {folder}/{ADAPTER_CONFIG} must name the model that it adapts as base_model_name_or_path, got "
            f"{base!r}. Merge it yourself (merge_and_unload), save the model and publish that."
        )
    kind, model = _load_model(base)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", ".*missing adapter keys")  # else PEFT goes on with fresh weights
        try:
            adapted = PeftModel.from_pretrained(model, folder)
        except UserWarning as warning:
            raise ValueError(f"model must be a whole adapter, got {folder!r}: {warning}") from warning
    merged = adapted.merge_and_unload(safe_merge=True)
    logger.info("Merged the adapter %s into %s.", folder, base)
    return kind, merged, base


def _towers(config: Any) -> list[str]:
    """
    Takes note of the Hub models that the towers came from, and lets go of paths on this machine.

    The configurations of the towers say where each was loaded from, which would be published with them.
    """
    made_of = []
    for tower in (getattr(config, name) for name in config.sub_configs):
        if tower is None:
            continue
        if is_hub_id(tower._name_or_path):
            made_of.append(tower._name_or_path)
        else:
            tower._name_or_path = ""
    return made_of


def _check_fit(config: CollapConfig, processor: CollapProcessor) -> None:
    extractor = processor.feature_extractor
    pairs = {
        "chunk_length_s": (config.chunk_length_s, extractor.chunk_length_s),
        "text_granularity": (config.text_granularity, processor.text_granularity),
        "music": (config.music_config is not None, extractor.music),
        "speech": (config.speech_config is not None, extractor.speech),
    }
    if config.speech_config is not None:
        pairs["num_speech_mel_bins"] = (config.speech_config.num_mel_bins, extractor.num_speech_mel_bins)
    for name, (of_model, of_processor) in pairs.items():
        if of_model != of_processor:
            raise ValueError(f"model and processor must agree in {name}, got {of_model!r} and {of_processor!r}.")


logger = logging.getLogger(__name__)

UNLIMITED_TOKENS = 10**9  # a tokenizer that knows no limit says 1e30


@dataclass
class PublishArguments:
    """What is published, and where."""

    output_dir: str = field(metadata={"help": "Folder to write (it must not exist or be empty), or written before."})
    model: str | None = field(
        default=None,
        metadata={
            "help": "Folder (or Hub name) of a CoLLAP with its processor, or of a BEATs. Default: push output_dir."
        },
    )
    repo_id: str | None = field(default=None, metadata={"help": "Hub repository to push to, as in USER/NAME."})
    private: bool = field(default=False, metadata={"help": "Make a new repository private."})
    dry_run: bool = field(default=False, metadata={"help": "Write the folder and check it, push nothing."})


@contextmanager
def saved_with_code(kind: Kind) -> Iterator[None]:
    """
    Inside of it, `save_pretrained` copies the code of our classes and notes in the JSON files where to find them.

    Only here, never at import: every `save_pretrained` of a training run would copy code otherwise.
    """
    auto_classes = {
        kind.config_class: AutoConfig,
        kind.model_class: AutoModel,
        kind.feature_extractor_class: AutoFeatureExtractor,
        kind.processor_class: AutoProcessor,
    }
    ours = {cls: auto_class for cls, auto_class in auto_classes.items() if cls is not None}
    for cls, auto_class in ours.items():
        cls.register_for_auto_class(auto_class)
    try:
        yield
    finally:
        for cls in ours:
            cls._auto_class = None


def what_the_card_tells(model: PreTrainedModel, preparation: Any) -> dict[str, Any]:
    """What the templates take beside the words of the publisher."""
    config = model.config
    told = {"config": config, "num_parameters": f"{model.num_parameters():,}"}
    if isinstance(preparation, CollapProcessor):
        tokens = preparation.max_text_tokens or preparation.tokenizer.model_max_length
        told |= {
            "chunk_heard_s": config.vectors_per_chunk * config.frame_length_s / config.frame_pooling,
            "max_length_s": preparation.feature_extractor.max_length_s,
            "max_text_tokens": tokens if tokens < UNLIMITED_TOKENS else None,
        }
    return told


def write_repository(model: str | Path, output_dir: str | Path, name: str, card: CardArguments) -> Path:
    """
    Writes a whole repository and checks it, or writes nothing.

    Args:
        model (`str` or `Path`): What to publish, as [`PublishArguments`] says.
        output_dir (`str` or `Path`): Folder to write.
        name (`str`): What the card calls the repository, USER/NAME.
        card ([`CardArguments`]): What the card says beside.

    Raises:
        ValueError: if `output_dir` exists and is not an empty folder, or the repository has a fault; as
            [`load_whole`].
    """
    output = Path(output_dir)
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise ValueError(f"output_dir must not exist or be an empty folder, got {str(output_dir)!r}.")
    kind, loaded, preparation, made_of = load_whole(str(model))
    if kind.processor_class is None and card.evaluation_json:
        raise ValueError(f"evaluation_json is for models that find songs, got it for a {kind.model_class.__name__}.")
    if made_of and not card.base_model:
        logger.info("base_model of the card, by the configuration: %s (--base_model changes it)", made_of)
        card = replace(card, base_model=made_of)
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=".publish-") as temporary:
        folder = Path(temporary) / output.name
        with saved_with_code(kind):
            loaded.save_pretrained(folder)
            preparation.save_pretrained(folder)
        shutil.copy(REPOSITORY / "LICENSE", folder / "LICENSE")
        told = what_the_card_tells(loaded, preparation)
        render_card(kind.card, name, list(kind.tags), card, **told).save(folder / "README.md")
        check_repository(folder, name)
        if output.exists():
            output.rmdir()  # empty, as was checked; not every system renames onto a folder
        folder.rename(output)
    return output


def check_repository(folder: Path, name: str) -> None:
    """
    Raises:
        ValueError: if something is wrong with the folder; names all of it.
    """
    problems = repository_problems(folder, name)
    if problems:
        lines = "\n".join(f"  {problem}" for problem in problems)
        raise ValueError(f"{folder} has {len(problems)} problem(s):\n{lines}")


def push_repository(
    folder: str | Path, repo_id: str, token: str | None = None, private: bool | None = None, again: str = ""
) -> str:
    """
    Pushes a folder that [`write_repository`] wrote, in one commit: the model is on the Hub whole or not at all.

    Args:
        folder (`str` or `Path`): Stays as it is, whatever happens.
        repo_id (`str`): USER/NAME. Made if it is not there; files there that are not in the folder stay.
        token (`str`, *optional*): Default: that of `hf auth login` or HF_TOKEN.
        private (`bool`, *optional*): For a new repository. Default: as the account has it.
        again (`str`): The command by which to try again, for the message of an error.

    Returns:
        `str`: address of the commit.

    Raises:
        ValueError: if something is wrong with the folder.
        RuntimeError: if the Hub does not take it; says why and what to do.
    """
    folder = Path(folder)
    check_repository(folder, repo_id)
    api = HfApi(token=token)
    try:
        ModelCard.load(folder / "README.md").validate()  # the Hub's own judgement, before anything is made there
        api.create_repo(repo_id, private=private, exist_ok=True)
        commit = api.upload_folder(repo_id=repo_id, folder_path=folder, commit_message=f"Publish {Path(repo_id).name}")
    except Exception as error:  # of the HTTP client, of huggingface_hub or of its transfer library
        raise RuntimeError(
            f"{repo_id} was not published: {_reason(error, repo_id)} {folder} is as it was. {again}".strip()
        ) from error
    return str(commit.commit_url)


def _reason(error: BaseException, repo_id: str) -> str:
    cause: BaseException | None = error
    while cause is not None:  # a failed upload of one file wraps what the Hub answered
        status = getattr(getattr(cause, "response", None), "status_code", None)
        if status == 401:
            return "there is no token, or the Hub does not know it (401). Log in by `hf auth login`, or set HF_TOKEN."
        if status == 403:
            return f"the token may not write to {repo_id} (403). It needs write access there."
        if status is not None:
            return f"the Hub answered {status}: {' '.join(str(cause).split())}."
        cause = cause.__cause__
    return f"{type(error).__name__}: {' '.join(str(error).split())}."


def publish_model(
    model: str | Path, repo_id: str, card: CardArguments, token: str | None = None, private: bool | None = None
) -> str:
    """
    [`write_repository`] and [`push_repository`] in one, for the end of a training run; leaves no folder behind.

    Args:
        model (`str` or `Path`): Folder of a model with its processor, or of an adapter.
        repo_id (`str`): USER/NAME; a NAME alone becomes a repository of the user whom the token belongs to.
        card ([`CardArguments`]): What the card says beside.
        token (`str`, *optional*): Default: that of `hf auth login` or HF_TOKEN.
        private (`bool`, *optional*): For a new repository. Default: as the account has it.

    Returns:
        `str`: address of the commit.

    Raises:
        ValueError, RuntimeError: as the two.
    """
    again = f"Try again by `python examples/publish.py --model {model} --output_dir FOLDER --repo_id {repo_id}`."
    if "/" not in repo_id:
        try:
            repo_id = f"{HfApi(token=token).whoami()['name']}/{repo_id}"
        except Exception as error:
            raise RuntimeError(f"{repo_id} was not published: {_reason(error, repo_id)} {again}") from error
    with tempfile.TemporaryDirectory(dir=model, prefix=".publish-") as temporary:
        folder = write_repository(model, Path(temporary) / "repository", repo_id, card)
        return push_repository(folder, repo_id, token, private, again)


def main(command_line: list[str] | None = None) -> Path:
    """Writes the folder, and pushes it unless `--dry_run` is given; returns the folder."""
    parser = HfArgumentParser(
        (PublishArguments, CardArguments), description=__doc__, formatter_class=RawDescriptionHelpFormatter
    )
    arguments, card = parser.parse_args_into_dataclasses(command_line)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    folder = Path(arguments.output_dir)
    if not arguments.dry_run and (arguments.repo_id is None or "/" not in arguments.repo_id):
        raise ValueError(f"repo_id must be USER/NAME to push (or give --dry_run), got {arguments.repo_id!r}.")
    name = arguments.repo_id or folder.name
    if arguments.model is not None:
        write_repository(arguments.model, folder, name, card)
    elif card != CardArguments():
        raise ValueError("Without --model the folder stays as it is: change its README.md in place of arguments.")
    else:
        check_repository(folder, name)
    logger.info("Checked %s: %s", folder, ", ".join(sorted(path.name for path in folder.iterdir())))
    if not arguments.dry_run:
        again = f"Try again by `python examples/publish.py --output_dir {folder} --repo_id {name}`."
        address = push_repository(folder, name, private=arguments.private or None, again=again)
        logger.info("Pushed: %s", address)
    return folder


if __name__ == "__main__":
    main()
