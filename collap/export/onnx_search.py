# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
r"""
Ranks songs by descriptions with an ONNX export of a CoLLAP, without torch and transformers.

    pip install onnxruntime tokenizers av soxr sentencex
    python onnx_search.py --songs first.mp3 second.flac --texts "A slow piano opens the song. Then a choir joins in."

`collap export` copies this file, and the two that it imports, beside the graphs. `--int8` takes the graphs with
weights of 8 bits. The scores are those of `CollapModel.score`.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

try:  # beside the graphs
    from audio_decoding_collap import decode_audio
    from sentence_splitting_collap import split_sentences
except ImportError:  # in the package
    from collap.processing.audio_decoding_collap import decode_audio
    from collap.processing.sentence_splitting_collap import split_sentences


class OnnxCollap:
    """
    The graphs of an export, and what lies between them.

    Args:
        folder (`str` or `Path`): Of the export.
        int8 (`bool`): Whether audio and texts are encoded by the graphs with weights of 8 bits.
    """

    def __init__(self, folder: str | Path, int8: bool = False):
        folder = Path(folder)
        self.settings = json.loads((folder / "collap_onnx.json").read_text(encoding="utf-8"))
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_truncation()
        self.tokenizer.enable_padding(pad_id=self.settings["pad_token_id"], pad_token=self.settings["pad_token"])
        self.sessions = {}
        for name in ("audio", "adapter", "text", "scores"):
            file = folder / f"{name}.int8.onnx" if int8 and name in ("audio", "text") else folder / f"{name}.onnx"
            try:
                self.sessions[name] = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
            except Exception as error:  # those of onnxruntime have no class of their own in common
                raise ValueError(f"{file} cannot be loaded (int8 needs `collap export --int8`): {error}") from error

    def encode_song(self, waveform: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """`frame_embeds` `(1, frames, d)` and `song_embeds` `(1, d)` of a mono waveform at 16 kHz, in [-1, 1]."""
        size, shortest = self.settings["samples_per_chunk"], self.settings["min_samples"]
        if np.ndim(waveform) != 1 or len(waveform) < shortest:
            raise ValueError(f"waveform must be mono, at least {shortest} samples, got {np.shape(waveform)}.")
        waveform = waveform[: self.settings["max_samples"]]  # of the processor
        if not (np.issubdtype(waveform.dtype, np.floating) and np.isfinite(waveform).all()):
            raise ValueError(f"waveform, of {waveform.dtype}, must be of floats without NaN and infinity.")
        frames = []
        for start in range(0, len(waveform), size):
            chunk = waveform[None, start : start + size].astype(np.float32)
            length = chunk.shape[1]
            if length < shortest:  # a rest that has no frame
                break
            chunk = np.pad(chunk, ((0, 0), (0, size - length)))
            of_chunk = self._run("audio", {"waveform": chunk, "num_samples": np.array([length])})
            frames.append(of_chunk["encoder_frames"][of_chunk["frame_mask"]])
        frames = np.concatenate(frames)[None]
        song = self._run("adapter", {"encoder_frames": frames, "frame_mask": np.ones(frames.shape[:2], bool)})
        return song["frame_embeds"], song["song_embeds"]

    def encode_texts(self, texts: Sequence[str | list[str]]) -> dict[str, np.ndarray]:
        """`query_embeds`, `text_embeds`, `sentence_counts`, any `time_query_embeds`; a text may be its sentences."""
        parts = [[text] if isinstance(text, str) else text for text in texts]
        if isinstance(texts, str) or not parts or not all(text and all(map(str.strip, text)) for text in parts):
            raise ValueError(f"texts must be a list of texts that are not empty, got {texts!r}.")
        encoded = [self._encode_text(text) for text in texts]
        return {name: np.concatenate([text[name] for text in encoded]) for name in encoded[0]}

    def _encode_text(self, text: str | list[str]) -> dict[str, np.ndarray]:
        # Alone: in 8 bits all inputs of a call have one scale.
        most = self.settings["max_text_tokens"]
        sentences = [text] if isinstance(text, str) else [sentence.strip() for sentence in text]
        if self.settings["text_granularity"] == "document":
            sentences = [" ".join(sentences)]
        elif isinstance(text, str):
            sentences = split_sentences(text, self.settings["language"])
        encoded = self.tokenizer.encode_batch(sentences)
        for sentence, tokens in zip(sentences, encoded, strict=True):
            if most is not None and (number := sum(tokens.attention_mask)) > most:
                raise ValueError(f"A sentence must have at most {most} tokens, got {number}: {sentence[:80]!r} ...")
        columns = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}
        inputs = {
            name: np.array([getattr(tokens, column) for tokens in encoded])
            for name, column in columns.items()
            if name in self._inputs("text")
        }
        inputs["sentence_counts"] = np.array([len(sentences)])
        return {**self._run("text", inputs), "sentence_counts": inputs["sentence_counts"]}

    def score(self, frame_embeds: np.ndarray, texts: dict[str, np.ndarray]) -> np.ndarray:
        """The scores `(texts,)` of one song, of `encode_song`, and all texts, of `encode_texts`."""
        inputs = {"frame_embeds": frame_embeds, "frame_mask": np.ones(frame_embeds.shape[:2], bool), **texts}
        return self._run("scores", {name: inputs[name] for name in self._inputs("scores")})["scores"][0]

    def _inputs(self, graph: str) -> list[str]:
        return [value.name for value in self.sessions[graph].get_inputs()]

    def _run(self, graph: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        session = self.sessions[graph]
        names = [value.name for value in session.get_outputs()]
        return dict(zip(names, session.run(names, inputs), strict=True))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--songs", nargs="+", required=True, help="files of audio")
    parser.add_argument("--texts", nargs="+", required=True, help="descriptions")
    parser.add_argument("--int8", action="store_true", help="encode with weights of 8 bits")
    given = parser.parse_args()
    model = OnnxCollap(Path(__file__).parent, given.int8)
    texts = model.encode_texts(given.texts)
    paths, scores = [], []
    for path in given.songs:
        try:
            song = decode_audio(path)
            frame_embeds, _ = model.encode_song(song.waveform)
        except ValueError as error:
            print(f"{path} is left out: {error}", file=sys.stderr)
            continue
        if song.problem is not None:
            print(f"{path} is not whole: {song.problem}", file=sys.stderr)
        if (most := model.settings["max_samples"]) and len(song.waveform) > most:
            print(f"{path} is cut: {most} of {len(song.waveform)} samples are encoded.", file=sys.stderr)
        paths.append(path)
        scores.append(model.score(frame_embeds, texts))
    for text, of_songs in zip(given.texts, np.reshape(scores, (-1, len(given.texts))).T, strict=True):
        print(text)
        for song in np.argsort(-of_songs, kind="stable"):
            print(f"  {of_songs[song]:10.6f}  {paths[song]}")
    return int(len(paths) < len(given.songs))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (ImportError, OSError, ValueError) as error:
        sys.exit(f"onnx_search.py: {error}")
