# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""CoLLAP (Contrastive Long-form Language-Audio Pretraining, arXiv 2410.02271) in PyTorch."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, WhisperModel
from transformers import initialization as init
from transformers.processing_utils import Unpack
from transformers.utils import TransformersKwargs, can_return_tuple, logging

from .configuration_collap import MAX_LOGIT_SCALE, CollapConfig
from .loss_collap import contrastive_loss
from .modeling_beats import BeatsModel
from .modeling_collap_audio import CollapAudioModel, frame_times
from .modeling_collap_base import CollapPreTrainedModel, fingerprint, load_complete, with_output_flags
from .modeling_collap_text import CollapTextModel, text_encoder_class, without_pooler
from .outputs_collap import CollapAttentions, CollapAudioOutput, CollapOutput, CollapTextOutput
from .scoring_collap import attend_frames, count_segments, mean_over_sentences, score_sentences, time_features
from .sentence_transformers_collap import find_text_pooling

logger = logging.get_logger(__name__)

HUB_OPTIONS = ("cache_dir", "force_download", "local_files_only", "token")


class CollapLogitScale(nn.Module):
    """
    The learned factor of the scores, the inverse of the temperature; at most 100.

    A module, so that PEFT can train and save it; its weight has one dimension, so that FSDP can shard it. It stays in
    float32 where the model is loaded in half precision, in which small steps would not change it.
    """

    def __init__(self, initial_value: float):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([float(initial_value)]))  # the factor's logarithm

    def forward(self) -> torch.Tensor:
        """The factor, a scalar in float32."""
        return limited_factor(self.weight[0])


def limited_factor(logarithm: torch.Tensor) -> torch.Tensor:
    """
    The factor in float32, at most 100, of its logarithm.

    It is clamped in value only: a weight beyond the limit still gets its gradient, so that it can come back.
    """
    logarithm = logarithm.float()
    return (logarithm + (logarithm.clamp(max=MAX_LOGIT_SCALE) - logarithm).detach()).exp()


class CollapModel(CollapPreTrainedModel):
    r"""
    CoLLAP scores whole songs against long descriptions.

    Example:

    ```python
    >>> import torch
    >>> from collap import CollapConfig, CollapModel

    >>> tiny_beats = {"embed_dim": 8, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    >>> tiny_text = {"model_type": "roberta", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    >>> config = CollapConfig(music_config=tiny_beats, speech_config=None, text_config=tiny_text, chunk_length_s=1.0)
    >>> model = CollapModel(config).eval()

    >>> mask = torch.ones(2, 3, 98, dtype=torch.long)  # two songs of three chunks
    >>> audio = model.get_audio_features(fbank_features=torch.randn(2, 3, 98, 128), audio_attention_mask=mask)
    >>> audio.last_hidden_state.shape  # 3 chunks x 6 frames of 0.16 s
    torch.Size([2, 18, 512])

    ```
    """

    main_input_name = "input_ids"
    _keep_in_fp32_modules_strict = {"logit_scale"}  # noqa: RUF012

    def __init__(self, config: CollapConfig):
        super().__init__(config)
        self.audio_model = CollapAudioModel(config)
        self.text_model = CollapTextModel(config)
        self.logit_scale = CollapLogitScale(config.logit_scale_init_value)
        self.post_init()
        for half in (CollapAudioModel, CollapTextModel):  # what a half leaves out is no surprise there, but here
            self._keys_to_ignore_on_load_unexpected.difference_update(half._keys_to_ignore_on_load_unexpected)

    @classmethod
    def from_music_speech_text_pretrained(
        cls,
        music_model_name_or_path: str | None,
        speech_model_name_or_path: str | None,
        text_model_name_or_path: str,
        dtype: torch.dtype | str | None = None,
        **kwargs: Any,
    ) -> "CollapModel":
        r"""
        Builds a CoLLAP from pretrained towers; adapter, projection and temperature are new and need training.

        Args:
            music_model_name_or_path (`str` or `None`):
                Folder or Hub name of a [`BeatsModel`] (see `collap convert-beats`); `None` leaves music out.
            speech_model_name_or_path (`str` or `None`):
                Folder or Hub name of any Whisper model, whose encoder is taken; `None` leaves speech out.
            text_model_name_or_path (`str`):
                Folder or Hub name of a text model; of an encoder-decoder, such as T5, the encoder is taken. The
                default of `text_pooling` is the pooling of its `modules.json` if it is of sentence-transformers.
            dtype (`torch.dtype` or `str`, *optional*): Precision of the weights; by default float32.
            kwargs: Further fields of [`CollapConfig`]; and `cache_dir`, `force_download`, `local_files_only` and
                `token` as in `from_pretrained`, for all towers.

        Returns:
            [`CollapModel`] in evaluation mode.

        Raises:
            TypeError: if an argument is none of these.
            ValueError: if a weight of a tower is not in its checkpoint, or the text model has an unsupported pooling.
        """
        hub = {name: kwargs.pop(name) for name in HUB_OPTIONS if name in kwargs}
        fields = {field.name for field in dataclasses.fields(cls.config_class)} - {"dtype"}
        if unknown := sorted(set(kwargs) - fields):
            raise TypeError(
                f"{unknown[0]} is no field of CollapConfig, and not one of dtype, {', '.join(HUB_OPTIONS)}. (A tower "
                "at a revision is the folder that huggingface_hub.snapshot_download(name, revision=...) returns.)"
            )
        music = speech = None
        if music_model_name_or_path is not None:
            music = load_complete(BeatsModel, music_model_name_or_path, dtype=torch.float32, **hub)
        if speech_model_name_or_path is not None:
            # Not WhisperEncoder.from_pretrained: it finds none of its weights in a Whisper repository and starts from
            # random ones.
            whisper = load_complete(
                WhisperModel, speech_model_name_or_path, needed="encoder.", dtype=torch.float32, **hub
            )
            speech = whisper.encoder
            kwargs.setdefault("chunk_length_s", speech.config.max_source_positions / 50)
        kwargs["text_pooling"] = find_text_pooling(text_model_name_or_path, kwargs.get("text_pooling"), hub)
        text_config = AutoConfig.from_pretrained(text_model_name_or_path, **hub)
        text = load_complete(
            text_encoder_class(text_config),
            text_model_name_or_path,
            dtype=torch.float32,
            **without_pooler(text_config),
            **hub,
        )
        config = cls.config_class(
            music_config=None if music is None else music.config,
            speech_config=None if speech is None else speech.config,
            text_config=text.config,
            **kwargs,
        )
        model = cls(config)
        if music is not None:
            model.audio_model.music_model.load_state_dict(music.state_dict())
        if speech is not None:
            model.audio_model.speech_model.load_state_dict(speech.state_dict())
        model.text_model.encoder.load_state_dict(text.state_dict())
        if dtype is not None:
            model.to(getattr(torch, dtype) if isinstance(dtype, str) else dtype)
            model.logit_scale.float()
        logger.warning(
            "The adapter, the text projection and the logit scale of this CollapModel are new: it must be trained "
            "before it is used."
        )
        return model.eval()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, CollapLogitScale):
            init.constant_(module.weight, self.config.logit_scale_init_value)

    def get_input_embeddings(self) -> nn.Module:
        return self.text_model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.text_model.set_input_embeddings(value)

    @can_return_tuple
    def get_audio_features(
        self,
        fbank_features: torch.Tensor | None = None,
        input_features: torch.Tensor | None = None,
        audio_attention_mask: torch.Tensor | None = None,
        encoder_frames: torch.Tensor | None = None,
        frame_mask: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> CollapAudioOutput:
        """Frames and text-free vectors of songs; arguments and errors as in [`CollapAudioModel`]'s `forward`."""
        songs = (fbank_features, input_features, audio_attention_mask, encoder_frames, frame_mask)
        return self.audio_model(*songs, **kwargs)

    @can_return_tuple
    def get_text_features(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        token_type_ids: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        sentence_counts: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> CollapTextOutput:
        """Queries and vectors of texts; arguments and errors as in [`CollapTextModel`]'s `forward`."""
        texts = (input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds, sentence_counts)
        return self.text_model(*texts, **kwargs)

    def similarity(
        self,
        audio: CollapAudioOutput | Sequence[CollapAudioOutput],
        text: CollapTextOutput,
        use_time: bool = True,
        section_query: bool = False,
    ) -> torch.Tensor:
        r"""
        Fused scores of songs and texts without the learned factor; arguments as in [`~CollapModel.score`].

        It uses no weight of the model, so it can be called outside `forward` where weights are sharded.

        Returns:
            `torch.Tensor` of shape `(batch_size, num_texts)` in float32, between minus and plus
            `kernel_weight + temporal_weight`.

        Raises:
            ValueError: if songs or texts were encoded by other weights than those of this model.
        """
        batches = [audio] if isinstance(audio, CollapAudioOutput) else audio
        self._check_origin(batches, text)
        return torch.cat([self._similarity(songs, text, use_time, section_query) for songs in batches])

    def _similarity(
        self, audio: CollapAudioOutput, text: CollapTextOutput, use_time: bool, section_query: bool
    ) -> torch.Tensor:
        frames, mask = audio.last_hidden_state, audio.frame_mask
        if section_query and self.config.text_granularity == "sentence":
            # The mean over the whole song does not describe one section: only the temporal alignment counts.
            together = mean_over_sentences(text.query_embeds.float().T, text.sentence_counts).T  # (T, d)
            queries = nn.functional.normalize(together, dim=-1)
            return score_sentences(frames, mask, queries, self.config, temporal_only=True)
        time_terms = self._time_terms(audio, text, use_time)
        scores = score_sentences(frames, mask, text.query_embeds, self.config, *time_terms)  # (B, S)
        return mean_over_sentences(scores, text.sentence_counts.to(scores.device))

    def score(
        self,
        audio: CollapAudioOutput | Sequence[CollapAudioOutput],
        text: CollapTextOutput,
        use_time: bool = True,
        section_query: bool = False,
    ) -> torch.Tensor:
        r"""
        Scores songs against texts from the outputs of `get_audio_features` and `get_text_features`.

        At most `config.score_block_size` pairs of frame and sentence are held at a time.

        Args:
            audio ([`CollapAudioOutput`] or a list of them):
                Its `last_hidden_state` and `frame_mask` are used. Songs that were encoded one at a time are given as a
                list; nothing is padded then.
            text ([`CollapTextOutput`]): Its queries, time queries and `sentence_counts` are used.
            use_time (`bool`): Whether the time queries count, if the model has any. `False` is for texts whose
                sentences do not follow the order of the song.
            section_query (`bool`): Whether each text describes one section, in one sentence or several, instead of the
                whole song (ours). The mean of its sentence vectors is then the query of the temporal attention, and
                time does not count. Models are trained for it by `section_loss_weight` (`collap.training.arguments`).
                It changes nothing for documents, which have one vector.

        Returns:
            `torch.Tensor` of shape `(batch_size, num_texts)` in float32: `logits_per_audio`.
        """
        similarity = self.similarity(audio, text, use_time, section_query)
        return self.logit_scale().to(similarity.device) * similarity

    def attend(self, audio: CollapAudioOutput, text: CollapTextOutput, use_time: bool = True) -> CollapAttentions:
        r"""
        The attentions of each sentence over each song; arguments as in [`~CollapModel.score`].

        Not in blocks: several tensors of `(batch_size, num_sentences, num_frames)` numbers are held.
        """
        self._check_origin([audio], text)
        frame_time_features, time_query_embeds = self._time_terms(audio, text, use_time)
        with torch.autocast(device_type=audio.last_hidden_state.device.type, enabled=False):
            frames = audio.last_hidden_state.float()
            queries = text.query_embeds.to(frames)
            return attend_frames(
                frames,
                audio.frame_mask,
                queries,
                self.config,
                frame_time_features,
                None if time_query_embeds is None else time_query_embeds.to(frames),
            )

    def _check_origin(self, songs: Sequence[CollapAudioOutput], text: CollapTextOutput) -> None:
        for name, outputs, encoder in (("songs", songs, self.audio_model), ("texts", [text], self.text_model)):
            stamps = [output.model_fingerprint for output in outputs if output.model_fingerprint is not None]
            own = fingerprint(encoder, 1) if stamps else None
            if own is not None and any((stamp.cpu() != own).any() for stamp in stamps):
                raise ValueError(
                    f"The {name} were encoded by other weights than those of this model, so their vectors cannot be "
                    "compared: encode them again by this model."
                )

    def frame_times(self, num_frames: int, duration_s: float) -> torch.Tensor:
        """Start and end in seconds of the frames of a song of `duration_s` seconds, of shape `(num_frames, 2)`."""
        return frame_times(self.config, num_frames).clamp(max=duration_s)

    def segment_times(self, num_frames: int, duration_s: float) -> torch.Tensor:
        """Start and end in seconds of the segments of the same song, of shape `(num_segments, 2)`."""
        size, stride = self.config.kernel_size, self.config.kernel_stride
        first = torch.arange(count_segments(num_frames, size, stride)) * stride
        last = (first + size).clamp(max=num_frames) - 1
        frames = self.frame_times(num_frames, duration_s)
        return torch.stack((frames[first, 0], frames[last, 1]), dim=-1)

    def _time_terms(
        self, audio: CollapAudioOutput, text: CollapTextOutput, use_time: bool
    ) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """Time features of the frames `(B, N, P)` and time queries of the sentences `(S, P)`, or None and None."""
        if not use_time or text.time_query_embeds is None:
            return None, None
        mask = audio.frame_mask
        times = frame_times(self.config, mask.shape[1], mask.device)  # (N, 2)
        duration = times[mask.sum(-1) - 1, 1]  # (B,), end of the last real frame
        relative = times.mean(-1) / duration[:, None]  # (B, N), centre of the frame
        return time_features(relative, self.config.num_time_features), text.time_query_embeds

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        token_type_ids: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        sentence_counts: torch.Tensor | None = None,
        fbank_features: torch.Tensor | None = None,
        input_features: torch.Tensor | None = None,
        audio_attention_mask: torch.Tensor | None = None,
        encoder_frames: torch.Tensor | None = None,
        frame_mask: torch.Tensor | None = None,
        song_ids: torch.Tensor | None = None,
        text_ids: torch.Tensor | None = None,
        return_loss: bool | None = None,
        return_logits: bool = True,
        use_time: bool = True,
        output_attentions: bool | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> CollapOutput:
        r"""
        Args:
            input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds, sentence_counts:
                The texts, as in [`CollapTextModel`]'s `forward`.
            fbank_features, input_features, audio_attention_mask, encoder_frames, frame_mask:
                The songs, as in [`CollapAudioModel`]'s `forward`.
            song_ids, text_ids (`torch.Tensor` of shape `(batch_size,)`, *optional*):
                Whole numbers, equal for equal songs (texts), which are then no negatives of each other
                ([`contrastive_loss`]).
            return_loss (`bool`, *optional*): Whether to compute the loss; song *i* then belongs to text *i*.
            return_logits (`bool`): Whether to score the songs against the texts. `False` gives embeddings only, for a
                loss that is computed elsewhere.
            use_time (`bool`): As in [`~CollapModel.score`].
            output_attentions (`bool`, *optional*):
                Whether to return the kernel-wise and the temporal attention (and the towers' own, where they can).

        Returns:
            [`CollapOutput`]

        Raises:
            ValueError: if songs or texts are missing; if `return_loss=True` and songs and texts differ in number, or
                `return_logits=False`; as the two feature methods.
        """
        if return_loss and not return_logits:
            raise ValueError("return_loss=True needs the scores; got return_logits=False.")
        kwargs = with_output_flags(self.config, {**kwargs, "output_attentions": output_attentions})
        songs = (fbank_features, input_features, audio_attention_mask, encoder_frames, frame_mask)
        texts = (input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds, sentence_counts)
        if all(value is None for value in songs):
            raise ValueError("Songs are missing. For texts alone use get_text_features or AutoModelForTextEncoding.")
        if all(value is None for value in texts):
            raise ValueError("Texts are missing. For songs alone use get_audio_features or AutoModelForAudioXVector.")
        audio = self.get_audio_features(*songs, return_dict=True, **kwargs)
        text = self.get_text_features(*texts, return_dict=True, **kwargs)
        logit_scale = self.logit_scale()
        logits_per_audio = None
        if return_logits:
            similarity = self._similarity(audio, text, use_time, section_query=False)
            logits_per_audio = logit_scale.to(similarity.device) * similarity  # (B, T)
            if not use_time and text.time_query_embeds is not None:
                # DDP waits for a gradient of every weight that the forward pass used.
                logits_per_audio = logits_per_audio + 0 * text.time_query_embeds.sum().to(similarity.device)
        attentions = self.attend(audio, text, use_time=use_time) if kwargs["output_attentions"] else CollapAttentions()
        return CollapOutput(
            loss=contrastive_loss(logits_per_audio, song_ids, text_ids) if return_loss else None,
            logits_per_audio=logits_per_audio,
            logits_per_text=None if logits_per_audio is None else logits_per_audio.T,
            logit_scale=logit_scale,
            audio_embeds=audio.pooler_output,
            text_embeds=text.pooler_output,
            kernel_attentions=attentions.kernel_attentions,
            temporal_attentions=attentions.temporal_attentions,
            audio_model_output=audio,
            text_model_output=text,
        )
