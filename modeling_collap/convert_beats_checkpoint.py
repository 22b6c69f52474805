# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""
Converts a BEATs checkpoint of Microsoft (microsoft/unilm, `beats/`) to a folder that `from_pretrained` loads:

    collap convert-beats BEATs_iter3_plus_AS2M.pt beats-base

The classifier of a fine-tuned checkpoint is left out.
"""

import argparse
import json
import logging
import os
import re
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError

from .configuration_beats import BeatsConfig
from .modeling_beats import BeatsModel

logger = logging.getLogger(__name__)

# Name in the original configuration -> field of BeatsConfig.
CONFIG_FIELDS = {
    "input_patch_size": "patch_size",
    "embed_dim": "embed_dim",
    "encoder_embed_dim": "hidden_size",
    "encoder_layers": "num_hidden_layers",
    "encoder_attention_heads": "num_attention_heads",
    "encoder_ffn_embed_dim": "intermediate_size",
    "activation_fn": "hidden_act",
    "dropout": "hidden_dropout",
    "attention_dropout": "attention_dropout",
    "activation_dropout": "activation_dropout",
    "dropout_input": "feat_proj_dropout",
    "encoder_layerdrop": "layerdrop",
    "conv_pos": "num_conv_pos_embeddings",
    "conv_pos_groups": "num_conv_pos_embedding_groups",
    "num_buckets": "num_buckets",
    "max_distance": "max_bucket_distance",
}
# What every released checkpoint has, and BeatsModel therefore has built in.
BUILT_IN = {
    "conv_bias": False,
    "deep_norm": True,
    "gru_rel_pos": True,
    "layer_norm_first": False,
    "relative_position_embedding": True,
}
# Settings of the training or of the classifier, without effect on the encoder's output.
WITHOUT_EFFECT = {"finetuned_model", "layer_wise_gradient_decay_ratio", "predictor_class", "predictor_dropout"}

PREDICTOR_PREFIX = "predictor."
POSITION_BIAS = "encoder.layers.{}.self_attn.relative_attention_bias.weight"
# Name in BeatsModel -> name in the checkpoint; names that no pattern matches are the same in both.
KEY_PATTERNS = (
    (r"^embeddings\.patch_embedding\.", "patch_embedding."),
    (r"^embeddings\.layer_norm\.", "layer_norm."),
    (r"^embeddings\.projection\.", "post_extract_proj."),
    (r"^encoder\.pos_conv_embed\.conv\.bias$", "encoder.pos_conv.0.bias"),
    (r"^encoder\.pos_conv_embed\.conv\.parametrizations\.weight\.original0$", "encoder.pos_conv.0.weight_g"),
    (r"^encoder\.pos_conv_embed\.conv\.parametrizations\.weight\.original1$", "encoder.pos_conv.0.weight_v"),
    (r"^encoder\.relative_position_bias\.embedding\.weight$", POSITION_BIAS.format(0)),
    (r"\.gru_rel_pos_linear\.", ".grep_linear."),
    (r"\.gru_rel_pos_const$", ".grep_a"),
)

# What `BeatsFeatureExtractor().save_pretrained` writes; a test holds the two together. (The modeling and the
# processing folder never import each other.)
PREPROCESSOR_CONFIG = {
    "feature_extractor_type": "BeatsFeatureExtractor",
    "feature_size": 128,
    "padding_side": "right",
    "padding_value": 0.0,
    "return_attention_mask": True,
    "sampling_rate": 16000,
}


def original_key(key: str) -> str:
    """Name in Microsoft's checkpoints of the weight that [`BeatsModel`] calls `key`."""
    for pattern, original in KEY_PATTERNS:
        key = re.sub(pattern, original, key)
    return key


def convert_config(cfg: Mapping[str, Any]) -> BeatsConfig:
    """
    Converts the `cfg` of a checkpoint.

    Raises:
        ValueError: if a setting is missing, unknown or not supported; it names all of them.
    """
    missing = sorted((CONFIG_FIELDS.keys() | BUILT_IN.keys()) - cfg.keys())
    unknown = sorted(map(str, cfg.keys() - CONFIG_FIELDS.keys() - BUILT_IN.keys() - WITHOUT_EFFECT))
    if missing or unknown:
        raise ValueError(f"cfg of the checkpoint is no BEATs encoder's: missing {missing}, unknown {unknown}.")
    unsupported = {name: cfg[name] for name, value in BUILT_IN.items() if cfg[name] is not value}
    if unsupported:
        expected = {name: BUILT_IN[name] for name in unsupported}
        raise ValueError(f"cfg of the checkpoint has {unsupported}; only {expected} is supported.")
    try:
        return BeatsConfig(**{field: cfg[name] for name, field in CONFIG_FIELDS.items()})
    except StrictDataclassError as error:
        raise ValueError(f"cfg of the checkpoint is no BEATs encoder's: {error}") from error


def convert_state_dict(state_dict: Mapping[str, torch.Tensor], config: BeatsConfig) -> dict[str, torch.Tensor]:
    """
    Gives the weights of a checkpoint the names of [`BeatsModel`], and accounts for every one of them.

    The classifier of a fine-tuned checkpoint is dropped. Of the relative position bias, which the original saves once
    for each layer, one is saved.

    Raises:
        ValueError: if weights are missing, unknown, of the wrong shape or no finite real numbers, or if the copies of
            the bias differ; it names them.
    """
    spoilt = [name for name, weight in state_dict.items() if not (isinstance(name, str) and _is_finite(weight))]
    if spoilt:
        raise ValueError(f"The checkpoint's weights must be tensors of finite real numbers, {spoilt} are not.")
    layers = len({name.split(".")[2] for name in state_dict if name.startswith("encoder.layers.")})
    if layers != config.num_hidden_layers:  # before so many are built
        raise ValueError(f"cfg of the checkpoint has encoder_layers={config.num_hidden_layers}, its weights {layers}.")
    with torch.device("meta"):
        expected = BeatsModel(config).state_dict()
    copies = [POSITION_BIAS.format(layer) for layer in range(1, config.num_hidden_layers)]
    predictor = sorted(key for key in state_dict if key.startswith(PREDICTOR_PREFIX))

    originals = {original_key(key): key for key in expected}
    missing = sorted((originals.keys() | set(copies)) - state_dict.keys())
    unknown = sorted(state_dict.keys() - originals.keys() - set(copies) - set(predictor))
    if missing or unknown:
        raise ValueError(f"The checkpoint's weights do not fit its cfg: missing {missing}, unknown {unknown}.")
    wrong_shapes = {
        original: f"{tuple(state_dict[original].shape)} instead of {tuple(expected[key].shape)}"
        for original, key in originals.items()
        if state_dict[original].shape != expected[key].shape
    }
    if wrong_shapes:
        raise ValueError(f"The checkpoint's weights do not fit its cfg: {wrong_shapes}.")
    bias = state_dict[POSITION_BIAS.format(0)]
    differing = [copy for copy in copies if not torch.equal(state_dict[copy], bias)]
    if differing:
        raise ValueError(f"All layers share one relative position bias, but {differing} differ from layer 0's.")

    if predictor:
        logger.warning("Dropped the classifier of a fine-tuned checkpoint: %s.", ", ".join(predictor))
    return {key: state_dict[original] for original, key in originals.items()}


def _is_finite(weight: Any) -> bool:
    is_real = torch.is_tensor(weight) and weight.layout == torch.strided and weight.is_floating_point()
    return is_real and bool(weight.float().isfinite().all())


def _read_checkpoint(path: Path) -> Any:
    if not path.is_file():  # of the others a FIFO would be waited for
        raise FileNotFoundError(f"checkpoint must be a file, got {str(path)!r}.")
    try:
        if zipfile.is_zipfile(path) and (damaged := zipfile.ZipFile(path).testzip()):  # torch.load checks no sums
            raise zipfile.BadZipFile(f"The checksum of {damaged} is wrong.")
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever the bytes lead to, in zipfile, pickle or torch
        raise ValueError(f"{str(path)!r} is damaged, or no file of torch.save that holds weights only.") from error


def convert_beats_checkpoint(checkpoint_path: str | os.PathLike, output_dir: str | os.PathLike) -> BeatsModel:
    """
    Converts a checkpoint file and writes model (safetensors), configuration and feature extractor to a folder.

    The folder appears when it is complete, or not at all.

    Args:
        checkpoint_path: Microsoft's `.pt` file. It is read with `weights_only=True`, so it cannot run code.
        output_dir: Folder to write; must not exist, or be empty.

    Returns:
        The converted model, in eval mode.

    Raises:
        FileNotFoundError: if there is no checkpoint.
        FileExistsError: if `output_dir` is there and is not an empty folder.
        ValueError: if the file is damaged, or not a BEATs checkpoint that [`BeatsModel`] can hold exactly.
    """
    output_dir = Path(output_dir)
    if output_dir.exists() and (not output_dir.is_dir() or any(output_dir.iterdir())):
        raise FileExistsError(f"output_dir must be a new or an empty folder, {str(output_dir)!r} is not.")
    checkpoint = _read_checkpoint(Path(checkpoint_path))
    parts = checkpoint if isinstance(checkpoint, dict) else {}
    cfg, weights = parts.get("cfg"), parts.get("model")
    if not isinstance(cfg, dict) or not isinstance(weights, dict) or parts.keys() - {"cfg", "model", "label_dict"}:
        found = {str(name): type(value).__name__ for name, value in parts.items()} or type(checkpoint).__name__
        raise ValueError(
            f"{str(checkpoint_path)!r} is no BEATs checkpoint: expected the dicts 'cfg', 'model' and, if fine-tuned, "
            f"'label_dict', got {found}."
        )
    config = convert_config(cfg)
    state_dict = convert_state_dict(weights, config)
    model = BeatsModel(config)
    model.load_state_dict(state_dict)

    output_dir.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{output_dir.name}.", dir=output_dir.parent) as scratch:
        unfinished = Path(scratch) / "model"
        model.save_pretrained(unfinished)
        (unfinished / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR_CONFIG, indent=2) + "\n")
        for path in unfinished.iterdir():
            with path.open("rb") as written:
                os.fsync(written.fileno())
        if output_dir.exists():
            output_dir.rmdir()  # empty, as checked above
        unfinished.rename(output_dir)
    return model.eval()


def convert_beats(command_line: list[str]) -> None:
    """`collap convert-beats`: converts a checkpoint for `from_pretrained`."""
    parser = argparse.ArgumentParser(prog="collap convert-beats", description=__doc__)
    parser.add_argument("checkpoint", help="the .pt file, pretrained or fine-tuned")
    parser.add_argument("output_dir", help="folder to write; must be new or empty")
    arguments = parser.parse_args(command_line)
    model = convert_beats_checkpoint(arguments.checkpoint, arguments.output_dir)
    print(f"Wrote {model.num_parameters():,} parameters to {arguments.output_dir}")
