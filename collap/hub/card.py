# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""
The model card of a published model: its metadata, its text, the metrics of its evaluation.

No number is typed in: recall and ranks come from the JSON that a training wrote, all else from the model itself.
"""

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from huggingface_hub import EvalResult, ModelCard, ModelCardData
from transformers.hf_argparser import HfArg

from collap.files import markdown_table, read_object

DIRECTIONS = {"text_to_audio": "text → song", "audio_to_text": "song → text"}
# The loss of the evaluation stays out: it depends on the batch size and so compares with nothing.
ORDER = ("recall", "hit_rate", "median_rank", "mrr")  # of the metrics in a table
SIZES = ("num_queries", "gallery_size")
METRIC = re.compile(r"(?:recall|hit_rate)@\d+|median_rank|mrr")


@dataclass
class LicenceArguments:
    """What the publisher says of a model or of a data set."""

    license: str | None = HfArg(default=None, help="Licence of what is published, by the Hub's name for it.")
    license_name: str | None = HfArg(default=None, help="Name of the licence, with --license other.")
    license_link: str | None = HfArg(default=None, help="Address of the text of the licence, with --license other.")
    language: list[str] = HfArg(default_factory=list, help="ISO codes of the languages of the texts, such as en.")


@dataclass
class CardArguments(LicenceArguments):
    """What the publisher adds to the model card."""

    datasets: list[str] = HfArg(default_factory=list, help="Hub data sets of the training.")
    base_model: list[str] = HfArg(
        default_factory=list, help="Hub models of its towers. Default: those that its configuration names."
    )
    training_data: str | None = HfArg(default=None, help="In words: the training data.")
    evaluation_json: list[str] = HfArg(default_factory=list, help="Files eval_results.json that a training wrote.")
    evaluation_dataset: list[str] = HfArg(
        default_factory=list, help="For each of these files: the name of the evaluation data."
    )
    evaluation_dataset_id: list[str] = HfArg(
        default_factory=list, help="For each of these files: the data set on the Hub, if any."
    )


@dataclass(frozen=True)
class Evaluation:
    """Metrics of one evaluation by direction, such as `{"text_to_audio": {"recall@1": 0.9, ...}}`."""

    dataset: str
    dataset_id: str
    directions: dict[str, dict[str, float]]

    def results(self) -> list[EvalResult]:
        """For the model-index of the card; shares in [0, 1]."""
        return [
            EvalResult(
                task_type=f"{direction.replace('_', '-')}-retrieval",
                task_name=f"Retrieval, {DIRECTIONS[direction]}",
                dataset_type=self.dataset_id,
                dataset_name=self.dataset,
                metric_type=name,
                metric_name=f"{name} in a gallery of {metrics['gallery_size']:.0f}",
                metric_value=value,
            )
            for direction, metrics in self.directions.items()
            for name, value in metrics.items()
            if METRIC.fullmatch(name)
        ]

    def table(self) -> str:
        """For the text of the card; shares in percent."""
        columns = list(dict.fromkeys(name for metrics in self.directions.values() for name in metrics))
        rows = [[self.dataset, *columns]]
        for direction, metrics in self.directions.items():
            rows.append([DIRECTIONS[direction], *(_cell(name, metrics.get(name)) for name in columns)])
        return markdown_table(rows)


def _cell(name: str, value: float | None) -> str:
    if value is None:
        return ""
    if name in SIZES:
        return f"{value:.0f}"
    return f"{value:g}" if name == "median_rank" else f"{100 * value:.1f}"


def read_evaluations(arguments: CardArguments) -> list[Evaluation]:
    """
    The evaluations that the arguments name.

    Raises:
        ValueError: if files and names differ in number, two names are equal, or a file holds no metrics.
    """
    files, names, ids = arguments.evaluation_json, arguments.evaluation_dataset, arguments.evaluation_dataset_id
    for name, values in {"evaluation_dataset": names, "evaluation_dataset_id": ids}.items():
        if len(values) != len(files) and (values or name == "evaluation_dataset"):
            raise ValueError(f"{name} must have one entry for each of the {len(files)} evaluation_json, got {values}.")
    if len(set(names)) != len(names):
        raise ValueError(f"evaluation_dataset must name different data sets, got {names}.")
    # Without an id on the Hub the name makes one: the model-index joins what has the same id under one name.
    words = [re.sub(r"[\W_]+", "-", name.lower()).strip("-") for name in names]
    ids = ids or [word if word and words.count(word) == 1 else f"{word}-{index}" for index, word in enumerate(words)]
    if len(set(ids)) != len(ids):
        raise ValueError(f"evaluation_dataset_id must name different data sets, got {ids}.")
    return [_read_evaluation(*item) for item in zip(files, names, ids, strict=True)]


def _read_evaluation(file: str | Path, dataset: str, dataset_id: str) -> Evaluation:
    """The metrics in a JSON that `CollapTrainer.save_metrics` wrote, such as `eval_text_to_audio_recall@1`."""
    try:
        content = read_object(Path(file))
    except (OSError, ValueError) as error:
        raise ValueError(f"evaluation_json must be a file of JSON, got {str(file)!r}: {error}.") from error
    values = {name.removeprefix("eval_"): value for name, value in content.items()}
    directions = {}
    for direction in DIRECTIONS:
        own = {name.removeprefix(f"{direction}_"): value for name, value in values.items()}
        # In the file they are sorted as strings.
        names = sorted(
            filter(METRIC.fullmatch, own), key=lambda name: (ORDER.index(name.partition("@")[0]), len(name))
        )
        metrics = {name: own[name] for name in names}
        if metrics:
            sizes = {name: own[name] for name in SIZES if name in own}
            directions[direction] = metrics | sizes
    if not directions:
        raise ValueError(
            f"evaluation_json {str(file)!r} must hold metrics such as eval_text_to_audio_recall@1, got "
            f"{sorted(content)}."
        )
    for direction, metrics in directions.items():
        if "gallery_size" not in metrics:
            raise ValueError(f"evaluation_json {str(file)!r} must hold eval_gallery_size: recall depends on it.")
        for name, value in metrics.items():
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                raise ValueError(f"evaluation_json {str(file)!r}: {direction}_{name} must be a number, got {value!r}.")
    return Evaluation(dataset, dataset_id, directions)


def render_card(template: Path, name: str, tags: list[str], arguments: CardArguments, **variables: Any) -> ModelCard:
    """
    Renders the README of a repository from its template.

    Args:
        template (`Path`): A Jinja template, with `card_data` for the metadata.
        name (`str`): The repository, as USER/NAME.
        tags (`list[str]`): For the Hub's search.
        arguments ([`CardArguments`]): What the publisher adds.
        variables: Other variables of the template.

    Raises:
        ValueError: as [`read_evaluations`]; or if a variable of the template is undefined.
    """
    evaluations = read_evaluations(arguments)
    results = [result for evaluation in evaluations for result in evaluation.results()]
    data = ModelCardData(
        language=arguments.language or None,
        license=arguments.license,
        license_name=arguments.license_name,
        license_link=arguments.license_link,
        library_name="transformers",
        pipeline_tag="feature-extraction",  # the Hub's list of tasks has none for audio retrieval
        inference=False,  # and so no widget that fits
        tags=tags,
        base_model=arguments.base_model or None,
        datasets=arguments.datasets or None,
        metrics=list(dict.fromkeys(result.metric_type for result in results)) or None,
        model_name=Path(name).name if results else None,
        eval_results=results or None,
    )
    # Not ModelCard.from_template, which leaves a gap where a variable is undefined.
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=False)
    try:
        content = environment.from_string(template.read_text(encoding="utf-8")).render(
            card_data=data.to_yaml(),
            name=name,
            title=Path(name).name,
            license=arguments.license_name or arguments.license,
            training_data=arguments.training_data,
            evaluations=evaluations,
            **variables,
        )
    except jinja2.UndefinedError as error:
        raise ValueError(f"The template {template} can't be filled: {error}.") from error
    return ModelCard(content.rstrip() + "\n")
