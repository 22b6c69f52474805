# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""CoLLAP (Contrastive Long-form Language-Audio Pretraining, arXiv 2410.02271) in PyTorch."""

import inspect
import math
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModel, PreTrainedModel, WhisperModel
from transformers import initialization as init
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.processing_utils import Unpack
from transformers.utils import TransformersKwargs, can_return_tuple, logging

from .configuration_collap import CollapConfig
from .loss_collap import contrastive_loss
from .modeling_beats import BeatsModel
from .modeling_collap_audio import CollapAudioModel, CollapPreTrainedModel, frame_times, with_output_flags
from .outputs_collap import CollapAttentions, CollapAudioOutput, CollapOutput, CollapTextOutput
from .scoring_collap import attend_frames, count_segments, mean_over_sentences, score_sentences, time_features

logger = logging.get_logger(__name__)

TEXT_LENGTH_GROUPS = 4  # groups of sentences of similar length that the text model encodes one after the other ...
MIN_GROUP_SENTENCES = 16  # ... if each group has so many sentences


class CollapLogitScale(nn.Module):
    """
    The learned factor of the scores, the inverse of the temperature; at most 100.

    A module, so that PEFT can train and save it; its weight has one dimension, so that FSDP can shard it.
    """

    def __init__(self, initial_value: float):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([float(initial_value)]))  # the factor's logarithm

    def forward(self) -> torch.Tensor:
        """The factor, a scalar in float32."""
        return self.weight[0].float().clamp(max=math.log(100)).exp()


class CollapTimeQuery(nn.Module):
    r"""
    One time query for each sentence of a text, computed from all its sentences in order (ours).

    One transformer layer over the sentence vectors with a projection of their positions added, then a linear map to
    the time features; plus a linear map of the position alone. A text of one sentence has no order: its time query is
    zero.
    """

    def __init__(self, config: CollapConfig):
        super().__init__()
        width = config.projection_dim
        self.num_time_features = config.num_time_features
        self.num_heads = config.time_query_heads
        self.position_projection = nn.Linear(config.num_time_features, width)
        self.attention_norm = nn.LayerNorm(width)
        self.attention_in = nn.Linear(width, 3 * width)
        self.attention_out = nn.Linear(width, width)
        self.mlp_norm = nn.LayerNorm(width)
        self.mlp_in = nn.Linear(width, 2 * width)
        self.mlp_out = nn.Linear(2 * width, width)
        self.norm = nn.LayerNorm(width)
        self.time = nn.Linear(width, config.num_time_features)
        self.position_to_time = nn.Linear(config.num_time_features, config.num_time_features, bias=False)

    def forward(self, query_embeds: torch.Tensor, sentence_counts: torch.Tensor) -> torch.Tensor:
        """`query_embeds` `(S, d)` and `sentence_counts` `(T,)` to time queries `(S, P)`."""
        most = int(sentence_counts.max())
        index = torch.arange(most, device=query_embeds.device)
        is_sentence = index < sentence_counts[:, None]  # (T, most)
        position = index / (sentence_counts[:, None] - 1).clamp(min=1)  # (T, most), 0 = first sentence, 1 = last
        position = time_features(position, self.num_time_features).to(query_embeds.dtype)  # (T, most, P)

        sentences = query_embeds.new_zeros(*is_sentence.shape, query_embeds.shape[-1])
        sentences[is_sentence] = query_embeds  # (T, most, d)
        hidden = sentences + self.position_projection(position)
        qkv = self.attention_in(self.attention_norm(hidden))
        qkv = qkv.unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)  # (3, T, heads, most, head width)
        attended = nn.functional.scaled_dot_product_attention(*qkv, attn_mask=is_sentence[:, None, None])
        hidden = hidden + self.attention_out(attended.transpose(1, 2).flatten(2))  # (T, most, d)
        hidden = hidden + self.mlp_out(nn.functional.gelu(self.mlp_in(self.mlp_norm(hidden))))
        times = self.time(self.norm(hidden)) + self.position_to_time(position)  # (T, most, P)
        times = times * (sentence_counts > 1)[:, None, None]
        return times[is_sentence]  # (S, P)


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

    def __init__(self, config: CollapConfig):
        super().__init__(config)
        self.audio_model = CollapAudioModel(config)
        self.text_model = AutoModel.from_config(config.text_config, **_without_pooler(config.text_config))
        self.text_projection = nn.Linear(config.text_config.hidden_size, config.projection_dim)
        self.time_query = CollapTimeQuery(config) if config.temporal_position else None
        self.logit_scale = CollapLogitScale(config.logit_scale_init_value)
        self.post_init()

    @classmethod
    def from_music_speech_text_pretrained(
        cls,
        music_model_name_or_path: str | None,
        speech_model_name_or_path: str | None,
        text_model_name_or_path: str,
        **config_fields: Any,
    ) -> "CollapModel":
        r"""
        Builds a CoLLAP from pretrained towers; adapter, projection and temperature are new and need training.

        Args:
            music_model_name_or_path (`str` or `None`):
                Folder or Hub name of a [`BeatsModel`] (see `collap convert-beats`); `None` leaves music out.
            speech_model_name_or_path (`str` or `None`):
                Folder or Hub name of any Whisper model, whose encoder is taken; `None` leaves speech out.
            text_model_name_or_path (`str`): Folder or Hub name of a text model for `AutoModel`.
            config_fields: Further fields of [`CollapConfig`].

        Returns:
            [`CollapModel`] in float32 and evaluation mode.

        Raises:
            ValueError: if a weight of a tower is not in its checkpoint.
        """
        music = speech = None
        if music_model_name_or_path is not None:
            music = load_complete(BeatsModel, music_model_name_or_path, dtype=torch.float32)
        if speech_model_name_or_path is not None:
            # Not WhisperEncoder.from_pretrained: it finds none of its weights in a Whisper repository and starts from
            # random ones.
            whisper = load_complete(WhisperModel, speech_model_name_or_path, needed="encoder.", dtype=torch.float32)
            speech = whisper.encoder
            config_fields.setdefault("chunk_length_s", speech.config.max_source_positions / 50)
        without_pooler = _without_pooler(AutoConfig.from_pretrained(text_model_name_or_path))
        text = load_complete(AutoModel, text_model_name_or_path, dtype=torch.float32, **without_pooler)
        config = cls.config_class(
            music_config=None if music is None else music.config,
            speech_config=None if speech is None else speech.config,
            text_config=text.config,
            **config_fields,
        )
        model = cls(config)
        if music is not None:
            model.audio_model.music_model.load_state_dict(music.state_dict())
        if speech is not None:
            model.audio_model.speech_model.load_state_dict(speech.state_dict())
        model.text_model.load_state_dict(text.state_dict())
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
        return self.audio_model(
            fbank_features=fbank_features,
            input_features=input_features,
            audio_attention_mask=audio_attention_mask,
            encoder_frames=encoder_frames,
            frame_mask=frame_mask,
            **kwargs,
        )

    @can_return_tuple
    def get_text_features(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        token_type_ids: torch.Tensor | None = None,
        sentence_counts: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> CollapTextOutput:
        r"""
        Queries of texts.

        Args:
            input_ids (`torch.Tensor` of shape `(num_sentences, num_tokens)`): Sentences of all texts, one a row.
            attention_mask (`torch.Tensor` of shape `(num_sentences, num_tokens)`, *optional*): 0 on padding.
            token_type_ids (`torch.Tensor` of shape `(num_sentences, num_tokens)`, *optional*):
                For text models that have them.
            sentence_counts (`torch.Tensor` of shape `(num_texts,)`, *optional*):
                Sentences of each text, in order. By default every row is a text of its own, a document.

        Returns:
            [`CollapTextOutput`]

        Raises:
            ValueError: if `sentence_counts` do not sum to the number of rows, hold a zero, or hold a text of several
                sentences while `config.text_granularity` is `"document"`.
        """
        sentence_counts = self._check_sentence_counts(sentence_counts, input_ids)
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        kwargs = with_output_flags(self.config, kwargs)
        if token_type_ids is not None:
            kwargs["token_type_ids"] = token_type_ids
        text_output = self._run_text_model(input_ids, attention_mask, **kwargs)
        states = text_output.last_hidden_state  # (S, tokens, hidden)
        pooled = pool_tokens(states, attention_mask, self.config.text_pooling)  # (S, hidden)
        queries = nn.functional.normalize(self.text_projection(pooled).float(), dim=-1)  # (S, d)
        text_embeds = mean_over_sentences(queries.T, sentence_counts).T  # (T, d)
        dtype = self.text_projection.weight.dtype
        queries = queries.to(dtype)
        return CollapTextOutput(
            last_hidden_state=states,
            pooler_output=nn.functional.normalize(text_embeds, dim=-1).to(dtype),
            hidden_states=text_output.hidden_states,
            attentions=text_output.attentions,
            query_embeds=queries,
            time_query_embeds=None if self.time_query is None else self.time_query(queries, sentence_counts),
            sentence_counts=sentence_counts,
        )

    def _run_text_model(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, **kwargs: Any
    ) -> BaseModelOutputWithPooling:
        """
        Output of the text model for all sentences, encoded in groups of similar length.

        The lengths of sentences differ much: padded to the longest, two thirds would be padding. Padding is masked, so
        the groups change only the time.
        """
        lengths = attention_mask.sum(-1)
        num_groups = min(TEXT_LENGTH_GROUPS, input_ids.shape[0] // MIN_GROUP_SENTENCES)
        padded_right = attention_mask[:, 0].all()
        whole_output = kwargs["output_hidden_states"] or kwargs["output_attentions"]
        if num_groups < 2 or whole_output or not padded_right:
            return self.text_model(input_ids=input_ids, attention_mask=attention_mask, return_dict=True, **kwargs)
        by_length = lengths.argsort(stable=True)  # (S,)
        token_type_ids = kwargs.pop("token_type_ids", None)
        states = []
        for group in by_length.tensor_split(num_groups):
            longest = int(lengths[group[-1]])
            if token_type_ids is not None:
                kwargs["token_type_ids"] = token_type_ids[group, :longest]
            output = self.text_model(
                input_ids=input_ids[group, :longest],
                attention_mask=attention_mask[group, :longest],
                return_dict=True,
                **kwargs,
            )
            missing = input_ids.shape[1] - longest
            states.append(nn.functional.pad(output.last_hidden_state, (0, 0, 0, missing)))  # (group, tokens, hidden)
        return BaseModelOutputWithPooling(last_hidden_state=torch.cat(states)[by_length.argsort()])

    def _check_sentence_counts(self, sentence_counts: torch.Tensor | None, input_ids: torch.Tensor) -> torch.Tensor:
        num_sentences = input_ids.shape[0]
        if sentence_counts is None:
            return torch.ones(num_sentences, dtype=torch.long, device=input_ids.device)
        if sentence_counts.min() < 1 or sentence_counts.sum() != num_sentences:
            raise ValueError(
                "sentence_counts must hold at least 1 for each text and sum to the rows of input_ids "
                f"({num_sentences}), got {sentence_counts.tolist()}."
            )
        if self.config.text_granularity == "document" and sentence_counts.shape[0] != num_sentences:
            raise ValueError(
                "sentence_counts has texts of several sentences, but config.text_granularity is 'document' (one row "
                f"a text); got {sentence_counts.tolist()}. Use a processor with text_granularity='document'."
            )
        return sentence_counts

    def similarity(
        self, audio: CollapAudioOutput, text: CollapTextOutput, use_time: bool = True, section_query: bool = False
    ) -> torch.Tensor:
        r"""
        Fused scores of songs and texts without the learned factor; arguments as in [`~CollapModel.score`].

        It uses no weight of the model, so it can be called outside `forward` where weights are sharded.

        Returns:
            `torch.Tensor` of shape `(batch_size, num_texts)` in float32, between minus and plus
            `kernel_weight + temporal_weight`.
        """
        frames, mask = audio.last_hidden_state, audio.frame_mask
        if section_query and self.config.text_granularity == "sentence":
            # The mean over the whole song does not describe one section: only the temporal alignment counts.
            together = mean_over_sentences(text.query_embeds.float().T, text.sentence_counts).T  # (T, d)
            queries = nn.functional.normalize(together, dim=-1)
            return score_sentences(frames, mask, queries, self.config, temporal_only=True)
        time_terms = self._time_terms(audio, text, use_time)
        scores = score_sentences(frames, mask, text.query_embeds, self.config, *time_terms)  # (B, S)
        return mean_over_sentences(scores, text.sentence_counts)

    def score(
        self, audio: CollapAudioOutput, text: CollapTextOutput, use_time: bool = True, section_query: bool = False
    ) -> torch.Tensor:
        r"""
        Scores songs against texts from the outputs of `get_audio_features` and `get_text_features`.

        At most `config.score_block_size` pairs of frame and sentence are held at a time.

        Args:
            audio ([`CollapAudioOutput`]): Its `last_hidden_state` and `frame_mask` are used.
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
        return self.logit_scale() * self.similarity(audio, text, use_time, section_query)

    def attend(self, audio: CollapAudioOutput, text: CollapTextOutput, use_time: bool = True) -> CollapAttentions:
        r"""
        The attentions of each sentence over each song; arguments as in [`~CollapModel.score`].

        Not in blocks: several tensors of `(batch_size, num_sentences, num_frames)` numbers are held.
        """
        frame_time_features, time_query_embeds = self._time_terms(audio, text, use_time)
        with torch.autocast(device_type=audio.last_hidden_state.device.type, enabled=False):
            frames, queries = audio.last_hidden_state.float(), text.query_embeds.float()
            attentions = attend_frames(
                frames,
                audio.frame_mask,
                queries,
                self.config,
                frame_time_features,
                None if time_query_embeds is None else time_query_embeds.float(),
            )
            attentions.similarities = torch.einsum("bnd,sd->bsn", frames, queries)  # (B, S, N)
        return attentions

    def frame_times(self, num_frames: int) -> torch.Tensor:
        """Start and end of the first `num_frames` frames of a song in seconds, of shape `(num_frames, 2)`."""
        return frame_times(self.config, num_frames)

    def segment_times(self, num_frames: int) -> torch.Tensor:
        """Start and end in seconds of the segments of a song of `num_frames` frames, of shape `(num_segments, 2)`."""
        size, stride = self.config.kernel_size, self.config.kernel_stride
        first = torch.arange(int(count_segments(torch.tensor(num_frames), size, stride))) * stride
        last = (first + size).clamp(max=num_frames) - 1
        frames = self.frame_times(num_frames)
        return torch.stack((frames[first, 0], frames[last, 1]), dim=-1)

    def _time_terms(
        self, audio: CollapAudioOutput, text: CollapTextOutput, use_time: bool
    ) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """Time features of the frames `(B, N, P)` and time queries of the sentences `(S, P)`, or None and None."""
        if not use_time or text.time_query_embeds is None:
            return None, None
        mask = audio.frame_mask
        times = self.frame_times(mask.shape[1]).to(mask.device)  # (N, 2)
        duration = times[mask.sum(-1) - 1, 1]  # (B,), end of the last real frame
        relative = times.mean(-1) / duration[:, None]  # (B, N), centre of the frame
        return time_features(relative, self.config.num_time_features), text.time_query_embeds

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        token_type_ids: torch.Tensor | None = None,
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
            input_ids, attention_mask, token_type_ids, sentence_counts:
                The texts, as in [`~CollapModel.get_text_features`].
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
            ValueError: if `return_loss=True` and songs and texts differ in number, or `return_logits=False`; as the
                two feature methods.
        """
        if return_loss and not return_logits:
            raise ValueError("return_loss=True needs the scores; got return_logits=False.")
        kwargs = with_output_flags(self.config, {**kwargs, "output_attentions": output_attentions})
        audio = self.get_audio_features(
            fbank_features=fbank_features,
            input_features=input_features,
            audio_attention_mask=audio_attention_mask,
            encoder_frames=encoder_frames,
            frame_mask=frame_mask,
            return_dict=True,
            **kwargs,
        )
        text = self.get_text_features(
            input_ids=input_ids,
            attention_mask=attention_mask,
            token_type_ids=token_type_ids,
            sentence_counts=sentence_counts,
            return_dict=True,
            **kwargs,
        )
        logit_scale = self.logit_scale()
        logits_per_audio = None
        if return_logits:
            logits_per_audio = logit_scale * self.similarity(audio, text, use_time=use_time)  # (B, T)
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


def pool_tokens(states: torch.Tensor, attention_mask: torch.Tensor, pooling: str) -> torch.Tensor:
    """
    Token states `(S, tokens, hidden)` to one vector a sentence, `(S, hidden)`, by `config.text_pooling`.

    `attention_mask` `(S, tokens)` is 0 on padding, on either side.
    """
    if pooling == "mean":
        is_real = attention_mask[..., None].float()  # (S, tokens, 1); hundreds of tokens are too many to add in bf16
        return ((states.float() * is_real).sum(1) / is_real.sum(1)).to(states.dtype)
    token = attention_mask.int().argmax(-1)  # (S,), the first real one
    if pooling == "last":
        position = torch.arange(attention_mask.shape[1], device=attention_mask.device)
        token = (attention_mask.bool() * position).argmax(-1)
    return states[torch.arange(states.shape[0], device=states.device), token]


def _without_pooler(text_config: Any) -> dict[str, bool]:
    """Keyword that leaves out the text model's pooling layer: it would have no gradient, which DDP refuses."""
    model_class = AutoModel._model_mapping[type(text_config)]
    model_class = model_class[0] if isinstance(model_class, tuple) else model_class
    has_pooler = "add_pooling_layer" in inspect.signature(model_class.__init__).parameters
    return {"add_pooling_layer": False} if has_pooler else {}


def load_complete(model_class: Any, name_or_path: str, needed: str = "", **options: Any) -> PreTrainedModel:
    """
    Loads a pretrained model and refuses a checkpoint that lacks weights, which would be random ones then.

    Args:
        model_class: A model class, an auto class, or a function with the arguments of their `from_pretrained`.
        name_or_path (`str`): Folder or Hub name.
        needed (`str`): Beginning of the names of the weights that must not be missing; by default all.
        options: Further arguments of `from_pretrained`.

    Raises:
        ValueError: if a weight of the model is not in the checkpoint.
    """
    load = getattr(model_class, "from_pretrained", model_class)
    model, report = load(name_or_path, output_loading_info=True, **options)
    parameters = {name for name, _ in model.named_parameters()}
    missing = sorted(name for name in parameters.intersection(report["missing_keys"]) if name.startswith(needed))
    if missing:
        raise ValueError(
            f"{name_or_path!r} lacks {len(missing)} weights of a {type(model).__name__}, such as {missing[0]}; is it "
            "the right kind of checkpoint?"
        )
    return model
