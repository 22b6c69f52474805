# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
r"""
Makes a model repository of a trained CoLLAP (or BEATs) that loads without this package, and pushes it to the Hub.

    python examples/publish.py --model my-collap --output_dir my-collap-hub --dry_run
    python examples/publish.py --model my-collap --output_dir my-collap-hub --repo_id USER/NAME \
        --training_data "What it was trained on." --evaluation "What was measured, on what and how."

The folder holds the weights, the configuration, the code, the licence and a model card, so that everybody can load it
by `AutoModel.from_pretrained(folder, trust_remote_code=True)`, and likewise by `AutoProcessor`, `AutoConfig`,
`AutoFeatureExtractor` and `AutoTokenizer`.
"""

import logging
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, ModelCard, ModelCardData
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

logger = logging.getLogger(__name__)

REPOSITORY = Path(__file__).resolve().parents[1]


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
        REPOSITORY / "examples" / "model_card_beats.md",
        ("beats", "audio", "arxiv:2212.09058"),
    ),
}


@dataclass
class PublishArguments:
    """What is published, and what its card says."""

    model: str = field(metadata={"help": "Folder (or Hub name) of a CoLLAP with its processor, or of a BEATs."})
    output_dir: str = field(metadata={"help": "Folder to write; it must not exist or be empty."})
    repo_id: str | None = field(default=None, metadata={"help": "Hub repository to push to, as in USER/NAME."})
    dry_run: bool = field(default=False, metadata={"help": "Write the folder only, push nothing."})
    license: str = field(default="apache-2.0", metadata={"help": "Licence of the weights, by the Hub's name for it."})
    training_data: str | None = field(default=None, metadata={"help": "For the card: what it was trained on."})
    evaluation: str | None = field(default=None, metadata={"help": "For the card: what was measured, and how."})


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


def load_whole(kind: Kind, name_or_path: str) -> tuple[PreTrainedModel, Any]:
    """
    Loads the model and what prepares its inputs.

    Raises:
        ValueError: if weights are missing, or model and processor do not fit each other.
    """
    model, report = kind.model_class.from_pretrained(name_or_path, output_loading_info=True)
    absent = sorted({*report["missing_keys"], *(name for name, *_ in report["mismatched_keys"])})
    if absent:
        raise ValueError(f"model must be a whole {kind.model_class.__name__}, got {name_or_path!r} without {absent}.")
    preparation = kind.saved_with_model.from_pretrained(name_or_path)
    if kind.processor_class is not None:
        _check_fit(model.config, preparation)
        for name in ("is_local", "local_files_only"):  # how this process found the tokenizer; would be saved with it
            preparation.tokenizer.init_kwargs.pop(name, None)
    return model, preparation


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


def render_card(kind: Kind, model: PreTrainedModel, name: str, arguments: PublishArguments) -> ModelCard:
    """The README of the repository: the template with what is known of this model, and no figure beyond that."""
    metadata = ModelCardData(
        license=arguments.license,
        library_name="transformers",
        pipeline_tag="feature-extraction",  # the Hub's task list has none for retrieval of audio by text
        tags=list(kind.tags),
    )
    return ModelCard.from_template(
        metadata,
        template_path=str(kind.card),
        name=name,
        title=Path(name).name,
        config=model.config,
        num_parameters=f"{model.num_parameters():,}",
        training_data=arguments.training_data,
        evaluation=arguments.evaluation,
    )


def write_repository(kind: Kind, arguments: PublishArguments) -> Path:
    """
    Writes the whole repository, or nothing.

    Raises:
        ValueError: if `output_dir` exists and is not an empty folder; as [`load_whole`].
    """
    output = Path(arguments.output_dir)
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise ValueError(f"output_dir must not exist or be an empty folder, got {arguments.output_dir!r}.")
    model, preparation = load_whole(kind, arguments.model)
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=".publish-") as temporary:
        folder = Path(temporary) / output.name
        with saved_with_code(kind):
            model.save_pretrained(folder)
            preparation.save_pretrained(folder)
        name = arguments.repo_id or output.name
        render_card(kind, model, name, arguments).save(folder / "README.md")
        shutil.copy(REPOSITORY / "LICENSE", folder / "LICENSE")
        if output.exists():
            output.rmdir()  # empty, as was checked; not every system renames onto a folder
        folder.rename(output)
    return output


def main(command_line: list[str] | None = None) -> Path:
    """Writes the folder, and pushes it unless `--dry_run` is given; returns the folder."""
    parser = HfArgumentParser(PublishArguments)
    (arguments,) = parser.parse_args_into_dataclasses(command_line)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    if not arguments.dry_run and arguments.repo_id is None:
        raise ValueError(
            "repo_id is missing: give --repo_id USER/NAME to push, or --dry_run to write the folder only."
        )
    model_type = AutoConfig.from_pretrained(arguments.model).model_type
    if model_type not in KINDS:
        raise ValueError(f"model must be one of {sorted(KINDS)}, got a {model_type!r}.")
    folder = write_repository(KINDS[model_type], arguments)
    logger.info("Wrote %s: %s", folder, ", ".join(sorted(path.name for path in folder.iterdir())))
    if not arguments.dry_run:
        api = HfApi()
        api.create_repo(arguments.repo_id, exist_ok=True)
        logger.info("Pushed: %s", api.upload_folder(repo_id=arguments.repo_id, folder_path=folder))
    return folder


if __name__ == "__main__":
    main()
