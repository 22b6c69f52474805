# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""
How likely a song is the one that was described: probabilities of scores, fitted on songs that were held out.

    collap calibrate validation.jsonl --model my-collap [--features my-features]

writes `calibration.json` into the folder of the model, and prints how far the probabilities can be trusted.

What a probability means: a query has its song in the library with probability 1/2, and any song of the library is
equally likely to be it. Given the scores of all N songs, the probability of song i is

    P(i) = exp(s_i / T + b) / N  /  (1 + sum over j of exp(s_j / T + b) / N)

and what is missing to 1 is the probability that nothing here matches. The temperature T and the bias b are fitted by
maximum likelihood (a logistic regression with the songs and "nothing" as its classes) on queries whose song is in the
library, and on the same queries after their song was taken out of it. So a larger library makes each song less likely,
and two copies of a song have half of the probability each. It holds for descriptions like those of the manifest: of a
vague query ("a piano") many songs are right, and none of them is likely to be the one that was meant.
"""

import argparse
import json
import logging
import math
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from accelerate import PartialState
from torch import nn

from collap.cli import HelpFormatter
from collap.data.manifest import load_manifest
from collap.encode import embed_songs
from collap.evaluation.evaluate import score_songs
from collap.evaluation.evaluation_set import EvaluationSet, load_evaluation_set
from collap.evaluation.retrievers import CollapRetriever, load_retriever
from collap.files import find_model_file, markdown_table, write_json
from collap.processing.processing_collap import CollapProcessor

from .query import Kind
from .search import split_description

logger = logging.getLogger(__name__)

CALIBRATION_FILE = "calibration.json"
FORMAT = 1
NUM_BINS = 10  # of the reliability table
MIN_SONGS = 20
NO_DOUBT = 1e3  # a bias with which "nothing" has no probability


@dataclass(frozen=True)
class ScoreFit:
    """What makes probabilities of the scores of one kind of query."""

    temperature: float
    bias: float

    def probability(self, scores: np.ndarray, num_songs: int) -> np.ndarray:
        """
        The probability that a song is the one described, of the best songs of a query in a library of `num_songs`.

        `scores` `(..., C)` are those of [`CollapModel.similarity`]; songs without a score count as far behind the
        others. "Nothing here matches" is likelier where the probabilities of a query sum to less than 1/2.
        """
        logits = scores.astype(np.float64) / self.temperature + self.bias - math.log(num_songs)
        highest = np.maximum(logits.max(-1, keepdims=True, initial=0.0), 0.0)  # 0 is the logit of "nothing"
        odds = np.exp(logits - highest)
        return odds / (odds.sum(-1, keepdims=True) + np.exp(-highest))


def load_calibration(folder: str | Path, weights: str) -> dict[str, ScoreFit]:
    """
    What `collap calibrate` has written into the folder of a model, or what its Hub repository has, by kind of query;
    empty if there is nothing, or with a warning if it was made for other weights than `weights` ([`CollapRetriever`]).

    Raises:
        ValueError: if the file is damaged.
    """
    file = find_model_file(folder, CALIBRATION_FILE)
    if file is None:
        return {}
    cure = f"Write it again: collap calibrate MANIFEST --model {folder}"
    try:
        content = json.loads(Path(file).read_bytes())
        if content["format_version"] != FORMAT:
            raise ValueError(f"format {content['format_version']!r}, not {FORMAT}")
        fits = {
            kind: ScoreFit(float(fit["temperature"]), float(fit["bias"])) for kind, fit in content["kinds"].items()
        }
        if not all(math.isfinite(fit.bias) and 0 < fit.temperature < math.inf for fit in fits.values()):
            raise ValueError("a temperature that is not positive, or a number that is not finite")
        made_for = content["model_fingerprint"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{file} is damaged ({error!r}). {cure}") from error
    if made_for != weights:
        logger.warning("No match probabilities: %s was made for other weights than those of the model. %s", file, cure)
        return {}
    return fits


def fit_scores(scores: np.ndarray, targets: np.ndarray) -> ScoreFit:
    """
    Temperature and bias by maximum likelihood, of each query once with its songs in the library and once without.

    Args:
        scores (`np.ndarray` of shape `(Q, N)`): Of queries and songs.
        targets (`np.ndarray` of shape `(Q, N)`): Whether a song is a right answer.
    """
    is_right = torch.from_numpy(targets)
    mean, spread = float(scores.mean()), float(scores.std()) or 1.0  # about 0 and of size 1 they are easily fitted
    normal = (torch.from_numpy(scores).double() - mean) / spread
    # As in Platt's method, else the temperature of a model without an error would be 0: one query of all may be wrong.
    doubt = 1 / (len(scores) + 2)
    weights = torch.zeros(2, dtype=torch.float64, requires_grad=True)  # logarithm of the slope, bias
    optimizer = torch.optim.LBFGS([weights], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        logits = weights[0].exp() * normal + weights[1] - math.log(scores.shape[1])  # that of "nothing" is 0
        right = logits.where(is_right, -torch.inf).logsumexp(-1)  # (Q,)
        wrong = logits.where(~is_right, -torch.inf).logsumexp(-1)
        any_song = nn.functional.softplus(logits.logsumexp(-1))  # logarithm of the sum over all songs and "nothing"
        with_song = any_song - (1 - doubt) * right
        without = nn.functional.softplus(wrong) - doubt * wrong
        total = (with_song + without).mean()
        total.backward()
        return total

    optimizer.step(loss)
    log_slope, bias = weights.tolist()
    temperature = spread / math.exp(log_slope)
    return ScoreFit(temperature, bias - mean / temperature)


class Trial(NamedTuple):
    """What is said of queries, of each once with its songs in the library and once without: arrays of one length."""

    probability: np.ndarray  # of the best song
    is_right: np.ndarray  # whether it is a right answer
    says_match: np.ndarray  # whether any song is likelier than none
    has_song: np.ndarray  # whether the songs are in the library

    def bins(self) -> list[tuple[int, float, float]]:
        """Number of queries, mean probability and share of right answers, by tenths of the probability."""
        places = np.minimum((self.probability * NUM_BINS).astype(int), NUM_BINS - 1)
        chosen = [places == place for place in np.unique(places)]
        return [(int(own.sum()), self.probability[own].mean(), self.is_right[own].mean()) for own in chosen]

    def error(self) -> float:
        """Expected calibration error: mean difference of probability and share of right answers, over all queries."""
        return float(sum(count * abs(said - right) for count, said, right in self.bins()) / len(self.probability))


def try_fit(scores: np.ndarray, targets: np.ndarray, fit: ScoreFit) -> Trial:
    """What is said with a fit; other arguments as in [`fit_scores`]."""
    both = np.concatenate((scores, np.where(targets, -np.inf, scores)))  # (2 Q, N)
    probabilities, best = fit.probability(both, scores.shape[1]), both.argmax(1)
    places, has_song = np.arange(len(both)), np.arange(len(both)) < len(scores)
    is_right = has_song & np.concatenate((targets, targets))[places, best]
    return Trial(probabilities[places, best], is_right, probabilities.sum(1) >= 0.5, has_song)


def cross_fit(scores: np.ndarray, targets: np.ndarray, fit: Callable[..., ScoreFit] = fit_scores) -> Trial:
    """[`try_fit`] of each half of the songs with the fit of the other half: they share no song and no query."""
    half_of_song = np.random.default_rng(0).permutation(scores.shape[1]) % 2  # (N,)
    half_of_query = half_of_song[targets.argmax(1)]  # (Q,)
    halves = []
    for half in (0, 1):
        own = np.ix_(half_of_query == half, half_of_song == half)
        halves.append((scores[own], targets[own]))
    trials = [try_fit(*halves[half], fit(*halves[1 - half])) for half in (0, 1)]
    return Trial(*map(np.concatenate, zip(*trials, strict=True)))


def load_sets(manifest: str, processor: CollapProcessor) -> dict[Kind, EvaluationSet]:
    """
    The songs and texts of a manifest by the kind of query that a search makes of them: a caption of one sentence is a
    section, which counts if the manifest has no sections. A ValueError if songs are missing, or there are few.
    """
    captions = load_evaluation_set(manifest)
    load_manifest(manifest)  # names the songs that are missing
    given = [("caption", "caption", captions), ("any_order", "any_order", captions), ("section", "caption", captions)]
    with suppress(ValueError):  # no such column
        given[2] = "section", "section", load_evaluation_set(manifest, "sections.text")
    sets: dict[Kind, EvaluationSet] = {}
    for kind, asked, found in given:
        texts = [text for text in found.texts if split_description(processor, text.text, asked)[1] == kind]
        if len({text.song_ids[0] for text in texts}) >= MIN_SONGS:
            sets[kind] = replace(found, texts=texts)
    if not sets:
        raise ValueError(f"{manifest} must have captions or sections of at least {MIN_SONGS} songs.")
    return sets


def score_sets(
    sets: Mapping[Kind, EvaluationSet], retriever: CollapRetriever, cache_dir: str | None = None
) -> Iterator[tuple[Kind, np.ndarray]]:
    """Scores `(texts, songs)` of each kind of query; the songs are encoded once, or found in `cache_dir`."""
    state, paths = PartialState(), list(next(iter(sets.values())).songs.values())
    with tempfile.TemporaryDirectory() as temporary:
        cache, songs = embed_songs(retriever, paths, cache_dir or temporary, state)
        hashes = [song.hash for song in songs]
        num_frames = [cache.songs[song_hash].num_frames for song_hash in hashes]

        def load_frames(index: int) -> np.ndarray:
            return cache.read(hashes[index]).frames

        for kind, found in sets.items():
            retriever.use_time, retriever.section_query = kind == "caption", kind == "section"
            texts = [split_description(retriever.processor, text.text, kind)[0] for text in found.texts]
            yield kind, score_songs(retriever, load_frames, num_frames, retriever.embed_texts(texts), state)


def calibrate(command_line: list[str]) -> None:
    """`collap calibrate`: fits the probabilities of a model and prints how far they can be trusted."""
    parser = argparse.ArgumentParser("collap calibrate", description=__doc__, formatter_class=HelpFormatter)
    parser.add_argument("manifest", help="songs and texts that the model was not trained on; some hundred are good")
    parser.add_argument("--model", required=True, help="folder of a CoLLAP, into which calibration.json is written")
    parser.add_argument("--features", help="folder of extract_features.py for these songs")
    parser.add_argument("--cache_dir", help="where encoded songs are kept, as for evaluate_retrieval.py; else nowhere")
    given = parser.parse_args(command_line)
    if not Path(given.model).is_dir():
        raise ValueError(f"--model must be a folder, got {given.model!r}.")
    device = PartialState(cpu=not torch.accelerator.is_available()).device
    retriever = load_retriever(given.model, device, features=given.features)
    if not isinstance(retriever, CollapRetriever):
        raise ValueError(f"--model must hold a CoLLAP, got {retriever.name}.")
    sets = load_sets(given.manifest, retriever.processor)
    # Without a calibration the probabilities are those of the training: a softmax over the songs.
    untrained = ScoreFit(1 / float(retriever.model.logit_scale().detach()), NO_DOUBT)
    kinds: dict[str, dict[str, Any]] = {}
    for kind, scores in score_sets(sets, retriever, given.cache_dir):
        found, targets = sets[kind], sets[kind].targets()
        before, after = (cross_fit(scores, targets, fit) for fit in (lambda *_: untrained, fit_scores))
        kinds[kind] = {
            **asdict(fit_scores(scores, targets)),
            "manifest": {"name": found.name, "hash": found.manifest_hash},
            "num_texts": len(found.texts),
            "num_songs": len(found.songs),
            "ece": round(after.error(), 4),
            "ece_before": round(before.error(), 4),
            "says_match": round(float(after.says_match[after.has_song].mean()), 4),
            "says_match_without": round(float(after.says_match[~after.has_song].mean()), 4),
        }
        print(_report(kind, kinds[kind], after), flush=True)
    content = {"format_version": FORMAT, "model_fingerprint": retriever.weights, "kinds": kinds}
    write_json(Path(given.model) / CALIBRATION_FILE, content)
    print(f"Written: {Path(given.model) / CALIBRATION_FILE}")


def _report(kind: str, numbers: Mapping[str, Any], trial: Trial) -> str:
    rows = [("probability", "queries", "mean", "right")]
    for count, said, right in trial.bins():
        tenth = int(said * NUM_BINS) / NUM_BINS
        rows.append((f"{tenth:.1f} to {tenth + 1 / NUM_BINS:.1f}", str(count), f"{said:.2f}", f"{right:.2f}"))
    nothing = [f"{1 - numbers[name]:.1%}" for name in ("says_match_without", "says_match")]
    return (
        f"\n{kind}: {numbers['num_texts']} texts of {numbers['num_songs']} songs, each once with its song in the "
        "library\nand once without; each half of the songs by a fit on the other half.\n"
        f"Expected calibration error: {numbers['ece']:.3f} (before: {numbers['ece_before']:.3f}).\n"
        f'"Nothing here matches" is said of {nothing[0]} of the texts without their song,\n'
        f"and of {nothing[1]} of those with it. The best song of each, by its probability:\n\n{markdown_table(rows)}"
    )
