# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
import copy
import io
import json
import logging
import pickle
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from tiny_models import CHUNK_LENGTH_S, tiny_config, tiny_text_config
from transformers import AutoProcessor, pipeline
from transformers.audio_utils import load_audio
from transformers.dynamic_module_utils import get_imports

from collap import CollapFeatureExtractor, CollapModel, CollapProcessor, TextCoverage
from collap.processing import sentence_splitting_collap
from collap.processing.sentence_splitting_collap import split_clauses, split_sentences

RATE = 16000
PROCESSING = Path(sentence_splitting_collap.__file__).parent


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.5, 0.5, round(seconds * RATE)).astype(np.float32)


@pytest.fixture
def feature_extractor() -> CollapFeatureExtractor:
    return CollapFeatureExtractor(chunk_length_s=CHUNK_LENGTH_S)


@pytest.fixture
def documents(feature_extractor, tokenizer) -> CollapProcessor:
    return CollapProcessor(feature_extractor, tokenizer)


@pytest.fixture
def sentences(feature_extractor, tokenizer) -> CollapProcessor:
    return CollapProcessor(feature_extractor, tokenizer, text_granularity="sentence")


# --- sentences ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A choir sings. It fades!", ["A choir sings.", "It fades!"]),
        ("  One only ", ["One only"]),
        (
            "A hum at 3.5 kHz (0:30 - 1:00). Then Dr. Low speaks.",
            ["A hum at 3.5 kHz (0:30 - 1:00).", "Then Dr. Low speaks."],
        ),
        ("It stops. ... And starts.", ["It stops. ...", "And starts."]),
        ("... It starts.", ["... It starts."]),
        ("First line.\n\nSecond\nline.\n", ["First line.", "Second\nline."]),
        ("!!!", ["!!!"]),
        ("She sings “La.” Then silence.", ["She sings “La.”", "Then silence."]),
        ("合唱が歌う。静かになる。", ["合唱が歌う。", "静かになる。"]),
    ],
)
def test_split_sentences(text, expected):
    assert split_sentences(text) == expected


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("a flute, then drums; later a choir.", ["a flute", "then drums", "later a choir."]),
        ("a flute followed by drums and then a choir", ["a flute", "followed by drums", "and then a choir"]),
        ("A choir is quiet, before that it is loud", ["A choir is quiet", "before that it is loud"]),  # as they stand
        ("A flute is followed by drums.",) * 2,
        (
            "A flute is followed by drums and followed by a choir",
            ["A flute is followed by drums", "and followed by a choir"],
        ),
        ("flutes are followed by drums",) * 2,
        ("A singer, after all, is singing; a tune, next door, plays",) * 2,
        ("A choir, after all others stop", ["A choir", "after all others stop"]),
        ("drums, then", ["drums"]),  # no clause without a word of its own
        ("Then, later, drums, then, finally a flute.", ["later, drums", "finally a flute."]),
        ("Finally, then.",) * 2,
        ("A fast, later famous, tune", ["A fast", "later famous, tune"]),  # not known from an event without grammar
        ("Before a choir sings, a harp next to a flute; both are soft, next to silence now and then.",) * 2,
    ],
)
def test_split_clauses(sentence, expected):
    assert split_clauses(sentence) == ([expected] if isinstance(expected, str) else expected)


def test_split_sentences_of_another_language():
    text = "Das Lied beginnt z. B. leise. Dann klingt Gesang."
    assert split_sentences(text, "de") == ["Das Lied beginnt z. B. leise.", "Dann klingt Gesang."]


def test_a_text_becomes_its_sentences(sentences):
    one, two = "a choir sings. it fades!", ["piano starts .", " drums set in . ", "it fades ."]
    batch = sentences(text=[one, two], return_tensors="pt")
    assert batch["sentence_counts"].tolist() == [2, 3]
    assert batch["sentence_counts"].dtype == batch["input_ids"].dtype == torch.int64
    assert sentences.batch_decode(batch["input_ids"], skip_special_tokens=True) == [
        "a choir sings .",
        "it fades !",
        "piano starts .",
        "drums set in .",
        "it fades .",
    ]
    assert batch["attention_mask"].sum(-1).tolist() == [6, 5, 5, 6, 5]
    assert batch["input_ids"].shape == (5, 6)
    assert batch.text_coverage == [
        TextCoverage(("a choir sings.", "it fades!"), 11, 11),
        TextCoverage(("piano starts .", "drums set in .", "it fades ."), 16, 16),
    ]
    assert batch.audio_coverage == []
    assert pickle.loads(pickle.dumps(batch)).text_coverage == batch.text_coverage

    # A document is one row.
    documents = CollapProcessor(sentences.feature_extractor, sentences.tokenizer)
    batch = documents(text=[one, two], return_tensors="pt")
    assert batch["sentence_counts"].tolist() == [1, 1]
    joined = "piano starts . drums set in . it fades ."
    assert documents.batch_decode(batch["input_ids"], skip_special_tokens=True)[1] == joined
    assert [record.sentences for record in batch.text_coverage] == [(one,), (joined,)]


def test_without_sentencex(sentences, documents, monkeypatch):
    monkeypatch.setattr(sentence_splitting_collap, "sentencex", None)
    with pytest.raises(ImportError, match=r"pip install sentencex"):
        sentences(text="a choir sings. it fades!")
    assert sentences(text=[["a choir sings .", "it fades !"]])["sentence_counts"] == [2]
    assert documents(text="a choir sings. it fades!")["sentence_counts"] == [1]


# --- songs and texts ------------------------------------------------------------------------------------------------


def test_songs_and_texts_of_different_numbers(sentences):
    batch = sentences(
        text=["a choir sings. it fades!", "piano starts .", "drums set in ."],
        audio=[noise(1.0), noise(0.3)],
        sampling_rate=RATE,
        return_tensors="pt",
    )
    assert set(batch) == set(sentences.model_input_names)
    assert next(iter(batch)) == "fbank_features"  # accelerate takes the batch size from the first tensor
    assert batch["fbank_features"].shape == (2, 2, 62, 128)
    assert batch["input_ids"].shape[0] == 4
    assert [(record.duration_s, record.chunks) for record in batch.audio_coverage] == [(1.0, 2), (0.3, 1)]
    assert [len(record.sentences) for record in batch.text_coverage] == [2, 1, 1]


def test_columns_of_a_data_set(sentences, tmp_path):
    datasets = pytest.importorskip("datasets", reason="columns of `datasets` need the extra 'train'")
    content = [io.BytesIO(), io.BytesIO()]
    for seed, file in enumerate(content):
        soundfile.write(file, noise(1.0, seed), RATE, format="flac")
    data = datasets.Dataset.from_dict(
        {
            "audio": [{"bytes": file.getvalue(), "path": None} for file in content],
            "text": ["a choir sings. it fades!", "piano starts ."],
            "sentences": [["a choir sings.", "it fades!"], ["piano starts ."]],
        }
    ).cast_column("audio", datasets.Audio(decode=False))
    batch = sentences(text=data["text"], audio=data["audio"], return_tensors="pt")
    assert batch["sentence_counts"].tolist() == [2, 1]
    for inputs in (
        sentences(text=data["sentences"], audio=data["audio"], return_tensors="pt"),
        sentences(text=data[:]["text"], audio=data[:]["audio"], return_tensors="pt"),
        sentences(text=data["text"], audio=[row["audio"] for row in data], return_tensors="pt"),
    ):
        assert all(torch.equal(inputs[key], batch[key]) for key in batch)


def test_audio_alone_and_text_alone(documents):
    assert set(documents(audio=noise(1.0), sampling_rate=RATE)) == set(documents.feature_extractor.model_input_names)
    assert set(documents(text="it fades .")) == {"input_ids", "attention_mask", "sentence_counts"}
    with pytest.raises(ValueError, match="text and audio are both None: expected at least one of them"):
        documents()


def test_options_reach_the_feature_extractor(tokenizer):
    processor = CollapProcessor(CollapFeatureExtractor(chunk_length_s=0.64, max_length_s=1.0), tokenizer)
    stereo = torch.from_numpy(np.stack([noise(1.5, 1), noise(1.5, 2)]))
    batch = processor(
        audio=[stereo], sampling_rate=RATE, downmix=True, truncation=True, device="cpu", return_tensors="pt"
    )
    assert batch["audio_attention_mask"].sum().item() == 62 + 34
    assert (batch.audio_coverage[0].duration_s, batch.audio_coverage[0].source_channels) == (1.5, 2)
    nested = processor(
        audio=[stereo], audio_kwargs={"sampling_rate": RATE, "downmix": True, "truncation": True}, return_tensors="pt"
    )
    assert torch.equal(nested["fbank_features"], batch["fbank_features"])
    slow = processor(audio=noise(0.5), sampling_rate=8000, resample=True, return_tensors="pt")
    assert slow.audio_coverage[0].duration_s == 1.0


def test_options_reach_the_tokenizer(documents):
    texts = ["it fades .", "a choir sings ."]
    padded = documents(text=texts, padding="max_length", max_length=20, return_tensors="pt")
    assert padded["input_ids"].shape == (2, 20)
    assert documents(text=texts, padding="max_length", return_tensors="pt")["input_ids"].shape == (2, 32)
    assert documents(text=texts, pad_to_multiple_of=4, return_tensors="np")["input_ids"].shape == (2, 8)
    bare = documents(text=texts, text_kwargs={"add_special_tokens": False}, return_tensors="pt")
    assert bare["attention_mask"].sum(-1).tolist() == [3, 4]
    assert documents(text=texts, padding=False)["input_ids"] == [ids[ids != 1].tolist() for ids in padded["input_ids"]]


# --- the limit of tokens --------------------------------------------------------------------------------------------

LONG = " ".join(["piano"] * 40)  # 42 tokens with the two special ones; the tokenizer takes 32


def test_a_long_document_is_refused_or_cut(documents):
    message = (
        r"^text\[1\] must have at most 32 tokens, got 42: pass truncation=True to cut it, or use text_granularity"
    )
    with pytest.raises(ValueError, match=message):
        documents(text=["it fades .", LONG])
    batch = documents(text=["it fades .", LONG], truncation=True, return_tensors="pt")
    assert batch["input_ids"].shape == (2, 32)
    assert [(record.num_tokens, record.num_encoded_tokens) for record in batch.text_coverage] == [(5, 5), (42, 32)]
    assert batch["input_ids"][1, -1] == 2  # the end token stays


def test_a_text_of_any_length_fits_in_sentences(sentences):
    batch = sentences(text=" ".join(["A choir sings."] * 500), return_tensors="pt")
    assert batch["sentence_counts"].tolist() == [500]
    assert batch.text_coverage[0].num_encoded_tokens == batch.text_coverage[0].num_tokens == 3000
    with pytest.raises(
        ValueError, match=r"^sentence 1 of text\[0\] must have at most 32 tokens, got 42: pass truncation"
    ):
        sentences(text=[["it fades .", LONG]])
    cut = sentences(text=[["it fades .", LONG]], truncation=True)
    assert (cut.text_coverage[0].num_tokens, cut.text_coverage[0].num_encoded_tokens) == (47, 37)


def test_which_limit_holds(feature_extractor, tokenizer, gpt2_tokenizer):
    processor = CollapProcessor(feature_extractor, tokenizer, max_text_tokens=10)
    text = " ".join(["piano"] * 10)
    with pytest.raises(ValueError, match=r"^text\[0\] must have at most 10 tokens, got 12"):
        processor(text=text)
    assert processor(text=text, max_length=12).text_coverage[0].num_encoded_tokens == 12
    with pytest.raises(ValueError, match=r"^text\[0\] must have at most 11 tokens, got 12"):
        processor(text=text, max_length=11, truncation=False)
    wider = CollapProcessor(feature_extractor, tokenizer, max_text_tokens=100)
    assert wider(text=LONG).text_coverage[0].num_encoded_tokens == 42
    unlimited = CollapProcessor(feature_extractor, gpt2_tokenizer)  # its model_max_length is 1e30
    assert unlimited(text=" ".join([LONG] * 100)).text_coverage[0].num_encoded_tokens == 4000
    # As in several models of sentence-transformers: what is saved with a tokenizer is no limit of the processor.
    saved = copy.deepcopy(tokenizer)
    saved.init_kwargs["max_length"] = 5
    assert CollapProcessor(feature_extractor, saved)(text=text).text_coverage[0].num_encoded_tokens == 12


# --- errors of texts ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("", ValueError, r"^text must not be empty, got ''"),
        ("songs/none.M4A", ValueError, r"^text must be a text, got the name of a file, 'songs/none.M4A': pass it as"),
        (["it fades .", " \n"], ValueError, r"^text\[1\] must not be empty, got ' \\n'"),
        ([["it fades .", ""]], ValueError, r"^text\[0\]\[1\] must not be empty, got ''"),
        ([], ValueError, r"^text must hold at least one text, got an empty list"),
        (["it fades .", []], ValueError, r"^text\[1\] must hold at least one sentence, got an empty list"),
        (3, TypeError, r"^text must be a string or a list, got int"),
        (["it fades .", None], TypeError, r"^text\[1\] must be a string or a list of sentences, got NoneType"),
        ([["it fades .", 4]], TypeError, r"^text\[0\]\[1\] must be a sentence, got int"),
    ],
)
def test_text_errors(sentences, text, error, message):
    with pytest.raises(error, match=message):
        sentences(text=text)


def test_settings_out_of_range(feature_extractor, tokenizer):
    with pytest.raises(ValueError, match="text_granularity must be 'document' or 'sentence', got 'word'"):
        CollapProcessor(feature_extractor, tokenizer, text_granularity="word")
    with pytest.raises(ValueError, match="max_text_tokens must be at least 1 or None, got 0"):
        CollapProcessor(feature_extractor, tokenizer, max_text_tokens=0)


# --- tokenizers -----------------------------------------------------------------------------------------------------


def test_a_tokenizer_without_pad_token_pads_with_its_end_token(feature_extractor, gpt2_tokenizer, caplog):
    with caplog.at_level(logging.INFO, logger="collap"):
        processor = CollapProcessor(feature_extractor, gpt2_tokenizer)
    assert "no pad token: padding with its end token '<|endoftext|>'" in caplog.text
    assert gpt2_tokenizer.pad_token is None
    batch = processor(text=["it fades .", "a choir sings ."], return_tensors="pt")
    assert batch["input_ids"][0, -1] == gpt2_tokenizer.eos_token_id
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 0], [1, 1, 1, 1]]
    gpt2_tokenizer.eos_token = None
    with pytest.raises(ValueError, match="tokenizer must have a pad token or an end token to pad with"):
        CollapProcessor(feature_extractor, gpt2_tokenizer)


# --- saving and the Hub ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["tokenizer", "gpt2_tokenizer"])
def test_save_and_load(kind, request, feature_extractor, tmp_path):
    processor = CollapProcessor(
        feature_extractor,
        request.getfixturevalue(kind),
        text_granularity="sentence",
        max_text_tokens=20,
        language="de",
    )
    processor.save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "processor_config.json").read_text())
    assert saved["feature_extractor"]["chunk_length_s"] == CHUNK_LENGTH_S  # nested: there is no other file of it
    assert not (tmp_path / "preprocessor_config.json").exists()
    inputs = {"text": "a choir sings. it fades!", "audio": noise(1.0), "sampling_rate": RATE, "return_tensors": "pt"}
    expected = processor(**inputs)
    for loader in (CollapProcessor, AutoProcessor):
        loaded = loader.from_pretrained(tmp_path)
        assert type(loaded) is CollapProcessor
        assert (loaded.text_granularity, loaded.max_text_tokens, loaded.language) == ("sentence", 20, "de")
        batch = loaded(**inputs)
        assert list(batch) == list(expected)
        assert all(torch.equal(batch[key], expected[key]) for key in batch)


def test_remote_code_demands_no_package_that_arrays_and_lists_do_not_need():
    """transformers refuses remote code whose imports are missing; it leaves out those inside try/except."""
    needed = {package for file in PROCESSING.glob("*_collap.py") for package in get_imports(file)}
    assert not needed & {"sentencex", "soundfile", "soxr", "collap"}


# --- with the model -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text_model", ["roberta", "gpt2"])
@pytest.mark.parametrize("granularity", ["document", "sentence"])
def test_the_model_takes_the_batch_as_it_is(text_model, granularity, request, feature_extractor):
    tokenizer = request.getfixturevalue("tokenizer" if text_model == "roberta" else "gpt2_tokenizer")
    model = CollapModel(tiny_config(text_model, text_granularity=granularity)).eval()
    processor = CollapProcessor(feature_extractor, tokenizer, text_granularity=granularity)
    texts = ["a choir sings. it fades!", "piano starts .", "drums set in . then a piano."]
    songs = [noise(1.5, 1), noise(0.4, 2)]
    batch = processor(text=texts, audio=songs, sampling_rate=RATE, return_tensors="pt")
    with torch.no_grad():
        logits = model(**batch).logits_per_audio
    assert logits.shape == (2, 3)
    # Each pair alone scores the same: no song and no text depends on the others of its batch.
    for row, song in enumerate(songs):
        for column, text in enumerate(texts):
            pair = processor(text=text, audio=song, sampling_rate=RATE, return_tensors="pt")
            with torch.no_grad():
                assert model(**pair).logits_per_audio.item() == pytest.approx(logits[row, column].item(), abs=1e-4)


def test_sentences_that_were_given_as_texts(sentences):
    model = CollapModel(tiny_config(text_granularity="sentence")).eval()
    options = {"audio": noise(1.0), "sampling_rate": RATE, "return_tensors": "pt"}
    batch = sentences(text=["a choir sings.", "it fades."], **options)
    assert [record.sentences for record in batch.text_coverage] == [("a choir sings.",), ("it fades.",)]
    with pytest.raises(
        ValueError, match=r"got 1 songs and 2 texts\. .*\['One\.', 'Two\.'\] is two texts, and \[\['One"
    ):
        model(**batch, return_loss=True)
    model(**sentences(text=[["a choir sings.", "it fades."]], **options), return_loss=True)


def test_stock_zero_shot_pipeline(documents, tmp_path):
    model = CollapModel(tiny_config(text_config=tiny_text_config()))
    classifier = pipeline(
        "zero-shot-audio-classification",
        model=model,
        feature_extractor=documents.feature_extractor,
        tokenizer=documents.tokenizer,
    )
    soundfile.write(tmp_path / "song.wav", noise(1.5), 44100)
    song = load_audio(str(tmp_path / "song.wav"))  # the pipeline itself takes files only with ffmpeg
    results = classifier(song, candidate_labels=["a piano", "a choir", "drums"])
    assert {result["label"] for result in results} == {"a piano", "a choir", "drums"}
    assert sum(result["score"] for result in results) == pytest.approx(1.0)
