# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""The text half of CoLLAP: any text model of transformers, a projection to the queries, and their times."""

import inspect
from typing import Any

import torch
from torch import nn
from transformers import AutoModel, AutoModelForTextEncoding, PreTrainedConfig
from transformers.modeling_outputs import BaseModelOutput
from transformers.processing_utils import Unpack
from transformers.utils import TransformersKwargs, can_return_tuple

from .configuration_collap import CollapConfig
from .modeling_beats import SmallLinear
from .modeling_collap_base import (
    AUDIO_INPUTS,
    CollapPreTrainedModel,
    check_tensors,
    fingerprint,
    floating_dtype,
    has_sharded_layers,
    with_output_flags,
    without_inputs,
)
from .outputs_collap import CollapTextOutput
from .scoring_collap import mean_over_sentences, text_of_each_sentence, time_features

TEXT_LENGTH_GROUPS = 4  # groups of sentences of similar length that the text model encodes one after the other ...
MIN_GROUP_SENTENCES = 16  # ... if each group has so many sentences


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
        self.position_projection = SmallLinear(config.num_time_features, width)
        self.attention_norm = nn.LayerNorm(width)
        self.attention_in = nn.Linear(width, 3 * width)
        self.attention_out = nn.Linear(width, width)
        self.mlp_norm = nn.LayerNorm(width)
        self.mlp_in = nn.Linear(width, 2 * width)
        self.mlp_out = nn.Linear(2 * width, width)
        self.norm = nn.LayerNorm(width)
        self.time = SmallLinear(width, config.num_time_features)
        self.position_to_time = SmallLinear(config.num_time_features, config.num_time_features, bias=False)

    def forward(self, query_embeds: torch.Tensor, sentence_counts: torch.Tensor) -> torch.Tensor:
        """`query_embeds` `(S, d)` and `sentence_counts` `(T,)` to time queries `(S, P)`."""
        index = torch.arange(query_embeds.shape[0], device=query_embeds.device)  # (S,)
        text_of_sentence = text_of_each_sentence(sentence_counts, query_embeds.shape[0])  # (S,)
        sentences_in_text = sentence_counts[text_of_sentence]  # (S,)
        place = index - (sentence_counts.cumsum(0) - sentence_counts)[text_of_sentence]  # (S,), 0 = first of its text
        position = time_features(place / (sentences_in_text - 1).clamp(min=1), self.num_time_features)
        position = position.to(query_embeds.dtype)  # (S, P), of 0 = first sentence to 1 = last

        hidden = query_embeds + self.position_projection(position)  # (S, d)
        qkv = self.attention_in(self.attention_norm(hidden)).unflatten(-1, (3, self.num_heads, -1))
        if torch.compiler.is_compiling():
            # No shape may depend on values: each sentence attends to all, and those of other texts are masked.
            same_text = text_of_sentence[:, None] == text_of_sentence
            as_one_text = qkv.permute(1, 2, 0, 3)[:, None]  # (3, 1, heads, S, head width)
            attended = nn.functional.scaled_dot_product_attention(*as_one_text, attn_mask=same_text)
            attended = attended[0].transpose(0, 1).flatten(1)  # (S, d)
        else:
            table = qkv.new_zeros(sentence_counts.shape[0], int(sentence_counts.max()), *qkv.shape[1:])
            table[text_of_sentence, place] = qkv  # (T, most, 3, heads, head width)
            is_sentence = torch.arange(table.shape[1], device=index.device) < sentence_counts[:, None]  # (T, most)
            attended = nn.functional.scaled_dot_product_attention(
                *table.permute(2, 0, 3, 1, 4), attn_mask=is_sentence[:, None, None]
            )
            attended = attended.transpose(1, 2).flatten(2)[text_of_sentence, place]  # (S, d)
        hidden = hidden + self.attention_out(attended)
        hidden = hidden + self.mlp_out(nn.functional.gelu(self.mlp_in(self.mlp_norm(hidden))))
        times = self.time(self.norm(hidden)) + self.position_to_time(position)  # (S, P)
        return times * (sentences_in_text > 1)[:, None]


class CollapTextModel(CollapPreTrainedModel):
    r"""
    Encodes texts into queries, without an audio encoder: `CollapTextModel.from_pretrained` takes the folder of a
    [`CollapModel`] and loads its text half only. Its auto class is `AutoModelForTextEncoding`.

    Example:

    ```python
    >>> import torch
    >>> from collap import CollapConfig, CollapTextModel

    >>> tiny_text = {"model_type": "roberta", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    >>> model = CollapTextModel(CollapConfig(text_config=tiny_text, text_granularity="sentence")).eval()
    >>> text = model(input_ids=torch.tensor([[0, 9, 2], [0, 8, 2], [0, 7, 2]]), sentence_counts=torch.tensor([2, 1]))
    >>> text.query_embeds.shape, text.pooler_output.shape  # three sentences, two texts
    (torch.Size([3, 512]), torch.Size([2, 512]))

    ```
    """

    main_input_name = "input_ids"
    base_model_prefix = "text_model"
    input_modalities = ("text",)
    _keys_to_ignore_on_load_unexpected = [r"^audio_model", r"^logit_scale"]  # noqa: RUF012

    def __init__(self, config: CollapConfig):
        super().__init__(config)
        if getattr(config.text_config, "use_cache", False):
            config.text_config.use_cache = False  # of keys and values, for generation only
        options = without_pooler(config.text_config)
        self.encoder = text_encoder_class(config.text_config).from_config(config.text_config, **options)
        self.projection = nn.Linear(config.text_config.hidden_size, config.projection_dim)
        self.time_query = CollapTimeQuery(config) if config.temporal_position else None
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.encoder.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.encoder.set_input_embeddings(value)

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        token_type_ids: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        sentence_counts: torch.Tensor | None = None,
        pooled_text_states: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> CollapTextOutput:
        r"""
        Args:
            input_ids (`torch.Tensor` of shape `(num_sentences, num_tokens)`, *optional*):
                Sentences of all texts, one a row.
            attention_mask (`torch.Tensor` of shape `(num_sentences, num_tokens)`, *optional*):
                0 on padding, on either side; the side does not change the result.
            token_type_ids, position_ids (`torch.Tensor` of shape `(num_sentences, num_tokens)`, *optional*):
                For text models that have them.
            inputs_embeds (`torch.Tensor` of shape `(num_sentences, num_tokens, hidden_size)`, *optional*):
                Embeddings of the tokens instead of `input_ids`.
            sentence_counts (`torch.Tensor` of shape `(num_texts,)`, *optional*):
                Sentences of each text, in order. By default every row is a text of its own, a document.
            pooled_text_states (`torch.Tensor` of shape `(num_sentences, hidden_size)`, *optional*):
                Output of the text model for these sentences, pooled ([`pool_tokens`]): it is not called again, and
                the output has no `last_hidden_state`. `input_ids` are still needed, for their number of rows.
            kwargs: Further arguments of the text model. The inputs of [`CollapAudioModel`] are ignored, so that a
                whole batch of [`CollapProcessor`] can be given.

        Returns:
            [`CollapTextOutput`]

        Raises:
            ValueError: if there are neither `input_ids` nor `inputs_embeds`, or both; if a row has no token; if
                `pooled_text_states` has another number of rows; or if `sentence_counts` do not sum to the number of
                rows, hold a zero, or hold a text of several sentences while `config.text_granularity` is `"document"`.
        """
        if (input_ids is None) == (inputs_embeds is None):
            given = "none" if input_ids is None else "both"
            raise ValueError(f"input_ids or inputs_embeds must be given, one of them; got {given}.")
        tokens = input_ids if inputs_embeds is None else inputs_embeds
        check_tensors({"input_ids": input_ids, "inputs_embeds": inputs_embeds, "attention_mask": attention_mask})
        if attention_mask is None:
            attention_mask = torch.ones(tokens.shape[:2], dtype=torch.long, device=tokens.device)
        if sentence_counts is None:
            sentence_counts = torch.ones(tokens.shape[0], dtype=torch.long, device=tokens.device)
        if not torch.compiler.is_compiling():  # a graph cannot raise errors that depend on values
            self._check_values(attention_mask, sentence_counts)
        if pooled_text_states is not None and len(pooled_text_states) != len(tokens):
            raise ValueError(f"pooled_text_states must have {len(tokens)} rows, got {len(pooled_text_states)}.")
        if position_ids is not None:
            position_ids = position_ids.expand(tokens.shape[:2])
        names = ("input_ids", "token_type_ids", "position_ids", "inputs_embeds")
        values = (input_ids, token_type_ids, position_ids, inputs_embeds)
        inputs = {name: value for name, value in zip(names, values, strict=True) if value is not None}
        output, pooled = BaseModelOutput(), pooled_text_states
        if pooled is None:
            output, pooled = self.pool_sentences(attention_mask, **inputs, **without_inputs(kwargs, AUDIO_INPUTS))
        queries = nn.functional.normalize(self.projection(pooled).float(), dim=-1)  # (S, d)
        sentence_counts = sentence_counts.to(queries.device)
        text_embeds = mean_over_sentences(queries.T, sentence_counts).T  # (T, d)
        queries = queries.to(floating_dtype(self.projection))
        time_queries = None
        if self.time_query is not None:
            # Its own precision: bitsandbytes' layers of 4 bits turn their bias, as that of the projection, to float32.
            time_queries = self.time_query(queries.to(floating_dtype(self.time_query)), sentence_counts)
        return CollapTextOutput(
            last_hidden_state=output.last_hidden_state,
            pooler_output=nn.functional.normalize(text_embeds, dim=-1).to(queries.dtype),
            hidden_states=output.hidden_states,
            attentions=output.attentions,
            query_embeds=queries,
            time_query_embeds=time_queries,
            sentence_counts=sentence_counts,
            model_fingerprint=None if self.training else fingerprint(self, text_embeds.shape[0]),
        )

    def pool_sentences(self, attention_mask: torch.Tensor, **inputs: Any) -> tuple[BaseModelOutput, torch.Tensor]:
        """Output of the text model, and `pooled_text_states` of it; a ValueError if a row has too many tokens."""
        limit = None if "position_ids" in inputs or torch.compiler.is_compiling() else self.config.max_text_tokens
        if limit is not None and attention_mask.shape[1] > limit:
            raise ValueError(
                f"input_ids must have at most {limit} tokens a row, as the text model has positions, got "
                f"{attention_mask.shape[1]}: set max_text_tokens={limit} in the processor."
            )
        output = self._encode(attention_mask, with_output_flags(self.config, inputs))
        states = output.last_hidden_state  # (S, tokens, hidden)
        return output, pool_tokens(states, attention_mask.to(states.device), self.config.text_pooling)

    def _encode(self, attention_mask: torch.Tensor, inputs: dict[str, Any]) -> BaseModelOutput:
        """
        Output of the text model, which gets the real tokens of each row first.

        Padding on the left would shift the absolute positions that many text models give to tokens.
        """
        num_tokens = attention_mask.shape[1]
        padding = attention_mask.int().argmax(-1)[:, None]  # (S, 1), before the first real token
        if not torch.compiler.is_compiling() and not padding.any():
            return self._encode_by_length(attention_mask, inputs)
        rows = torch.arange(padding.shape[0], device=padding.device)[:, None]
        column = torch.arange(num_tokens, device=padding.device)
        around = torch.cat((column, column))  # in place of a modulo: ONNX has none by a size that is free
        order, back = around[column + padding], around[column - padding]  # (S, tokens)
        inputs = {
            name: value[rows, order] if is_per_token(value, attention_mask) else value
            for name, value in inputs.items()
        }
        output = self._encode_by_length(attention_mask[rows, order], inputs)
        rows, back = rows.to(output.last_hidden_state.device), back.to(output.last_hidden_state.device)
        output.last_hidden_state = output.last_hidden_state[rows, back]
        if output.hidden_states is not None:
            output.hidden_states = tuple(states[rows, back] for states in output.hidden_states)
        if output.attentions is not None:  # (S, heads, queries, keys)
            output.attentions = tuple(
                weights.movedim(1, 3)[rows[..., None], back[:, :, None], back[:, None]].movedim(3, 1)
                for weights in output.attentions
            )
        return output

    def _encode_by_length(self, attention_mask: torch.Tensor, inputs: dict[str, Any]) -> BaseModelOutput:
        """
        Output of the text model for all sentences, encoded in groups of similar length.

        The lengths of sentences differ much: padded to the longest, two thirds would be padding. Padding is masked, so
        the groups change only the time.
        """
        num_sentences, num_tokens = attention_mask.shape
        whole_output = inputs["output_hidden_states"] or inputs["output_attentions"]
        in_one_call = torch.compiler.is_compiling() or whole_output or has_sharded_layers(self.encoder)
        num_groups = 1 if in_one_call else min(TEXT_LENGTH_GROUPS, num_sentences // MIN_GROUP_SENTENCES)
        if num_groups < 2:
            return self.encoder(attention_mask=attention_mask, return_dict=True, **inputs)
        lengths = num_tokens - attention_mask.flip(-1).int().argmax(-1)  # (S,)
        by_length = lengths.argsort(stable=True)  # (S,)
        states = []
        for group in by_length.tensor_split(num_groups):
            longest = int(lengths[group[-1]])
            of_group = {name: _rows(value, group, longest, attention_mask) for name, value in inputs.items()}
            output = self.encoder(attention_mask=attention_mask[group, :longest], return_dict=True, **of_group)
            missing = num_tokens - longest
            states.append(nn.functional.pad(output.last_hidden_state, (0, 0, 0, missing)))  # (group, tokens, hidden)
        states = torch.cat(states)
        return BaseModelOutput(last_hidden_state=states[by_length.argsort().to(states.device)])

    def _check_values(self, attention_mask: torch.Tensor, sentence_counts: torch.Tensor) -> None:
        num_sentences = len(attention_mask)
        if not attention_mask.any(-1).all():
            row = int(attention_mask.any(-1).int().argmin())
            raise ValueError(f"attention_mask must have a token in each row, got only zeros in row {row}.")
        if sentence_counts.min() < 1 or sentence_counts.sum() != num_sentences:
            raise ValueError(
                "sentence_counts must hold at least 1 for each text and sum to the rows of input_ids "
                f"({num_sentences}), got {sentence_counts.tolist()}."
            )
        if self.config.text_granularity == "document" and len(sentence_counts) != num_sentences:
            raise ValueError(
                "sentence_counts has texts of several sentences, but config.text_granularity is 'document' (one row "
                f"a text); got {sentence_counts.tolist()}. Use a processor with text_granularity='document'."
            )


def is_per_token(value: Any, attention_mask: torch.Tensor) -> bool:
    """Whether an input of the text model has an entry for each token."""
    return isinstance(value, torch.Tensor) and value.shape[:2] == attention_mask.shape


def _rows(value: Any, group: torch.Tensor, longest: int, attention_mask: torch.Tensor) -> Any:
    """An input of the text model for some sentences, up to the longest of them."""
    if is_per_token(value, attention_mask):
        return value[group, :longest]
    is_per_sentence = isinstance(value, torch.Tensor) and value.shape[:1] == attention_mask.shape[:1]
    return value[group] if is_per_sentence else value


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


def text_encoder_class(text_config: PreTrainedConfig) -> Any:
    """
    The auto class that builds the text model: of an encoder-decoder, such as T5, only the encoder.

    Raises:
        ValueError: if transformers has no encoder of its own for an encoder-decoder.
    """
    # First by the type: T5EncoderModel sets `is_encoder_decoder` of its configuration to False.
    if type(text_config) in AutoModelForTextEncoding._model_mapping:
        return AutoModelForTextEncoding
    if not text_config.is_encoder_decoder:
        return AutoModel
    raise ValueError(
        "text_config must be of a text encoder, or of an encoder-decoder that AutoModelForTextEncoding takes; got "
        f"{text_config.model_type!r}."
    )


def without_pooler(text_config: PreTrainedConfig) -> dict[str, bool]:
    """Keyword that leaves out the text model's pooling layer: it would have no gradient, which DDP refuses."""
    model_class = text_encoder_class(text_config)._model_mapping[type(text_config)]
    model_class = model_class[0] if isinstance(model_class, tuple) else model_class
    has_pooler = "add_pooling_layer" in inspect.signature(model_class.__init__).parameters
    return {"add_pooling_layer": False} if has_pooler else {}
