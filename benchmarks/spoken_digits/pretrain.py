# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""
Pretrains a small Whisper encoder to predict the digits of short crops, vector by vector.

It stands in for the released Whisper where that cannot be had, and it is strong supervision on the very words of the
transcripts: metrics of it say how CoLLAP matches transcripts to tracks, not how well Whisper encodes speech. It is
trained on the training takes of the training speakers alone. These are few, so each crop is changed to sound like
another voice and another microphone: speed, scale of the frequencies, colour, noise, and gaps in time and frequency.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn
from tqdm.auto import tqdm
from transformers import WhisperConfig, WhisperModel

from collap import CollapFeatureExtractor

from ..towers import UNUSED_DECODER
from .tracks import SAMPLING_RATE, Recordings, Settings, Track, load_recordings, plan_track, render_track

VECTOR_S = 0.02  # seconds between two vectors of the encoder
CHUNK_LENGTH_S = 2.56  # attention over 128 vectors is cheap on a CPU
CHUNKS_PER_TRACK = 4
SPARE_S = 9.0  # of a planned track: a random start, and the silence that may fill its end
NO_DIGIT = 10  # a target beside the ten digits
HEADS = ("before", "now", "after")  # the digit that sounds, and its neighbours in the phrase ...
HEAD_WEIGHTS = (0.2, 1.0, 0.2)  # ... and what each counts in the loss
SPEED = (0.8, 1.25)
FREQUENCY_SCALE = (0.87, 1.15)  # formants of a longer and of a shorter vocal tract
COLOUR = 0.15  # of a log-mel feature, whose unit is 40 dB: 6 dB
NOISE = (1e-5, 5e-3)  # root mean square; that of speech is 0.05
LONGEST_TIME_GAP, WIDEST_FREQUENCY_GAP = 40, 12  # mel frames of 10 ms, mel bins of 80


class DigitClassifier(nn.Module):
    """A small Whisper encoder, and for each of its vectors the digit that sounds, the one before and the one after."""

    def __init__(self):
        super().__init__()
        hidden_size = 96
        self.whisper = WhisperModel(
            WhisperConfig(
                d_model=hidden_size,
                encoder_layers=2,
                encoder_attention_heads=3,
                encoder_ffn_dim=3 * hidden_size,
                init_std=0.1,  # 0.02 is for wide models: here it would let the positions drown the sound
                decoder_attention_heads=1,
                decoder_ffn_dim=32,
                max_source_positions=round(CHUNK_LENGTH_S / VECTOR_S),
                **UNUSED_DECODER,
            )
        )
        self.heads = nn.Linear(hidden_size, len(HEADS) * (NO_DIGIT + 1))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """`(batch, 80, frames)` -> logits `(batch, vectors, heads, 11)`."""
        vectors = self.whisper.encoder(features).last_hidden_state  # (batch, vectors, hidden)
        return self.heads(vectors).unflatten(-1, (len(HEADS), NO_DIGIT + 1))


def batches(
    voices: Sequence[Recordings], num_tracks: int, augment: bool, seed: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Endless batches of chunks of tracks: features `(num_tracks * 4, 80, 256)`, digits `(num_tracks * 4, 128, 3)`."""
    random = np.random.default_rng(seed)
    extractor = CollapFeatureExtractor(chunk_length_s=CHUNK_LENGTH_S, music=False)
    chunk = round(CHUNK_LENGTH_S * SAMPLING_RATE)
    size = CHUNKS_PER_TRACK * chunk
    length_s = size / SAMPLING_RATE * SPEED[1] + SPARE_S
    settings = Settings(min_s=length_s, max_s=length_s)
    while True:
        chunks, targets = [], []
        for _ in range(num_tracks):
            track = plan_track(voices[random.integers(len(voices))], settings, random)
            speed = np.exp(random.uniform(*np.log(SPEED))) if augment else 1.0
            start = random.integers(round(SPARE_S / 3 * SAMPLING_RATE))
            stop = start + round((size - 1) * speed) + 1
            waveform = torch.from_numpy(render_track(track)[start:stop])
            if augment:
                stretch = {"mode": "linear", "align_corners": True}
                waveform = nn.functional.interpolate(waveform[None, None], size, **stretch).flatten()
            waveform = waveform.numpy()
            if augment and random.integers(2):
                noise = np.exp(random.uniform(*np.log(NOISE)))
                waveform = waveform + noise * random.standard_normal(size, dtype=np.float32)
            chunks.extend(waveform.reshape(CHUNKS_PER_TRACK, chunk))
            centres = (np.arange(size // round(VECTOR_S * SAMPLING_RATE)) + 0.5) * VECTOR_S * SAMPLING_RATE
            digits = _digits_at(start + speed * centres, track)
            targets.append(digits.reshape(CHUNKS_PER_TRACK, -1, len(HEADS)))
        features = extractor(chunks, sampling_rate=SAMPLING_RATE, return_tensors="pt")["input_features"][:, 0]
        yield _change_voice(features, random) if augment else features, torch.from_numpy(np.concatenate(targets))


def _digits_at(times: np.ndarray, track: Track) -> np.ndarray:
    """The digits around each time (in samples), `(times, 3)`; a pause has neighbours but no digit of its own."""
    digits = np.full((len(times), len(HEADS)), NO_DIGIT)
    before, now, after = range(len(HEADS))
    for phrase in track.phrases:
        starts = np.searchsorted(times, [event.start for event in phrase])
        ends = np.searchsorted(times, [event.start + len(event.recording) for event in phrase])
        for place, event in enumerate(phrase):
            digits[starts[place] : ends[place], now] = event.digit
            if place > 0:
                digits[starts[place - 1] : starts[place], after] = event.digit
                digits[ends[place - 1] : ends[place], before] = phrase[place - 1].digit
    return digits


def _change_voice(features: torch.Tensor, random: np.random.Generator) -> torch.Tensor:
    """Scales the frequencies, colours and interrupts log-mel features `(batch, bins, frames)`."""
    num_chunks, num_bins, num_frames = features.shape
    # Whisper's mel bins are even below 1 kHz (bin 27 or so) and logarithmic above.
    mel = np.linspace(0, 45.245, num_bins + 2)[1:-1]
    hertz = np.where(mel < 15, mel * 200 / 3, 1000 * np.exp((mel - 15) * np.log(6.4) / 27))
    low, high = FREQUENCY_SCALE
    scales = np.exp(random.uniform(np.log(low), np.log(high), num_chunks))
    places = np.stack([np.interp(hertz * scale, hertz, np.arange(num_bins)) for scale in scales])  # (batch, bins)
    places = torch.from_numpy(places).float()
    lower = places.floor().long().clamp(max=num_bins - 2)
    share = (places - lower)[..., None]
    index = lower[..., None].expand_as(features)
    features = (1 - share) * features.gather(1, index) + share * features.gather(1, index + 1)
    knots = random.normal(0, COLOUR, (num_chunks, 6))
    colour = np.stack([np.interp(np.arange(num_bins), np.linspace(0, num_bins - 1, 6), knot) for knot in knots])
    features = features + torch.from_numpy(colour).float()[..., None]
    for chunk in features:
        for _ in range(2):
            width, height = random.integers(LONGEST_TIME_GAP), random.integers(WIDEST_FREQUENCY_GAP)
            start, bottom = random.integers(num_frames - width), random.integers(num_bins - height)
            chunk[:, start : start + width] = chunk.min()
            chunk[bottom : bottom + height] = chunk.mean()
    return features


@torch.inference_mode()
def accuracy(classifier: DigitClassifier, voices: Sequence[Recordings]) -> float:
    """Share of the vectors with a digit whose digit is predicted, on tracks as they are."""
    features, digits = next(batches(voices, num_tracks=32, augment=False, seed=1))
    now = HEADS.index("now")
    predicted, spoken = classifier.eval()(features)[:, :, now].argmax(-1), digits[..., now]
    return float((predicted == spoken)[spoken != NO_DIGIT].float().mean())


def pretrain(
    data_dir: Path,
    output_dir: Path,
    speakers: Sequence[str] = Settings.train_speakers,
    num_steps: int = 2000,
    seed: int = 0,
) -> DigitClassifier:
    """Trains an encoder on the training takes of some speakers and writes it to `output_dir` as a Whisper folder."""
    torch.manual_seed(seed)
    voices = [load_recordings(data_dir, speaker, "train") for speaker in speakers]
    classifier = DigitClassifier().train()
    optimizer = torch.optim.AdamW(classifier.parameters(), weight_decay=0.05, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, num_steps, pct_start=0.1, cycle_momentum=False)
    crops = batches(voices, num_tracks=4, augment=True, seed=seed)
    progress = tqdm(range(num_steps), desc="Pretraining Whisper", unit="step")
    for _ in progress:
        features, digits = next(crops)
        logits = classifier(features)
        losses = [
            nn.functional.cross_entropy(a.flatten(0, 1), b.flatten())
            for a, b in zip(logits.unbind(2), digits.unbind(2), strict=True)
        ]
        loss = sum(weight * value for weight, value in zip(HEAD_WEIGHTS, losses, strict=True))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(classifier.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        progress.set_postfix(loss=f"{loss.item():.2f}", refresh=False)
    voices = [load_recordings(data_dir, speaker, "validation") for speaker in speakers]
    percent = 100 * accuracy(classifier, voices)
    tqdm.write(f"Vectors of the held-out takes whose digit the encoder predicts: {percent:.0f} %")
    classifier.whisper.save_pretrained(output_dir)
    return classifier
