# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""mteb's own evaluation of a small task gives the metrics of our evaluation."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import PartialState
from datasets import Audio, Dataset
from tiny_clap import tiny_clap
from tiny_retrieval import TEXTS, tiny_collap, write_songs

from collap.evaluation.evaluate import EvaluationArguments, evaluate, load_set
from collap.evaluation.retrievers import load_retriever

mteb = pytest.importorskip("mteb")

from tiny_mteb import make_task  # noqa: E402

from collap.evaluation.mteb import MtebModel  # noqa: E402

SONG_OF_TEXT = (0, 1, 2, 3, 1)  # one song has two captions, one has none
CAPTIONS = [text if isinstance(text, str) else ". ".join(text) + "." for text in TEXTS]


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """A folder with models, songs and their manifest; and the paths of the songs."""
    folder = tmp_path_factory.mktemp("library")
    for name, parts in {"collap": tiny_collap(), "clap": tiny_clap(*CAPTIONS)}.items():
        for part in parts:
            part.save_pretrained(folder / name)
    paths = list(write_songs(folder, (2.0, 3.0, 1.0, 2.5, 4.0)).values())
    texts = [
        [caption for caption, own in zip(CAPTIONS, SONG_OF_TEXT, strict=True) if own == song] for song in range(4)
    ]
    rows = [{"audio": path, "text": own} for path, captions in zip(paths[:4], texts, strict=True) for own in captions]
    (folder / "songs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder, paths[:4]


@pytest.mark.parametrize(("name", "with_audio_queries"), [("collap", False), ("collap", True), ("clap", False)])
def test_metrics_are_those_of_our_evaluation(name, with_audio_queries, library, tmp_path):
    folder, paths = library
    model = MtebModel(str(folder / name), device="cpu")
    (result,) = mteb.evaluate(
        model, make_task(paths, CAPTIONS, SONG_OF_TEXT, with_audio_queries), cache=None
    ).task_results
    (found,) = result.scores["test"]

    given = {"manifest": str(folder / "songs.jsonl"), "model_name_or_path": str(folder / name)}
    arguments = EvaluationArguments(**given, output_dir=str(tmp_path), use_cpu=True)
    retriever = load_retriever(arguments.model_name_or_path)
    ours = evaluate(retriever, load_set(arguments), arguments, PartialState(cpu=True))
    metrics = ours.metrics["audio_to_text" if with_audio_queries else "text_to_audio"]
    names = {"recall@1": "recall_at_1", "map@10": "map_at_10"}
    assert {name: found[theirs] for name, theirs in names.items()} == pytest.approx(
        {name: round(metrics[name], 5) for name in names}, abs=1e-6
    )  # mteb gives five digits
    assert 0 < metrics["map@10"] < 1
    assert model.mteb_model_meta.modalities == ["audio", "text"]


def test_results_of_other_options_are_kept_apart(library, tmp_path):
    """mteb returns a result again that it has of the same model and revision."""
    folder, paths = library
    cache = mteb.ResultCache(tmp_path)
    for options in ({}, {"use_time": False}, {}):
        model = MtebModel(str(folder / "collap"), device="cpu", **options)
        mteb.evaluate(model, make_task(paths, CAPTIONS, SONG_OF_TEXT, False), cache=cache)
    assert len(list(tmp_path.rglob("LocalT2ARetrieval.json"))) == 2


def test_one_vector_of_each_song_and_text(library):
    """Those that the model returns as `pooler_output`."""
    folder, paths = library
    model = MtebModel(str(folder / "collap"), device="cpu")
    songs = Dataset.from_dict({"audio": paths}).cast_column("audio", Audio())
    loaders = [torch.utils.data.DataLoader(dataset) for dataset in (songs, Dataset.from_dict({"text": CAPTIONS}))]
    audio, text = (model.encode(loader) for loader in loaders)
    own, processor = model.retriever.model, model.retriever.processor
    with torch.no_grad():
        one = own.get_audio_features(**processor(audio=paths[1], return_tensors="pt")).pooler_output
        both = own.get_text_features(**processor(text=CAPTIONS, return_tensors="pt")).pooler_output
    torch.testing.assert_close(audio[1:2], one, atol=1e-5, rtol=0)
    torch.testing.assert_close(text, both, atol=1e-5, rtol=0)
    np.testing.assert_allclose(model.similarity(text, audio), text @ audio.T, atol=1e-6)


def test_songs_in_the_bytes_of_a_data_set_find_songs(library):
    """As tasks on the Hub have them. Two songs, or two texts, are compared by their vectors."""
    folder, paths = library
    model = MtebModel(str(folder / "collap"), device="cpu")
    rows = [{"bytes": Path(path).read_bytes(), "path": Path(path).name} for path in paths]
    songs = Dataset.from_dict({"id": ["a", "b", "c", "d"], "audio": rows}).cast_column("audio", Audio())
    model.index(songs)
    found = model.search(songs, top_k=2, top_ranked={name: ["a", "b", "d"] for name in "abcd"})
    assert [len(of_query) for of_query in found.values()] == [2] * 4
    assert found["b"]["b"] == pytest.approx(1, abs=1e-6)
    vectors = model.encode(torch.utils.data.DataLoader(songs))
    cosines = dict(zip(("a", "b", "d"), (vectors[[0, 1, 3]] @ vectors[2]).tolist(), strict=True))
    best = sorted(cosines, key=cosines.get, reverse=True)[:2]
    assert found["c"] == pytest.approx({song: cosines[song] for song in best}, abs=1e-6)
