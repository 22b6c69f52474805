# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""CoLLAP behind the interface that all models are evaluated through, and which model a folder is."""

import json

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from tiny_clap import tiny_clap
from tiny_retrieval import TEXTS, tiny_collap, write_songs

from collap import CollapModel
from collap.data.cache import hash_model
from collap.encode import extract_features
from collap.evaluation.retrievers import CollapRetriever, load_retriever


@pytest.fixture(scope="module")
def collap():
    return tiny_collap()


@pytest.fixture
def songs(tmp_path) -> list[str]:
    return list(write_songs(tmp_path, (1.5, 0.4, 2.0)).values())


@torch.no_grad()
def live_scores(model, processor, songs, **options) -> np.ndarray:
    """All at once, as one would call the model."""
    audio = model.get_audio_features(**processor(audio=songs, return_tensors="pt"))
    text = model.get_text_features(**processor(text=TEXTS, return_tensors="pt"))
    return model.similarity(audio, text, **options).numpy()


@pytest.mark.parametrize("options", [{}, {"use_time": False}, {"section_query": True}])
def test_scores_are_the_models(collap, songs, options, monkeypatch):
    monkeypatch.setattr("collap.evaluation.retrievers.BATCH_SIZE", 2)
    retriever = CollapRetriever(*collap, **options)
    embedded = [retriever.embed_song(song) for song in songs]
    scores = retriever.score([song.frames for song in embedded], retriever.embed_texts(TEXTS))
    assert (scores.shape, scores.dtype) == ((3, 5), np.float32)
    np.testing.assert_allclose(scores, live_scores(*collap, songs, **options), rtol=1e-5, atol=1e-5)
    default = live_scores(*collap, songs)
    assert bool(options) == (np.abs(scores - default).max() > 1e-3)  # the option does something


def test_whole_songs_are_encoded(collap, songs):
    embedded = [CollapRetriever(*collap).embed_song(song) for song in songs]
    assert [song.duration_s for song in embedded] == [1.5, 0.4, 2.0]
    assert [song.encoded_s for song in embedded] == pytest.approx([1.12, 0.32, 1.44])  # whole frames of 0.16 s
    assert [song.frames.shape for song in embedded] == [(7, 16), (2, 16), (9, 16)]
    assert all(song.frames.dtype == np.float32 for song in embedded)


def test_songs_are_cut_only_by_max_length_s(collap, songs, tmp_path, caplog):
    for part in collap:
        part.save_pretrained(tmp_path / "model")
    retriever = load_retriever(str(tmp_path / "model"), max_length_s=0.64)
    song = retriever.embed_song(songs[2])
    assert (song.encoded_s, song.duration_s) == (pytest.approx(0.48), 2.0)
    assert "first 0.64 s" in retriever.name
    assert retriever.revision != CollapRetriever(*collap).revision
    retriever.processor.save_pretrained(tmp_path / "model")  # as a training with --max_length_s does
    with caplog.at_level("INFO"):
        trained = load_retriever(str(tmp_path / "model"))
    assert "only the first 0.64 s are encoded" in caplog.text
    np.testing.assert_array_equal(trained.embed_song(songs[2]).frames, song.frames)
    assert trained.song_revision == retriever.song_revision
    with pytest.raises(ValueError, match=r"max_length_s must be at least 0\.175 s or None, got -3"):
        load_retriever(str(tmp_path / "model"), max_length_s=-3.0)
    (tmp_path / "bad.wav").write_bytes(b"no audio")
    with pytest.raises(ValueError, match=r"bad\.wav"):
        CollapRetriever(*collap).embed_song(str(tmp_path / "bad.wav"))


def test_long_texts_are_refused_before_the_model_runs_or_counted(collap, monkeypatch):
    model, processor = collap
    long = "a choir sings " * 30
    truncating = CollapRetriever(model, processor, truncate_texts=True)
    truncating.embed_texts(["a choir", long, [long], long])
    assert truncating.num_truncated_texts == 2  # a list is not the string
    monkeypatch.setattr(model, "get_text_features", None)
    retriever = CollapRetriever(model, processor)
    retriever.check_texts(TEXTS)
    for check in (retriever.check_texts, retriever.embed_texts):
        with pytest.raises(ValueError, match="at most 60 tokens, got 92"):
            check([long])
        with pytest.raises(ValueError, match="at least one text"):
            check([])


def test_cached_features_stand_in_for_the_encoders(collap, songs, tmp_path):
    model, processor = collap
    cache = extract_features(songs, tmp_path / "features", model.audio_model, processor.feature_extractor)
    cached, live = CollapRetriever(model, processor, features=cache), CollapRetriever(model, processor)
    assert cached.revision != live.revision  # float16 has rounded them
    assert cached.song_revision != live.song_revision
    for song in songs:
        expected, found = live.embed_song(song), cached.embed_song(song)
        np.testing.assert_allclose(found.frames, expected.frames, rtol=0, atol=5e-3)
        assert (found.encoded_s, found.duration_s) == pytest.approx((expected.encoded_s, expected.duration_s))
    with pytest.raises(ValueError, match="precision must be None with features"):
        CollapRetriever(model, processor, precision="bfloat16", features=cache)


def test_the_revision_is_of_weights_and_settings(collap, tmp_path):
    model, processor = collap
    revision = CollapRetriever(model, processor).revision
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    loaded = load_retriever(str(tmp_path))
    assert loaded.revision == revision  # wherever it lies
    assert loaded.name == f"CollapModel {tmp_path}"
    wider = CollapModel.from_pretrained(tmp_path, kernel_size=3)
    assert CollapRetriever(wider, processor).revision != revision
    changed = CollapModel.from_pretrained(tmp_path)
    with torch.no_grad():
        changed.text_model.projection.bias[0] += 1e-6
    assert CollapRetriever(changed, processor).revision != revision
    assert hash_model(model, a=1) != hash_model(model, a=2)


def test_a_folder_is_what_its_configuration_says(tmp_path):
    model, processor = tiny_clap(*[text for text in TEXTS if isinstance(text, str)])
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    assert "mean of 1 s windows" in load_retriever(str(tmp_path)).name
    assert "first 1 s" in load_retriever(str(tmp_path), windows="first").name
    with pytest.raises(ValueError, match=r"max_length_s must be None for a clap"):
        load_retriever(str(tmp_path), max_length_s=3.0)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(ValueError, match="model of type collap, clap or pe_audio, got 'bert'"):
        load_retriever(str(tmp_path))


def test_an_adapter_is_evaluated_with_its_model(collap, songs, tmp_path):
    model, processor = collap
    model.save_pretrained(tmp_path / "base")
    base = CollapModel.from_pretrained(tmp_path / "base")
    adapted = get_peft_model(base, LoraConfig(target_modules=["text_model.projection"], init_lora_weights=False, r=2))
    adapted.save_pretrained(tmp_path / "adapter")
    processor.save_pretrained(tmp_path / "adapter")
    retriever = load_retriever(str(tmp_path / "adapter"))
    assert retriever.name == f"CollapModel {tmp_path / 'adapter'}"
    scores = retriever.score([retriever.embed_song(songs[0]).frames], retriever.embed_texts(TEXTS))
    np.testing.assert_allclose(scores, live_scores(adapted.base_model.model, processor, songs[:1]), rtol=1e-5)
    assert retriever.revision != CollapRetriever(model, processor).revision
    assert retriever.song_revision == CollapRetriever(model, processor).song_revision  # the adapter is of the texts


def test_only_what_songs_depend_on_is_in_their_revision(collap):
    model, processor = collap
    own = CollapRetriever(model, processor)
    cut = CollapRetriever(model, processor, truncate_texts=True)
    assert cut.revision != own.revision
    assert cut.song_revision == own.song_revision
    for fields in ({"text_granularity": "document", "temporal_position": False}, {"kernel_weight": 0.9}):
        other = CollapRetriever(*tiny_collap(**fields))
        assert other.revision != own.revision
    with torch.no_grad():
        other.model.audio_model.load_state_dict(model.audio_model.state_dict())
    other.model.config.encoder_batch_size += 1
    assert other.song_revision == own.song_revision
    coarser, _ = tiny_collap(frame_pooling=2)  # with the same weights
    assert CollapRetriever(coarser, processor).song_revision != own.song_revision
    other.model.audio_model.adapter.bias.data[0] += 1e-3
    assert CollapRetriever(other.model, processor).song_revision != own.song_revision


def test_mean_pooling_and_other_classes(collap, tmp_path):
    model, processor = collap
    for name in ("MeanPoolingCollap", "OtherCollap"):
        model.save_pretrained(tmp_path)
        processor.save_pretrained(tmp_path)
        config = json.loads((tmp_path / "config.json").read_text())
        (tmp_path / "config.json").write_text(json.dumps({**config, "architectures": [name]}))
        if name == "MeanPoolingCollap":
            assert load_retriever(str(tmp_path)).name == f"MeanPoolingCollap {tmp_path}"
            given = {"use_time": False, "section_query": True}  # without effect
            assert load_retriever(str(tmp_path), **given).name == f"MeanPoolingCollap {tmp_path}"
            document = tiny_collap(text_granularity="document", temporal_position=False)
            assert CollapRetriever(*document, **given).name == "CollapModel"
    with pytest.raises(ValueError, match="model of CollapModel or MeanPoolingCollap, got OtherCollap"):
        load_retriever(str(tmp_path))


def test_frame_queries_give_the_mean_cosine_of_the_sentences(collap, songs):
    retriever = CollapRetriever(*collap)
    song, texts = retriever.embed_song(songs[0]), retriever.embed_texts(TEXTS)
    cosines = texts.output.query_embeds.numpy() @ song.frames.T  # (S, N)
    np.testing.assert_allclose(np.linalg.norm(song.frames, axis=1), 1, atol=1e-5)
    first = np.cumsum([0, *texts.output.sentence_counts.tolist()[:-1]])
    counts = texts.output.sentence_counts.numpy()
    expected = np.add.reduceat(cosines, first) / counts[:, None]
    np.testing.assert_allclose(retriever.frame_queries(texts) @ song.frames.T, expected, atol=1e-6)
    times = retriever.frame_times(len(song.frames), 1.5)
    assert times.shape == (len(song.frames), 2)
    assert (times[0, 0], times[-1, 1]) == (0, pytest.approx(1.5, abs=0.1))


def test_a_broken_checkpoint_is_refused():
    with pytest.raises(ValueError, match="all texts have nearly the same vector"):
        load_retriever("laion/larger_clap_music")
