# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""
BEATs (Bidirectional Encoder representation from Audio Transformers, arXiv 2212.09058), Microsoft's audio encoder.

It computes what the original code (microsoft/unilm, `beats/`) computes, with three differences: padding is exact (a
padded clip gives what it gives alone), a row of nothing but padding gives zeros instead of NaN, and the attention is
PyTorch's, with the position bias and the padding as one mask.
"""

import math
from collections.abc import Callable

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.activations import ACT2FN
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutput
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.processing_utils import Unpack
from transformers.utils import TransformersKwargs
from transformers.utils.output_capturing import capture_outputs

from .configuration_beats import BeatsConfig

# Queries that sdpa attention takes at a time. Their mask, (batch, heads, queries, tokens), is by far the largest
# tensor of the model: 860 MB for all queries of eight clips of 30 s.
QUERY_BLOCK_SIZE = 256


class SmallLinear(nn.Linear):
    """
    A layer with a handful of inputs or outputs that stays as it is when a model is quantized.

    There is nothing to gain, and bitsandbytes fails on a CPU with few outputs (4 bits) or a four-dimensional input (8
    bits). It replaces layers of the type `nn.Linear` only, as `torch.ao.quantization` does.
    """


def relative_position_buckets(distances: torch.Tensor, num_buckets: int, max_distance: int) -> torch.Tensor:
    """
    Bucket in `[0, num_buckets)` of each distance between a key and a query (T5, arXiv 1910.10683, both directions).

    A distance is the position of the key minus that of the query, in tokens. Keys after the query have the upper half
    of the buckets; from `max_distance` on, all keys of one side share a bucket.
    """
    num_buckets_per_side = num_buckets // 2
    num_exact = num_buckets_per_side // 2
    distance = distances.abs()
    # 0 at the first logarithmic bucket, 1 at max_distance. The clamp keeps it finite where it is not used.
    fraction = torch.log(distance.clamp(min=num_exact).float() / num_exact) / math.log(max_distance / num_exact)
    logarithmic = num_exact + (fraction * (num_buckets_per_side - num_exact)).long()
    bucket = torch.where(distance < num_exact, distance, logarithmic.clamp(max=num_buckets_per_side - 1))
    return bucket + (distances > 0).long() * num_buckets_per_side


class BeatsRelativePositionBias(nn.Module):
    """Bias of the attention logits by the distance of key and query. There is one, and all layers share it."""

    def __init__(self, config: BeatsConfig):
        super().__init__()
        self.max_distance = config.max_bucket_distance
        self.embedding = nn.Embedding(config.num_buckets, config.num_attention_heads)

    def forward(self, num_tokens: int, device: torch.device) -> torch.Tensor:
        """The bias of each distance from query to key, `(heads, 2 * num_tokens - 1)`: `num_tokens - 1` is 0."""
        # Not the device of the weight: offloaded weights are on the device "meta" until their module runs.
        distances = torch.arange(1 - num_tokens, num_tokens, device=device)
        buckets = relative_position_buckets(distances, self.embedding.num_embeddings, self.max_distance)
        return self.embedding(buckets).transpose(0, 1)


class BeatsEmbeddings(nn.Module):
    """Cuts filter bank frames into square patches, one token each, and projects them to the encoder's width."""

    def __init__(self, config: BeatsConfig):
        super().__init__()
        self.patch_embedding = nn.Conv2d(1, config.embed_dim, config.patch_size, stride=config.patch_size, bias=False)
        self.layer_norm = nn.LayerNorm(config.embed_dim, eps=config.layer_norm_eps)
        self.projection = nn.Linear(config.embed_dim, config.hidden_size)
        self.dropout = nn.Dropout(config.feat_proj_dropout)

    def forward(self, input_values: torch.Tensor) -> torch.Tensor:
        """`(batch, frames, mel bins)` to `(batch, tokens, hidden_size)`; all patches of a time step, then the next."""
        patches = self.patch_embedding(input_values.unsqueeze(1))  # (batch, embed_dim, time steps, frequency patches)
        patches = patches.flatten(2).transpose(1, 2)  # (batch, tokens, embed_dim)
        return self.dropout(self.projection(self.layer_norm(patches)))


class BeatsPositionalConvEmbedding(nn.Module):
    """Absolute positions, as a convolution over a wide window of tokens (wav2vec 2.0, arXiv 2006.11477)."""

    def __init__(self, config: BeatsConfig):
        super().__init__()
        conv = nn.Conv1d(
            config.hidden_size,
            config.hidden_size,
            config.num_conv_pos_embeddings,
            padding=config.num_conv_pos_embeddings // 2,
            groups=config.num_conv_pos_embedding_groups,
        )
        self.conv = nn.utils.parametrizations.weight_norm(conv, name="weight", dim=2)
        self.activation = nn.GELU()

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """`(batch, tokens, hidden_size)` to the same shape."""
        num_tokens = hidden_states.shape[1]
        positions = self.conv(hidden_states.transpose(1, 2))  # (batch, hidden_size, tokens [+ 1])
        # An even kernel has no middle: with this padding it gives one token more than it got. It is the last.
        return self.activation(positions[..., :num_tokens]).transpose(1, 2)


def eager_attention_forward(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor,
    scaling: float,
    dropout: float = 0.0,
    **kwargs: object,
) -> tuple[torch.Tensor, torch.Tensor]:
    """`(batch, heads, tokens, head_dim)` to `(batch, tokens, heads, head_dim)`, and the weights of queries on keys."""
    # The logits of released checkpoints can pass what float16 holds, so they are made small (32 is the original's
    # number, and a power of two, so nothing is rounded) and grow again in float32.
    logits = torch.matmul(query * (scaling / 32), key.transpose(-1, -2)).float() * 32 + attention_mask
    weights = nn.functional.softmax(logits, dim=-1).to(query.dtype)
    weights = nn.functional.dropout(weights, p=dropout, training=module.training)
    return torch.matmul(weights, value).transpose(1, 2), weights


class BeatsAttention(nn.Module):
    """Self-attention with a gated relative position bias (WavLM, arXiv 2110.13900, section III-B)."""

    def __init__(self, config: BeatsConfig):
        super().__init__()
        self.config = config
        self.num_heads = config.num_attention_heads
        self.head_dim = config.hidden_size // config.num_attention_heads
        self.scaling = self.head_dim**-0.5
        self.attention_dropout = config.attention_dropout
        self.is_causal = False

        self.q_proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.k_proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.v_proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.out_proj = nn.Linear(config.hidden_size, config.hidden_size)
        # Two gates of four summands each, as in WavLM: the names are those of transformers' WavLM.
        self.gru_rel_pos_linear = SmallLinear(self.head_dim, 8)
        self.gru_rel_pos_const = nn.Parameter(torch.ones(1, self.num_heads, 1, 1))

    def position_gate(self, query: torch.Tensor) -> torch.Tensor:
        """Factor `(batch, heads, tokens, 1)` on the position bias, from the projected query (WavLM: the input)."""
        gates = self.gru_rel_pos_linear(query).unflatten(-1, (2, 4)).sum(-1)  # (batch, heads, tokens, 2)
        update, reset = torch.sigmoid(gates).chunk(2, dim=-1)
        return update * (reset * self.gru_rel_pos_const - 1.0) + 2.0

    def forward(
        self,
        hidden_states: torch.Tensor,
        position_bias: torch.Tensor,
        key_bias: torch.Tensor,
        keep_masks: bool = False,
        **kwargs: Unpack[TransformersKwargs],
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """
        Args:
            hidden_states: `(batch, tokens, hidden_size)`.
            position_bias: `(heads, 2 * tokens - 1)`, from [`BeatsRelativePositionBias`].
            key_bias: `(batch or 1, 1, 1, tokens)`, 0 for the keys to attend to and minus infinity for padding.
            keep_masks: Whether the backward pass gets the masks of this layer instead of making them again.

        Returns:
            The new hidden states, and with eager attention its weights `(batch, heads, queries, keys)`.
        """
        batch_size, num_tokens, _ = hidden_states.shape
        heads_shape = (batch_size, num_tokens, self.num_heads, self.head_dim)
        query = self.q_proj(hidden_states).view(heads_shape).transpose(1, 2)  # (batch, heads, tokens, head_dim)
        key = self.k_proj(hidden_states).view(heads_shape).transpose(1, 2)
        value = self.v_proj(hidden_states).view(heads_shape).transpose(1, 2)

        gate = self.position_gate(query)
        attend: Callable = ALL_ATTENTION_FUNCTIONS.get_interface(
            self.config._attn_implementation, eager_attention_forward
        )

        def attend_block(
            query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, gate: torch.Tensor, biases: torch.Tensor
        ) -> tuple[torch.Tensor, torch.Tensor | None]:
            # The last query sees the first `num_tokens` distances, the query before it begins one distance later: a
            # sliding window, with the queries in reverse order. (A mask of the overlapping view would not be
            # contiguous, which makes sdpa slow.)
            bias = biases.unfold(-1, num_tokens, 1).contiguous().flip(1)  # (heads, block, tokens)
            mask = torch.addcmul(key_bias, gate, bias)  # (batch, heads, block, tokens)
            dropout = self.attention_dropout if self.training else 0.0
            return attend(self, query, key, value, mask, dropout=dropout, scaling=self.scaling, **kwargs)

        # Eager attention takes all queries at once, so that the weights it returns are those of the graph.
        is_eager = self.config._attn_implementation == "eager"
        block_size = num_tokens if is_eager else QUERY_BLOCK_SIZE
        # The masks of all blocks and layers are not kept for the backward pass, which makes each again.
        recompute = not (is_eager or keep_masks) and torch.is_grad_enabled()
        outputs, weights = [], None
        last = 2 * num_tokens - 1  # of the distances that the queries of a block see
        for query_block, gate_block in zip(query.split(block_size, 2), gate.split(block_size, 2), strict=True):
            first = last - num_tokens - query_block.shape[2] + 1
            block = (query_block, key, value, gate_block, position_bias[:, first:last])
            last -= query_block.shape[2]
            output, weights = (
                checkpoint(attend_block, *block, use_reentrant=False) if recompute else attend_block(*block)
            )
            outputs.append(output)  # (batch, block, heads, head_dim)
        return self.out_proj(torch.cat(outputs, dim=1).flatten(2)), weights


class BeatsEncoderLayer(GradientCheckpointingLayer):
    """Attention and feed-forward, each with a scaled residual and a norm behind it (DeepNet, arXiv 2203.00555)."""

    def __init__(self, config: BeatsConfig):
        super().__init__()
        self.residual_scale = (2 * config.num_hidden_layers) ** 0.25  # DeepNet's alpha
        self.layerdrop = config.layerdrop
        self.self_attn = BeatsAttention(config)
        self.self_attn_layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.fc1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.fc2 = nn.Linear(config.intermediate_size, config.hidden_size)
        self.final_layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.activation = ACT2FN[config.hidden_act]
        self.activation_dropout = nn.Dropout(config.activation_dropout)
        self.dropout = nn.Dropout(config.hidden_dropout)

    def forward(
        self,
        hidden_states: torch.Tensor,
        position_bias: torch.Tensor,
        key_bias: torch.Tensor,
        **kwargs: Unpack[TransformersKwargs],
    ) -> torch.Tensor:
        """`hidden_states` and the result are `(batch, tokens, hidden_size)`; the rest as in [`BeatsAttention`]."""
        layer_input = hidden_states
        # A checkpointed layer is computed again as a whole: its attention must not be computed a third time, and only
        # its own masks exist at a time.
        keep_masks = self.gradient_checkpointing and self.training
        attention, _ = self.self_attn(hidden_states, position_bias, key_bias, keep_masks, **kwargs)
        hidden_states = self.self_attn_layer_norm(hidden_states * self.residual_scale + self.dropout(attention))

        feed_forward = self.activation_dropout(self.activation(self.fc1(hidden_states)))
        feed_forward = self.dropout(self.fc2(feed_forward))
        hidden_states = self.final_layer_norm(hidden_states * self.residual_scale + feed_forward)

        if self.training and self.layerdrop > 0:
            # Dropped after it was computed: with sharded weights (FSDP, ZeRO-3) all processes must run the same
            # layers, and with DDP every weight must take part.
            dropped = torch.rand((), device=hidden_states.device) < self.layerdrop
            hidden_states = torch.where(dropped, layer_input, hidden_states)
        return hidden_states


class BeatsEncoder(nn.Module):
    """Positions, then the stack of layers."""

    def __init__(self, config: BeatsConfig):
        super().__init__()
        self.pos_conv_embed = BeatsPositionalConvEmbedding(config)
        self.layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout)
        self.relative_position_bias = BeatsRelativePositionBias(config)
        self.layers = nn.ModuleList([BeatsEncoderLayer(config) for _ in range(config.num_hidden_layers)])

    def forward(
        self,
        hidden_states: torch.Tensor,
        padding_mask: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> torch.Tensor:
        """`(batch, tokens, hidden_size)` to the same shape; `padding_mask` `(batch, tokens)` is true for padding."""
        num_tokens = hidden_states.shape[1]
        key_bias = hidden_states.new_zeros(1, 1, 1, num_tokens)
        if padding_mask is not None:
            # The convolution must see after a clip what it sees after the longest one: zeros.
            hidden_states = hidden_states.masked_fill(padding_mask.unsqueeze(-1), 0.0)
            # Without any key a softmax is NaN, so a row of nothing but padding attends to its padding.
            hidden_keys = padding_mask & ~padding_mask.all(dim=-1, keepdim=True)
            key_bias = key_bias.masked_fill(hidden_keys[:, None, None, :], -torch.inf)  # (batch, 1, 1, tokens)
        hidden_states = hidden_states + self.pos_conv_embed(hidden_states)
        hidden_states = self.dropout(self.layer_norm(hidden_states))

        position_bias = self.relative_position_bias(num_tokens, hidden_states.device)
        for layer in self.layers:
            hidden_states = layer(hidden_states, position_bias, key_bias, **kwargs)

        if padding_mask is not None:
            hidden_states = hidden_states.masked_fill(padding_mask.unsqueeze(-1), 0.0)
        return hidden_states


class BeatsPreTrainedModel(PreTrainedModel):
    """Initialisation, loading and saving of BEATs models."""

    config: BeatsConfig
    base_model_prefix = "beats"
    main_input_name = "input_values"
    input_modalities = "audio"
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _input_embed_layer = "patch_embedding"
    _no_split_modules = ["BeatsEncoderLayer", "BeatsPositionalConvEmbedding"]  # noqa: RUF012 - transformers' convention
    _can_record_outputs = {"hidden_states": BeatsEncoderLayer, "attentions": BeatsAttention}  # noqa: RUF012

    def _initialize_weights(self, module: nn.Module, is_custom_code: bool = False) -> None:
        # For classes outside of its own package, transformers does not call `_init_weights` on a module without
        # parameters of its own, such as a whole layer, lest it overwrite what was loaded. Ours cannot: it goes through
        # transformers.initialization.
        super()._initialize_weights(module, is_custom_code=False)

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Initial weights of one module; its children were initialised before it."""
        super()._init_weights(module)
        if isinstance(module, BeatsAttention):
            init.ones_(module.gru_rel_pos_const)
        elif isinstance(module, BeatsEncoderLayer):
            gain = (8 * self.config.num_hidden_layers) ** -0.25  # DeepNet's beta; queries and keys have none
            init.xavier_normal_(module.self_attn.q_proj.weight)
            init.xavier_normal_(module.self_attn.k_proj.weight)
            init.xavier_normal_(module.self_attn.v_proj.weight, gain=gain)
            init.xavier_normal_(module.self_attn.out_proj.weight, gain=gain)
            init.xavier_normal_(module.fc1.weight, gain=gain)
            init.xavier_normal_(module.fc2.weight, gain=gain)
        elif isinstance(module, BeatsPositionalConvEmbedding):
            conv = module.conv
            magnitude, direction = conv.parametrizations.weight.original0, conv.parametrizations.weight.original1
            init.normal_(direction, std=2.0 / math.sqrt(conv.kernel_size[0] * conv.in_channels))
            init.copy_(magnitude, torch.linalg.vector_norm(direction, dim=(0, 1), keepdim=True))


class BeatsModel(BeatsPreTrainedModel):
    r"""
    The BEATs encoder: filter bank frames in, one vector for each patch of 16 frames by 16 mel bins out.

    As with Wav2Vec2, HuBERT and WavLM, PyTorch's weight norm refuses `pickle` and `torch.save(model)`, here and in a
    CollapModel: use `save_pretrained` or the `state_dict()`. `copy.deepcopy` works.

    Example:

    ```python
    >>> import torch
    >>> from collap import BeatsConfig, BeatsFeatureExtractor, BeatsModel

    >>> feature_extractor = BeatsFeatureExtractor()
    >>> config = BeatsConfig(hidden_size=96, num_hidden_layers=2, num_attention_heads=6, intermediate_size=192)
    >>> model = BeatsModel(config).eval()
    >>> clips = [torch.rand(16000) - 0.5, torch.rand(8000) - 0.5]  # 1 s and 0.5 s
    >>> inputs = feature_extractor(clips, sampling_rate=16000, return_tensors="pt")
    >>> model(**inputs).last_hidden_state.shape  # 98 frames are 6 time steps of 8 patches
    torch.Size([2, 48, 96])

    ```
    """

    def __init__(self, config: BeatsConfig):
        super().__init__(config)
        self.embeddings = BeatsEmbeddings(config)
        self.encoder = BeatsEncoder(config)
        self.post_init()

    @capture_outputs
    def forward(
        self,
        input_values: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> BaseModelOutput:
        r"""
        Args:
            input_values (`torch.Tensor` of shape `(batch, frames, num_mel_bins)`):
                Normalised log-mel filter bank, 100 frames a second, from [`BeatsFeatureExtractor`].
            attention_mask (`torch.Tensor` of shape `(batch, frames)`, *optional*):
                1 for frames of the clip, 0 for padding. A token is valid if all its 16 frames are, so a clip padded
                at its end gives in its first `8 * (valid frames // 16)` tokens what it gives alone.
            output_hidden_states (`bool`, *optional*): Also return the input and the output of every layer.
            output_attentions (`bool`, *optional*):
                Also return the attention weights `(batch, heads, tokens, tokens)` of every layer. Needs
                `attn_implementation="eager"`.
            return_dict (`bool`, *optional*): Return a tuple if false.

        Returns:
            `BaseModelOutput`, `last_hidden_state` of shape `(batch, 8 * (frames // 16), hidden_size)`: token
            `8 * time step + frequency patch`; zeros at padding.

        Raises:
            ValueError: if a shape is wrong or the input is shorter than one patch.
        """
        self._check_inputs(input_values, attention_mask)
        hidden_states = self.embeddings(input_values.to(self.dtype))
        padding_mask = None if attention_mask is None else ~self._token_mask(attention_mask)
        return BaseModelOutput(last_hidden_state=self.encoder(hidden_states, padding_mask, **kwargs))

    def _token_mask(self, attention_mask: torch.Tensor) -> torch.Tensor:
        """`(batch, frames)` to `(batch, tokens)`, true where all frames of the token are valid."""
        patch_size = self.config.patch_size
        num_steps = attention_mask.shape[1] // patch_size
        frames = attention_mask[:, : num_steps * patch_size].bool().unflatten(1, (num_steps, patch_size))
        return frames.all(dim=-1).repeat_interleave(self.config.num_frequency_patches, dim=-1)

    def _check_inputs(self, input_values: torch.Tensor, attention_mask: torch.Tensor | None) -> None:
        patch_size, num_mel_bins = self.config.patch_size, self.config.num_mel_bins
        if input_values.ndim != 3 or input_values.shape[2] != num_mel_bins or input_values.shape[1] < patch_size:
            raise ValueError(
                f"input_values must have the shape (batch, at least {patch_size} frames, {num_mel_bins} mel bins), "
                f"got {tuple(input_values.shape)}."
            )
        if attention_mask is not None and attention_mask.shape != input_values.shape[:2]:
            raise ValueError(
                f"attention_mask must have the shape (batch, frames) = {tuple(input_values.shape[:2])} of "
                f"input_values, got {tuple(attention_mask.shape)}."
            )
