# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Real recordings as they lie on disk: music, speech and animals, mono and stereo, of seconds and of minutes."""

from pathlib import Path

import pytest
import soundfile
import torch
from tiny_models import tiny_beats_config, tiny_config, tiny_whisper_config
from tiny_tokenizer import tiny_tokenizer

from collap import CollapFeatureExtractor, CollapModel, CollapOutput, CollapProcessor
from collap.processing.feature_extraction_collap import CollapBatchFeature

TEXTS = ["A trumpet plays alone. Then an orchestra joins in.", "A woman reads a story.", "A bird sings."]
CHUNK_LENGTH_S = 30.0  # as a pretrained Whisper has it
FRAME_S = 0.16
LOST_PER_CHUNK_S = 0.08  # what fills no frame at the end of a full chunk


@pytest.fixture(scope="module")
def files(shared_data: Path) -> list[Path]:
    suffixes = {".ogg", ".wav", ".flac", ".mp3"}
    files = sorted(file for file in (shared_data / "recordings").iterdir() if file.suffix in suffixes)
    assert len(files) > 1
    return files


@pytest.fixture(scope="module")
def model() -> CollapModel:
    torch.manual_seed(0)
    config = tiny_config(
        music_config=tiny_beats_config(num_hidden_layers=1),
        speech_config=tiny_whisper_config(max_source_positions=1500),
        chunk_length_s=CHUNK_LENGTH_S,
        kernel_size=32,
        kernel_stride=32,
        text_granularity="sentence",
        temporal_position=True,
    )
    return CollapModel(config).eval()


@pytest.fixture(scope="module")
def processor() -> CollapProcessor:
    return CollapProcessor(CollapFeatureExtractor(), tiny_tokenizer(*TEXTS), text_granularity="sentence")


@pytest.fixture(scope="module")
def batch(processor: CollapProcessor, files: list[Path]) -> CollapBatchFeature:
    return processor(text=TEXTS, audio=files, return_tensors="pt")


@pytest.fixture(scope="module")
def together(model: CollapModel, batch: CollapBatchFeature) -> CollapOutput:
    with torch.no_grad():
        return model(**batch)


def test_the_coverage_says_what_was_encoded(files, batch):
    assert len(batch.audio_coverage) == len(files)
    for file, record in zip(files, batch.audio_coverage, strict=True):
        source = soundfile.info(file)
        assert (record.source_sampling_rate, record.source_channels) == (source.samplerate, source.channels)
        assert record.duration_s == pytest.approx(source.duration, abs=0.2)
        full_chunks = int(record.duration_s // CHUNK_LENGTH_S)
        lost = record.duration_s - record.encoded_s
        assert 0 <= lost < 0.2 + full_chunks * LOST_PER_CHUNK_S
        assert record.chunks in (full_chunks, full_chunks + 1)


def test_a_recording_alone_equals_itself_in_the_batch(model, processor, files, batch, together):
    for index, file in enumerate(files):
        inputs = processor(text=TEXTS, audio=file, return_tensors="pt")
        assert inputs.audio_coverage[0].encoded_s == batch.audio_coverage[index].encoded_s
        with torch.no_grad():
            alone = model(**inputs)
        audio = alone.audio_model_output
        num_frames = audio.last_hidden_state.shape[1]
        assert audio.frame_mask.all()
        assert num_frames == together.audio_model_output.frame_mask[index].sum()
        assert num_frames * FRAME_S == pytest.approx(inputs.audio_coverage[0].encoded_s)
        frames = together.audio_model_output.last_hidden_state[index]
        assert not frames[num_frames:].any()
        pairs = {name: (alone[name][0], together[name][index]) for name in ("audio_embeds", "logits_per_audio")}
        for name, (own, of_batch) in {**pairs, "frames": (audio.last_hidden_state[0], frames[:num_frames])}.items():
            difference = (own - of_batch).abs().max()
            assert difference <= 1e-5, f"{name} of {file.name} differs by {difference}"
    distances = torch.cdist(together.audio_embeds, together.audio_embeds) + torch.eye(len(files))
    assert distances.min() > 1e-3  # else the agreement would say nothing
