# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Songs of any length to the inputs of both audio encoders, in chunks."""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from transformers import BatchFeature, PreTrainedConfig, SequenceFeatureExtractor, WhisperFeatureExtractor
from transformers.utils import TensorType

from .audio_loading_collap import AudioLike, LoadedAudio, load_songs, stream_song
from .feature_extraction_beats import FRAME_LENGTH, HOP_LENGTH, MIN_SAMPLES, SAMPLING_RATE, kaldi_fbank

NUM_FBANK_BINS = 128  # mel bins of BEATs
FRAMES_PER_STEP = 16  # fbank frames in one BEATs time step, the shortest piece that has a vector
WHISPER_VECTOR_S = 0.02  # seconds between two vectors of Whisper: two of its mel frames
WHISPER_FFT_LENGTH = 400  # samples, 25 ms; also the length of a frame
WHISPER_DYNAMIC_RANGE = 8.0  # powers of ten below the loudest bin

# Seconds of chunks that are transformed in one call: short chunks go together, and an hour takes no more memory on the
# way than a minute.
GROUP_S = 10.0


@functools.lru_cache(maxsize=8)
def _whisper_mel_filters(num_mel_bins: int, device: torch.device) -> torch.Tensor:
    """Whisper's mel filters, `(num_mel_bins, 201 frequencies)`, from transformers' own extractor."""
    extractor = WhisperFeatureExtractor(feature_size=num_mel_bins, sampling_rate=SAMPLING_RATE)
    return torch.from_numpy(extractor.mel_filters.T).to(device, torch.float32)


@functools.lru_cache(maxsize=8)
def _whisper_window(device: torch.device) -> torch.Tensor:
    return torch.hann_window(WHISPER_FFT_LENGTH, device=device)


@torch.no_grad()
def whisper_log_mel(waveforms: torch.Tensor, num_mel_bins: int = 80) -> torch.Tensor:
    """
    The input of Whisper: log-mel spectrograms, each clamped to 80 dB below its loudest bin.

    Waveforms `(batch, samples)` at 16 kHz, in [-1, 1], of at least 201 samples, to `(batch, num_mel_bins, frames)` on
    the same device, 100 frames a second. Equal to the last bit to `WhisperFeatureExtractor` of transformers, in two
    thirds of its time for short clips.
    """
    spectrum = torch.stft(
        waveforms.float(),
        WHISPER_FFT_LENGTH,
        HOP_LENGTH,
        window=_whisper_window(waveforms.device),
        return_complex=True,
    )[..., :-1]  # (batch, 201, frames): the last frame begins at the end
    # A sum of squares without the root would be faster, but not equal to the last bit.
    return whisper_log_mel_of_power(spectrum.abs().square_().contiguous(), num_mel_bins)


def whisper_log_mel_of_power(power: torch.Tensor, num_mel_bins: int) -> torch.Tensor:
    """The last steps of [`whisper_log_mel`], from the power `(batch, 201, frames)` of the Fourier transform."""
    mel = torch.matmul(_whisper_mel_filters(num_mel_bins, power.device), power)  # (batch, num_mel_bins, frames)
    log_mel = mel.clamp_(min=1e-10).log10_()
    loudest = log_mel.amax(dim=(1, 2), keepdim=True)  # of each clip
    return torch.maximum(log_mel, loudest - WHISPER_DYNAMIC_RANGE).add_(4.0).div_(4.0)


@dataclass(frozen=True)
class AudioCoverage:
    """
    How much of a song is in the tensors.

    Args:
        duration_s (`float`): Length of the audio.
        encoded_s (`float`):
            Seconds that have frames. Shorter than `duration_s` by what `truncation=True` cut, and by rounding: a rest
            of less than 0.175 s after the last full chunk, and an incomplete step of 0.16 s at the end of a chunk
            (0.08 s of 30 s, as in the original encoder).
        chunks (`int`): Chunks of `chunk_length_s` of the song; the last one may be padded.
        source_sampling_rate (`int`): Hz of the source. If it is not 16,000, the audio was resampled.
        source_channels (`int`): Channels of the source. If there are several, they were averaged.
        is_truncated (`bool`): Whether `truncation=True` cut the song; rounding is no truncation.
        problem (`str`, *optional*): Why a file is not whole: it is damaged, or ends earlier than its head says.
    """

    duration_s: float
    encoded_s: float
    chunks: int
    source_sampling_rate: int
    source_channels: int
    is_truncated: bool
    problem: str | None = None


@dataclass(frozen=True)
class TextCoverage:
    """
    How much of a text is in the tensors.

    Args:
        sentences (`tuple[str, ...]`):
            What the rows of `input_ids` were made of: the sentences of the text, or the whole text as one if
            `text_granularity="document"`.
        num_tokens (`int`): Tokens of the whole text, with the special tokens of each sentence.
        num_encoded_tokens (`int`): Tokens of the text in `input_ids`; fewer only with `truncation=True`.
    """

    sentences: tuple[str, ...]
    num_tokens: int
    num_encoded_tokens: int


class CollapBatchFeature(BatchFeature):
    """
    A `BatchFeature` whose keys are all arguments of [`CollapModel`], so that `model(**batch)` runs as it is.

    Args:
        data (`dict`): Inputs of the model.
        tensor_type (`str` or `TensorType`, *optional*): `"pt"` or `"np"`.
        audio_coverage (`list[AudioCoverage]`, *optional*): One record a song; an attribute, not a key.
        text_coverage (`list[TextCoverage]`, *optional*): One record a text; an attribute, not a key.
    """

    def __init__(
        self,
        data: dict[str, Any] | None = None,
        tensor_type: str | TensorType | None = None,
        audio_coverage: Sequence[AudioCoverage] = (),
        text_coverage: Sequence[TextCoverage] = (),
    ):
        super().__init__(data, tensor_type=tensor_type)
        self.audio_coverage = list(audio_coverage)
        self.text_coverage = list(text_coverage)

    # The base class pickles only its data, so that workers of a data loader would lose the coverage.
    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)


def settings_of_model(config: PreTrainedConfig) -> dict[str, Any]:
    """The arguments of the [`CollapFeatureExtractor`] that fits a [`CollapConfig`]."""
    settings = {
        "chunk_length_s": config.chunk_length_s,
        "music": config.music_config is not None,
        "speech": config.speech_config is not None,
    }
    if settings["music"]:
        settings["feature_size"] = config.music_config.num_mel_bins
    if settings["speech"]:
        settings["num_speech_mel_bins"] = config.speech_config.num_mel_bins
    return settings


class CollapFeatureExtractor(SequenceFeatureExtractor):
    r"""
    Songs of any length to the inputs of BEATs and Whisper.

    A song is cut into chunks of `chunk_length_s`, as many as it needs. Both encoders' features of a chunk are computed
    from the samples of that chunk alone, so they equal those of the same piece of audio given by itself, and those of
    a song are the same alone and in any batch. Nothing is cut off without `max_length_s`.

    Args:
        feature_size (`int`): Mel bins of the filter bank; BEATs has 128.
        sampling_rate (`int`): Hz; both encoders need 16000.
        padding_value (`float`): What fills `fbank_features` where there is no audio. The model does not use it.
        chunk_length_s (`float`): Seconds of a chunk, a multiple of 0.02. The same as in the model's configuration.
        num_speech_mel_bins (`int`): Mel bins of Whisper: 80, or 128 from large-v3 on.
        max_length_s (`float`, *optional*):
            Longest song in seconds. A longer one is an error, or with `truncation=True` only its beginning is encoded.
        music (`bool`): Whether to make `fbank_features`, the input of BEATs.
        speech (`bool`): Whether to make `input_features`, the input of Whisper.

    Raises:
        ValueError: if a number is out of its range, or `music` and `speech` are both False.

    Example:

    ```python
    >>> import numpy as np
    >>> from collap import CollapFeatureExtractor

    >>> feature_extractor = CollapFeatureExtractor(chunk_length_s=5.0)
    >>> songs = [np.zeros(16000 * 12), np.zeros(16000 * 3)]  # 12 s and 3 s
    >>> inputs = feature_extractor(songs, sampling_rate=16000, return_tensors="pt")
    >>> inputs["fbank_features"].shape, inputs["input_features"].shape
    (torch.Size([2, 3, 498, 128]), torch.Size([2, 3, 80, 500]))
    >>> inputs["audio_attention_mask"].sum(-1)  # real frames of 10 ms in each chunk
    tensor([[498, 498, 198],
            [298,   0,   0]])
    >>> [record.chunks for record in inputs.audio_coverage]
    [3, 1]

    ```
    """

    def __init__(
        self,
        feature_size: int = NUM_FBANK_BINS,
        sampling_rate: int = SAMPLING_RATE,
        padding_value: float = 0.0,
        chunk_length_s: float = 30.0,
        num_speech_mel_bins: int = 80,
        max_length_s: float | None = None,
        music: bool = True,
        speech: bool = True,
        **kwargs: object,
    ):
        super().__init__(feature_size=feature_size, sampling_rate=sampling_rate, padding_value=padding_value, **kwargs)
        self.chunk_length_s = chunk_length_s
        self.num_speech_mel_bins = num_speech_mel_bins
        self.max_length_s = max_length_s
        self.music = music
        self.speech = speech
        self._validate()

    def _validate(self) -> None:
        if self.feature_size != NUM_FBANK_BINS:
            raise ValueError(f"feature_size must be {NUM_FBANK_BINS}, the mel bins of BEATs, got {self.feature_size}.")
        if self.sampling_rate != SAMPLING_RATE:
            raise ValueError(f"sampling_rate must be {SAMPLING_RATE} (Hz), got {self.sampling_rate}.")
        num_vectors = self.chunk_length_s / WHISPER_VECTOR_S
        if abs(num_vectors - round(num_vectors)) > 1e-6:
            raise ValueError(f"chunk_length_s must be a multiple of {WHISPER_VECTOR_S} s, got {self.chunk_length_s}.")
        if self.num_chunk_samples < MIN_SAMPLES:
            raise ValueError(f"chunk_length_s must be at least 0.18 s, got {self.chunk_length_s}.")
        if self.num_speech_mel_bins < 1:
            raise ValueError(f"num_speech_mel_bins must be at least 1, got {self.num_speech_mel_bins}.")
        if self.max_length_s is not None and self.max_length_s * SAMPLING_RATE < MIN_SAMPLES:
            raise ValueError(f"max_length_s must be at least 0.175 s or None, got {self.max_length_s}.")
        if not (self.music or self.speech):
            raise ValueError("music and speech are both False: expected at least one of them.")

    @property
    def model_input_names(self) -> list[str]:
        """Keys of the result of a call; without `music` or `speech` one less."""
        features = [("fbank_features", self.music), ("input_features", self.speech), ("audio_attention_mask", True)]
        return [name for name, is_made in features if is_made]

    @property
    def num_chunk_samples(self) -> int:
        """Samples of a chunk: 480,000 for 30 s."""
        return round(self.chunk_length_s * SAMPLING_RATE)

    @property
    def num_chunk_mel_frames(self) -> int:
        """Mel frames *M* of a chunk for Whisper: 3,000 for 30 s."""
        return self.num_chunk_samples // HOP_LENGTH

    @property
    def num_chunk_fbank_frames(self) -> int:
        """Filter bank frames *F* of a full chunk for BEATs: 2,998 for 30 s."""
        return _num_fbank_frames(self.num_chunk_samples)

    def __call__(
        self,
        audio: AudioLike | Sequence[AudioLike],
        sampling_rate: int | None = None,
        downmix: bool = False,
        truncation: bool = False,
        return_tensors: str | TensorType | None = None,
        device: str | torch.device | None = None,
        resample: bool = False,
        padding: bool | str = True,
    ) -> CollapBatchFeature:
        """
        Args:
            audio:
                A song or a list of songs, in any mixture of
                - a path (`str` or `Path`) of a file that FFmpeg can decode (wav, flac, ogg, mp3, m4a, ...; of a video
                  the sound track). Its channels are averaged and it is resampled to 16 kHz; the coverage has the rate
                  and channels of the source, and why it is not whole, if it is not.
                - a numpy array, torch tensor or list of floats in [-1, 1], of shape `(samples,)`. Of shape `(channels,
                  samples)` or `(samples, channels)`, with at most 8 channels, it needs `downmix=True`; at another rate
                  than 16 kHz, `resample=True`. Several songs are a list of arrays, never one array.
                - an audio dict of `datasets`: `{"array", "sampling_rate"}`, treated as an array; `{"bytes"}` or
                  `{"path"}`, treated as a file (what `Audio(decode=False)` gives); or its audio decoder, which is
                  always averaged.
            sampling_rate (`int`, *optional*): Hz of the arrays. Files and audio dicts need none.
            downmix (`bool`): Whether the channels of arrays may be averaged.
            truncation (`bool`): Whether songs longer than `max_length_s` are cut instead of refused.
            return_tensors (`str`, *optional*): `"pt"`, or `"np"`, which is also what comes without it.
            device (`str` or `torch.device`, *optional*):
                Where to compute, for instance `"cuda"`; by default where each waveform lies. The result is on the CPU.
            resample (`bool`): Whether arrays may be resampled, by soxr, as files are.
            padding (`bool` or `str`): `True` or `"longest"`, for callers that always give it.

        Returns:
            [`CollapBatchFeature`] with, for *B* songs of at most *C* chunks,
            - `fbank_features` `(B, C, F, 128)` float32: Kaldi's filter bank for BEATs,
            - `input_features` `(B, C, num_speech_mel_bins, M)` float32: log-mel spectrogram for Whisper, of which the
              last chunk is padded with silence,
            - `audio_attention_mask` `(B, C, F)` int64: 1 for the frames of 10 ms that lie in the audio, which come
              first in a chunk. A chunk of zeros pads the batch.
            Its attribute `audio_coverage` has an [`AudioCoverage`] for each song.

        Raises:
            ImportError: if PyAV or soxr is needed and missing.
            TypeError: if an entry of `audio` is of another type.
            ValueError: for an array without sampling rate, or at another than 16 kHz without `resample`; several
                channels without `downmix`; another `padding`; a shape that is no waveform; audio that is empty,
                shorter than 2,800 samples (175 ms), not finite, or integer PCM; a file that is missing or cannot be
                decoded; audio longer than `max_length_s` without `truncation`. The message names the song, as in
                `audio[3]`.
        """
        if padding not in (True, "longest"):
            raise ValueError(
                f"padding must be True or 'longest', got {padding!r}: songs are always padded to the most chunks of "
                "the batch."
            )
        songs = self.load(audio, truncation, sampling_rate=sampling_rate, downmix=downmix, resample=resample)
        features = self._features([song.waveform for song in songs], device)
        num_frames = features["audio_attention_mask"].sum(-1).tolist()  # of each chunk, (B, C)
        coverage = [self._coverage(*song) for song in zip(songs, num_frames, strict=True)]
        return CollapBatchFeature(features, return_tensors, coverage)

    def stream(self, audio: AudioLike, chunks_per_part: int, truncation: bool = False) -> Iterator[CollapBatchFeature]:
        """
        The features of one file as a call gives them, `chunks_per_part` chunks at a time and a last part of less: the
        memory does not grow with the length of the song.

        The last part has the `audio_coverage` of the whole song, those before it have none. Arguments and errors are
        as in a call; what is known only at the end of the file is raised instead of the last part.
        """
        part, num_frames, block_size = None, [], chunks_per_part * self.num_chunk_samples
        for song in stream_song(audio, "audio", max_length_s=self.max_length_s, block_size=block_size):
            if self._num_chunks(len(song.waveform)) == 0:
                continue
            if part is not None:  # only now it is known not to be the last one
                yield part
            part = CollapBatchFeature(self._features([song.waveform]), "pt")
            num_frames += part["audio_attention_mask"][0].sum(-1).tolist()
        self._limit_length(song, truncation)
        part.audio_coverage = [self._coverage(song, num_frames)]
        yield part

    def _features(self, songs: list[torch.Tensor], device: str | torch.device | None = None) -> dict[str, np.ndarray]:
        """What a call returns of waveforms."""
        # The arrays of the batch are allocated once and filled some chunks at a time. The system gives no memory to
        # zeros that nobody writes, so one long song does not make the others take as much as itself.
        shape = (len(songs), max(self._num_chunks(len(song)) for song in songs))
        num_fbank_frames, num_mel_frames = self.num_chunk_fbank_frames, self.num_chunk_mel_frames
        features = {}
        if self.music:
            fbank_shape = (*shape, num_fbank_frames, NUM_FBANK_BINS)
            features["fbank_features"] = np.zeros(fbank_shape, np.float32)
            if self.padding_value != 0:
                features["fbank_features"] += self.padding_value
        if self.speech:
            features["input_features"] = np.zeros((*shape, self.num_speech_mel_bins, num_mel_frames), np.float32)
        mask = np.zeros((*shape, num_fbank_frames), np.int64)

        for index, song in enumerate(songs):
            chunk = 0
            for waveforms in self._cut(song):  # (chunks, samples)
                waveforms = waveforms.to(device)
                part = index, slice(chunk, chunk + len(waveforms))
                num_frames = _num_fbank_frames(waveforms.shape[-1])
                mask[*part, :num_frames] = 1
                if self.music:
                    features["fbank_features"][*part, :num_frames] = kaldi_fbank(waveforms).cpu().numpy()
                if self.speech:
                    missing = self.num_chunk_samples - waveforms.shape[-1]
                    if missing:  # a last chunk ends in silence; the others are not copied
                        waveforms = torch.nn.functional.pad(waveforms, (0, missing))
                    log_mel = whisper_log_mel(waveforms, self.num_speech_mel_bins)
                    features["input_features"][part] = log_mel.cpu().numpy()
                chunk += len(waveforms)
        return {**features, "audio_attention_mask": mask}

    def _coverage(self, song: LoadedAudio, num_frames: list[int]) -> AudioCoverage:
        """Of a song that has so many real frames of 10 ms in each chunk."""
        num_steps = sum(frames // FRAMES_PER_STEP for frames in num_frames)
        return AudioCoverage(
            duration_s=song.duration_s,
            encoded_s=num_steps * FRAMES_PER_STEP * HOP_LENGTH / SAMPLING_RATE,
            chunks=sum(frames > 0 for frames in num_frames),
            source_sampling_rate=song.source_sampling_rate,
            source_channels=song.source_channels,
            is_truncated=self._is_too_long(song),
            problem=song.problem,
        )

    def load(
        self, audio: AudioLike | Sequence[AudioLike], truncation: bool = False, **array_options: Any
    ) -> list[LoadedAudio]:
        """The waveforms that a call would make features of; arguments and errors as in a call."""
        songs = load_songs(audio, max_length_s=self.max_length_s, **array_options)
        return [self._limit_length(song, truncation) for song in songs]

    def check_model(self, config: PreTrainedConfig, *more: str) -> None:
        """Raises a ValueError that names all differences from the [`CollapConfig`] of a model, and `more` of them."""
        pairs = [(name, getattr(self, name), needed) for name, needed in settings_of_model(config).items()]
        differences = [f"{name} is {own}, the model needs {needed}" for name, own, needed in pairs if own != needed]
        if differences or more:
            raise ValueError(
                f"The processor does not fit the model: {'; '.join([*differences, *more])}. "
                "CollapProcessor.for_model(config, tokenizer) makes one that fits."
            )

    def _is_too_long(self, song: LoadedAudio) -> bool:
        return self.max_length_s is not None and song.duration_s > self.max_length_s + 0.5 / SAMPLING_RATE

    def _limit_length(self, song: LoadedAudio, truncation: bool) -> LoadedAudio:
        if not self._is_too_long(song):
            return song
        if not truncation:
            raise ValueError(
                f"{song.name} must be no longer than max_length_s={self.max_length_s:g}, got {song.duration_s:g} s: "
                "pass truncation=True to encode only its beginning."
            )
        return replace(song, waveform=song.waveform[: round(self.max_length_s * SAMPLING_RATE)])

    def _num_chunks(self, num_samples: int) -> int:
        full_chunks, rest = divmod(num_samples, self.num_chunk_samples)
        # A rest without a single vector would be a chunk of padding.
        return full_chunks + (rest >= MIN_SAMPLES)

    def _cut(self, waveform: torch.Tensor) -> Iterator[torch.Tensor]:
        """The chunks of a song, `(chunks, samples)`, some at a time: all full ones, then the rest."""
        length = self.num_chunk_samples
        full_chunks, rest = divmod(len(waveform), length)
        full = waveform[: full_chunks * length].view(full_chunks, length)
        yield from full.split(max(1, int(GROUP_S / self.chunk_length_s))) if full_chunks else ()
        if rest >= MIN_SAMPLES:
            yield waveform[None, -rest:]


def _num_fbank_frames(num_samples: int) -> int:
    """Frames of 25 ms every 10 ms that lie wholly in so many samples."""
    return max(0, 1 + (num_samples - FRAME_LENGTH) // HOP_LENGTH)
