# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""`collap export`: graphs that return what the model does, and a search with them where torch can't be imported."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from tiny_retrieval import TEXTS, tiny_collap, write_songs
from torch import nn
from transformers import AutoConfig, ByT5Tokenizer

from collap import CollapFeatureExtractor, CollapModel, CollapProcessor
from collap.cli import main
from collap.export import export, graphs
from collap.processing.audio_decoding_collap import decode_audio

CAPTIONS = [text if isinstance(text, str) else ". ".join(text) + "." for text in TEXTS]
SECONDS = (2.0, 0.3, 1.51)  # several chunks, less than a segment, and a rest that has no frame
# Runs in a Python that can import neither torch nor what brings it.
SEARCH = """
import sys
sys.modules.update(dict.fromkeys(("torch", "transformers", "collap"), None))
import json
import numpy as np
sys.path.insert(0, sys.argv[1])
from audio_decoding_collap import decode_audio
from onnx_search import OnnxCollap, main

songs, captions = json.loads(sys.argv[2]), json.loads(sys.argv[3])
for int8 in (False, True):
    model = OnnxCollap(sys.argv[1], int8)
    texts = model.encode_texts(captions)
    encoded = [model.encode_song(decode_audio(song).waveform) for song in songs]
    scores = [model.score(frames, texts) for frames, _ in encoded]
    assert model.encode_texts([["a choir", " sings"]])["sentence_counts"] == [2]
    assert np.array_equal(scores[0][1:2], model.score(encoded[0][0], model.encode_texts(captions[1:2])))
    np.savez(f"{int8}.npz", scores=scores, songs=np.concatenate([song for _, song in encoded]), **texts)
sys.argv[1:] = ["--songs", *songs, "--texts", captions[0]]
main()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a model, songs and their texts."""
    folder = tmp_path_factory.mktemp("export")
    for part in tiny_collap():
        part.save_pretrained(folder / "model")
    return folder


@pytest.fixture(scope="module")
def songs(folder):
    return list(write_songs(folder, SECONDS).values())


@pytest.fixture(scope="module")
def expected(folder, songs):
    """Songs and texts as the model encodes them, and the scores `(songs, texts)`."""
    model, processor = CollapModel.from_pretrained(folder / "model"), CollapProcessor.from_pretrained(folder / "model")
    with torch.no_grad():
        text = model.get_text_features(**processor(text=CAPTIONS, return_tensors="pt"))
        audio = model.get_audio_features(**processor(audio=songs, return_tensors="pt"))
        return audio, text, model.score(audio, text)


@pytest.mark.slow
def test_a_graph_that_ignores_padding_is_refused(tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime")
    embed_frames = graphs.embed_frames

    def without_padding(model, encoder_frames, frame_mask):
        mask = torch.ones_like(frame_mask) if torch.compiler.is_compiling() else frame_mask
        return embed_frames(model, encoder_frames=encoder_frames, frame_mask=mask)

    monkeypatch.setattr(graphs, "embed_frames", without_padding)
    adapter = graphs.make_graphs(*tiny_collap())["adapter"]
    with pytest.raises(RuntimeError, match=r"frame_embeds of adapter\.onnx differs from the model by up to"):
        export._write_onnx(adapter, tmp_path / "adapter.onnx", with_int8=False)


def text_graph(model_type, **fields):
    """That of a tiny text model, with model and processor."""
    sizes = {"vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    tokens = {"bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2}
    text = AutoConfig.for_model(model_type, **sizes, **tokens, **fields)
    model, processor = tiny_collap(text_config=text, text_granularity="document", temporal_position=False)
    return graphs.make_graphs(model, processor)["text"], model, processor


@pytest.mark.slow
@pytest.mark.parametrize("model_type", ["bert", "gpt2", "modernbert", "mpnet", "t5"])
def test_text_models_are_converted(model_type, tmp_path):
    pytest.importorskip("onnxruntime")
    graph, model, _ = text_graph(model_type, max_position_embeddings=64)
    model.set_attn_implementation("eager")
    export._write_onnx(graph, tmp_path / "text.onnx", with_int8=False)  # which compares it with the model


@pytest.mark.slow
def test_a_text_model_that_cannot_be_converted_is_named(tmp_path, monkeypatch, capsys):
    graph, *parts = text_graph("longformer", attention_window=8, max_position_embeddings=64)
    for part in parts:
        part.save_pretrained(tmp_path / "model")
    monkeypatch.setattr(export, "make_graphs", lambda model, processor: {"text": graph})
    with pytest.raises(RuntimeError, match=r"^The graph 'text' \(longformer\) cannot be exported: [^\n]+$"):
        export.export_model(tmp_path / "model", tmp_path / "out", "torch")
    assert not (tmp_path / "out").exists()
    assert "torch.ops" not in capsys.readouterr().err  # the graph, of hundreds of lines


@pytest.mark.slow
def test_a_search_without_torch(folder, songs, expected):
    pytest.importorskip("onnxruntime")
    assert main(["export", str(folder / "onnx"), "--model", str(folder / "model"), "--int8"]) == 0
    arguments = [str(folder / "onnx"), json.dumps(songs), json.dumps(CAPTIONS)]
    run = subprocess.run([sys.executable, "-c", SEARCH, *arguments], cwd=folder, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr

    audio, text, scores = expected
    found, int8 = np.load(folder / "False.npz"), np.load(folder / "True.npz")
    np.testing.assert_allclose(found["scores"], scores, atol=1e-4)
    np.testing.assert_allclose(found["songs"], audio.pooler_output, atol=1e-5)
    for name in ("query_embeds", "time_query_embeds"):
        np.testing.assert_allclose(found[name], text[name], atol=1e-5)
    np.testing.assert_allclose(found["text_embeds"], text.pooler_output, atol=1e-5)
    assert 1e-4 < np.abs(int8["scores"] - scores.numpy()).max() < 0.1 * scores.abs().max()

    first, *lines = run.stdout.splitlines()
    assert first == CAPTIONS[0]
    ranked = [int(song) for song in scores[:, 0].argsort(descending=True)]
    assert [line.split()[1] for line in lines] == [songs[song] for song in ranked]
    assert [float(line.split()[0]) for line in lines] == pytest.approx(scores[ranked, 0].tolist(), abs=1e-4)


@pytest.mark.slow
@torch.no_grad()
def test_programs_of_torch(folder, songs, expected):
    assert main(["export", str(folder / "torch"), "--model", str(folder / "model"), "--format", "torch"]) == 0
    programs = {
        name: torch.export.load(folder / "torch" / f"{name}.pt2").module()
        for name in ("audio", "adapter", "text", "scores")
    }
    audio, text, scores = expected
    processor = CollapProcessor.from_pretrained(folder / "model")
    waveform = torch.from_numpy(decode_audio(songs[1]).waveform)  # less than a chunk
    waveform = nn.functional.pad(waveform, (0, processor.feature_extractor.num_chunk_samples - len(waveform)))[None]
    frames, mask = programs["audio"](waveform, torch.tensor([16_000 * 3 // 10]))
    frames, mask = frames[:, mask[0]], mask[:, mask[0]]
    embeds, vectors = programs["adapter"](frames, mask)
    torch.testing.assert_close(vectors, audio.pooler_output[1:2])
    tokens = processor(text=CAPTIONS, return_tensors="pt")
    counts = tokens["sentence_counts"]
    queries, vectors, times = programs["text"](tokens["input_ids"], tokens["attention_mask"], counts)
    torch.testing.assert_close(vectors, text.pooler_output)
    (found,) = programs["scores"](embeds, mask, counts, queries, times)
    torch.testing.assert_close(found, scores[1:2])


@pytest.fixture(scope="module")
def documents(tmp_path_factory):
    """Graphs of a model without sentences, Whisper and pooling, with its processor, which has limits."""
    pytest.importorskip("onnxruntime")
    fields = {"text_granularity": "document", "temporal_position": False, "speech_config": None, "frame_pooling": 1}
    model, processor = tiny_collap(**fields)
    processor.feature_extractor.speech, processor.feature_extractor.max_length_s = False, 1.0
    processor.tokenizer.model_max_length = 10**30
    folder = tmp_path_factory.mktemp("documents")
    for part in (model, processor):
        part.save_pretrained(folder / "model")
    export.export_model(folder / "model", folder / "onnx")
    return model, processor, folder / "onnx"


@pytest.mark.slow
@torch.no_grad()
def test_graphs_of_documents(documents, tmp_path):
    from collap.export.onnx_search import OnnxCollap

    model, processor, folder = documents
    graphs, texts = OnnxCollap(folder), [*CAPTIONS, TEXTS[0]]
    expected = model.get_text_features(**processor(text=texts, return_tensors="pt"))
    for song in write_songs(tmp_path, (1.2, 0.3)).values():
        audio = model.get_audio_features(**processor(audio=song, truncation=True, return_tensors="pt"))
        frames, vector = graphs.encode_song(decode_audio(song).waveform)
        np.testing.assert_allclose(vector, audio.pooler_output, atol=1e-5)
        scores = graphs.score(frames, graphs.encode_texts(texts))
        np.testing.assert_allclose(scores, model.score(audio, expected)[0], atol=1e-4)

    for message, waveform in {
        "at least 2800 samples": np.zeros(2_799, np.float32),
        "of float64, must be of floats without NaN": np.full(5_000, np.nan),
        "of int16, must be of floats": np.zeros(5_000, np.int16),
    }.items():
        with pytest.raises(ValueError, match="audio must"):
            processor(audio=waveform, sampling_rate=16_000)
        with pytest.raises(ValueError, match=message):
            graphs.encode_song(waveform)
    with pytest.raises(ValueError, match="at most 62 tokens, got 63"):
        graphs.encode_texts(["choir " * 61])  # as many as the text model has positions, less the first and the last


@pytest.mark.slow
def test_what_a_search_cannot_use_is_named(documents, tmp_path):
    from collap.export.onnx_search import OnnxCollap

    folder = shutil.copytree(documents[2], tmp_path / "onnx")
    song, short = write_songs(tmp_path, (1.5, 0.1)).values()
    (tmp_path / "bad.mp3").write_text("no audio")
    command = "import sys, runpy; sys.path.insert(0, '.'); runpy.run_path('onnx_search.py', run_name='__main__')"
    arguments = ["--songs", short, str(tmp_path / "bad.mp3"), song, "--texts", "a choir"]
    run, without_av = (
        subprocess.run([sys.executable, "-c", code, *arguments], cwd=folder, capture_output=True, text=True)
        for code in (command, f"import sys; sys.modules['av'] = None; {command}")
    )
    assert run.returncode == without_av.returncode == 1
    assert [line.split()[-1] for line in run.stdout.splitlines()[1:]] == [song]
    assert [line.partition(":")[0] for line in run.stderr.splitlines()] == [
        f"{short} is left out",
        f"{tmp_path / 'bad.mp3'} is left out",
        f"{song} is cut",
    ]
    assert without_av.stderr.splitlines() == [
        "onnx_search.py: Decoding and resampling of audio need PyAV and soxr: pip install av soxr."
    ]

    (folder / "text.onnx").write_bytes((folder / "text.onnx").read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"text\.onnx cannot be loaded"):
        OnnxCollap(folder)


def test_what_cannot_be_exported(tmp_path, capsys):
    with pytest.raises(SystemExit):
        export.export([str(tmp_path / "out"), "--model", "my-collap", "--format", "torch", "--int8"])
    assert "--int8 needs --format onnx" in capsys.readouterr().err
    processor = CollapProcessor(CollapFeatureExtractor(), ByT5Tokenizer())
    with pytest.raises(ValueError, match=r"tokenizer with a tokenizer\.json, got a ByT5Tokenizer"):
        export._write_search(tiny_collap()[0].config, processor, tmp_path)


def test_an_adapter_without_a_processor_has_that_of_its_base(folder, tmp_path, monkeypatch):
    adapted = get_peft_model(CollapModel.from_pretrained(folder / "model"), LoraConfig(target_modules=["query"]))
    adapted.save_pretrained(tmp_path / "adapter")
    monkeypatch.setattr(export, "make_graphs", lambda model, processor: processor.check_model(model) or {})
    export.export_model(tmp_path / "adapter", tmp_path / "out", "torch")
