# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
r"""
What an ONNX export changes, with weights of 32 and of 8 bits, against PyTorch in float32.

    python -m benchmarks.onnx_export --model MODEL --manifest songs.jsonl --text_column text_new --output result.json

Metrics and scores as in examples/evaluate_retrieval.py; `--songs FILES` in place of a manifest gives none. The speed
of encoding files is a multiple of PyTorch's: CPU time of all songs on one thread, the least of three runs in turns.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from accelerate import PartialState
from onnxruntime import InferenceSession, SessionOptions

from collap.data.cache import SongEmbedding
from collap.evaluation.evaluate import EvaluationArguments, evaluate, load_set
from collap.evaluation.retrievers import CollapRetriever, CollapTexts, load_retriever
from collap.export.export import INT8_GRAPHS, export_model
from collap.export.onnx_search import OnnxCollap
from collap.files import library_versions, this_command, write_json
from collap.modeling_collap.outputs_collap import CollapTextOutput
from collap.processing.audio_decoding_collap import decode_audio


class OnnxRetriever(CollapRetriever):
    """A CoLLAP whose songs, texts and scores come from its graphs, on one thread."""

    def __init__(self, exact: CollapRetriever, folder: Path, suffix: str):
        super().__init__(exact.model, exact.processor)
        self.revision = self.song_revision = f"onnx{suffix}"
        self.graphs, options = OnnxCollap(folder), SessionOptions()
        options.intra_op_num_threads = 1
        for name in self.graphs.sessions:
            file = folder / f"{name}{suffix if name in INT8_GRAPHS else ''}.onnx"
            self.graphs.sessions[name] = InferenceSession(file, options)

    def embed_song(self, path: str) -> SongEmbedding:
        waveform = decode_audio(path).waveform
        return SongEmbedding(self.graphs.encode_song(waveform)[0][0], len(waveform) / 16_000, len(waveform) / 16_000)

    def embed_texts(self, texts: list[str | list[str]]) -> CollapTexts:
        encoded = self.graphs.encode_texts([text if isinstance(text, str) else " ".join(text) for text in texts])
        fields = {name: torch.from_numpy(rows) for name, rows in encoded.items()}
        return CollapTexts(CollapTextOutput(pooler_output=fields.pop("text_embeds"), **fields))

    def score(self, songs: list[np.ndarray], texts: CollapTexts) -> np.ndarray:
        inputs = {name: value.numpy() for name, value in texts.output.items()}
        return np.stack([self.graphs.score(song[None], inputs) for song in songs]) / self.model.logit_scale().item()


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, options in {"model": {}, "manifest": {}, "text_column": {}, "songs": {"nargs": "+"}}.items():
        parser.add_argument(f"--{name}", **options)
    parser.add_argument("--output", type=Path, required=True)
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    models, rows, scores = {"PyTorch": load_retriever(given.model)}, {"PyTorch": {}}, {}
    with tempfile.TemporaryDirectory() as folder:
        export_model(given.model, graphs := Path(folder, "onnx"), int8=True)
        for name, suffix in {"ONNX float32": "", "ONNX int8": ".int8"}.items():
            models[name] = OnnxRetriever(models["PyTorch"], graphs, suffix)
            rows[name] = {f"{x}, MB": (graphs / f"{x}{suffix}.onnx").stat().st_size / 1e6 for x in INT8_GRAPHS}
        if given.songs is None:
            options = EvaluationArguments(given.manifest, given.text_column, given.model, folder, save_scores=True)
            given.songs = [*load_set(options).songs.values()]
            for name, model in models.items():
                rows[name] |= evaluate(model, load_set(options), options, PartialState()).metrics["text_to_audio"]
                scores[name] = np.load(Path(folder, "scores.npy"))
                rows[name]["score, difference"] = float(np.abs(scores[name] - scores["PyTorch"]).max())
        frames, seconds = {}, dict.fromkeys(models, float("inf"))
        for name, model in [*models.items()] * 3:
            began = time.process_time()
            frames[name] = torch.cat([torch.from_numpy(model.embed_song(song).frames) for song in given.songs])
            seconds[name] = min(seconds[name], time.process_time() - began)
    for name, row in rows.items():
        c = torch.cosine_similarity(frames[name], frames["PyTorch"], dim=-1)
        row |= {"cosine": c.mean().item(), "least cosine": c.min().item(), "speed": seconds["PyTorch"] / seconds[name]}
    result = {"num_songs": len(given.songs), "versions": library_versions(("torch", "onnxruntime")), "rows": rows}
    write_json(given.output, {"command": this_command()} | result)
    print(given.output.read_text())


if __name__ == "__main__":
    main()
