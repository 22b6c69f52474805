# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Audio encoders in half precision or int8: less memory, and less time where the processor has the instructions."""

import logging
import warnings

import torch
from torch import nn

from collap.modeling_collap.modeling_collap_audio import CollapAudioModel

PRECISIONS = ("bfloat16", "float16", "int8")
logger = logging.getLogger(__name__)


def usable_precision(audio_model: CollapAudioModel, precision: str | None) -> str | None:
    """What [`lower_precision`] returns and raises, without a conversion."""
    if precision is None:
        return None
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, got {precision!r}.")
    device = audio_model.device.type
    if precision == "int8" and device != "cpu":
        raise ValueError(f"precision must be bfloat16 or float16 for a model on {device}: int8 is for CPUs.")
    if device == "cpu" and not is_faster_on_this_cpu(precision):
        logger.warning(
            "precision: this CPU is not faster in %s, so the encoders keep the precision of the checkpoint.", precision
        )
        return None
    return precision


def lower_precision(audio_model: CollapAudioModel, precision: str | None) -> str | None:
    """
    Converts the encoders of a model for encoding, in place and for good; the adapter stays as it is.

    Args:
        audio_model ([`CollapAudioModel`]): On the device that it will run on. Its encoders cannot be trained after it.
        precision (`"bfloat16"`, `"float16"` or `"int8"`, *optional*): Of the whole encoders, or of their linear layers
            ([`Int8Linear`]). `None` leaves them as they are.

    Returns:
        `precision`, or `None` if a CPU would be slower with it: a warning says so, and nothing is converted.

    Raises:
        ValueError: if `precision` is none of them, or is `"int8"` and the model is not on a CPU.
    """
    if (precision := usable_precision(audio_model, precision)) is None:
        return None
    for encoder in (audio_model.music_model, audio_model.speech_model):
        if encoder is None:
            continue
        encoder.requires_grad_(False)
        if precision != "int8":
            encoder.to(getattr(torch, precision))
            continue
        for name, layer in list(encoder.named_modules()):
            if type(layer) is nn.Linear:  # not a `SmallLinear`, which has too few outputs to gain anything
                encoder.set_submodule(name, Int8Linear(layer))
    return precision


def is_faster_on_this_cpu(precision: str) -> bool:
    """Whether PyTorch has products of this precision that are faster than those of float32."""
    if precision == "int8":
        has_operators = hasattr(torch, "quantize_per_channel")  # a later PyTorch will lack them
        return has_operators and torch.backends.quantized.engine in ("x86", "fbgemm", "onednn")
    if precision == "bfloat16":
        return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return False


class Int8Linear(nn.Module):
    """
    A linear layer with int8 weights, whose inputs are rounded when they come; for encoding on CPUs only.

    The weights of each output have a scale, and so has each row of the input, by its largest magnitude: a row gives
    the same, whatever other rows there are. (With one scale for the whole input, as in `torch.ao.quantization`, a few
    tokens of Whisper with large values leave no digits for the others.) Inputs have 7 bits, because CPUs without VNNI
    add two products in 16 bits.
    """

    def __init__(self, linear: nn.Linear):
        super().__init__()
        weight = linear.weight.detach().float()  # (out, in)
        scales = weight.abs().amax(1).clamp(min=torch.finfo(torch.float32).tiny).double() / 127
        zeros = torch.zeros(len(scales), dtype=torch.long)
        with warnings.catch_warnings():  # PyTorch will replace it, and has no replacement that is fast on all CPUs
            warnings.filterwarnings("ignore", ".*quantized tensor creation functions.*", UserWarning)
            quantized = torch.quantize_per_channel(weight, scales, zeros, axis=0, dtype=torch.qint8)
        self.bias = linear.bias
        self.packed_weight = torch.ops.quantized.linear_prepack(quantized, None)

    @torch.no_grad()
    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """`(..., in)` in float32 to `(..., out)`."""
        rows = hidden_states.flatten(0, -2)  # (rows, in)
        largest = rows.abs().amax(-1, keepdim=True).clamp(min=torch.finfo(rows.dtype).tiny)  # (rows, 1)
        # The operator rounds to steps of the range of all that it gets. The last row makes that always -1 to 1.
        scaled = rows.new_zeros(rows.shape[0] + 1, rows.shape[1])
        scaled[-1, 0], scaled[-1, 1] = -1.0, 1.0
        torch.div(rows, largest, out=scaled[:-1])
        products = torch.ops.quantized.linear_dynamic(scaled, self.packed_weight, reduce_range=True)[:-1]
        outputs = products * largest if self.bias is None else torch.addcmul(self.bias, products, largest)
        return outputs.unflatten(0, hidden_states.shape[:-1])

    def _save_to_state_dict(self, destination: dict[str, torch.Tensor], prefix: str, keep_vars: bool) -> None:
        """With the weights as int8 and their scales, so that a hash of the model depends on them."""
        super()._save_to_state_dict(destination, prefix, keep_vars)
        weight, _ = torch.ops.quantized.linear_unpack(self.packed_weight)
        destination[prefix + "weight"] = weight.int_repr()
        destination[prefix + "scales"] = weight.q_per_channel_scales()
