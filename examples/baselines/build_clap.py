# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
r"""
Builds a small transformers `ClapModel` with random weights, to be trained from scratch on a CPU.

    python examples/baselines/build_clap.py --tokenizer FOLDER --output_dir clap
    python examples/train.py --model_name_or_path clap --section_crop_probability 1 --train_manifest train.jsonl \
        --output_dir clap-clips
    python examples/train.py --model_name_or_path clap-clips --train_manifest train.jsonl \
        --eval_manifest validation.jsonl --output_dir clap-songs

First clips with captions of their own, sections of the songs, as CLAP is trained by its authors; then windows of songs
with the captions of whole songs, as it is used here. The second training alone stayed at chance for the 160 steps that
it was tried for, on the demo's 320 songs.

It is CLAP's own design in small: an HTSAT (a Swin transformer on the log-mel spectrogram of 10 s) and a RoBERTa, one
vector each. What is smaller beside the widths and depths: it hears 16 kHz, as CoLLAP does, in place of 48 kHz, with
the same 100 spectra a second and the same 64 mel bins, and its patches are 8 by 8 in place of 4 by 4.

The text tower has the width of the demo's (examples/demo/build_text_tower.py) and a layer more, and reads by its first
token, as CLAP does. What else each has seen differs, and belongs beside each comparison. This CLAP has seen the songs
with their captions and, in the first training, which sentences describe which section. The demo's CoLLAP learns from
captions (and from sections, if it is trained with the loss of moments), on encoders that were pretrained on the tags
of short crops of the same songs, in the place of the released BEATs and Whisper; a ClapModel has no such step here.

The budget of computing is the same if this CLAP is trained for as many seconds as the encoders' pretraining, the
extraction of frames and CoLLAP's training took together. On the demo's songs a step of 16 clips took 0.5 s and a step
of 16 windows with captions of 400 tokens 0.8 s, in seconds of one thread of a CPU that other work ran beside.
"""

import argparse
from pathlib import Path

import torch
from transformers import AutoTokenizer, ClapConfig, ClapFeatureExtractor, ClapModel, ClapProcessor

SAMPLING_RATE = 16_000
AUDIO = {
    "num_mel_bins": 64,
    "spec_size": 256,  # a picture of 1024 spectra by 64 bins, cut into four pieces that lie one below the other
    "patch_size": 8,
    "patch_stride": [8, 8],
    "patch_embeds_hidden_size": 32,
    "depths": [2, 2, 2],
    "num_hidden_layers": 3,
    "num_attention_heads": [2, 4, 8],
    "hidden_size": 128,  # patch_embeds_hidden_size, doubled between the stages
    "hidden_dropout_prob": 0.0,
}
TEXT = {
    "hidden_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 192,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}


def build_clap(tokenizer_folder: str | Path, output_dir: str | Path, projection_dim: int = 96, seed: int = 0) -> None:
    """
    Writes model and processor to `output_dir`.

    Args:
        tokenizer_folder (`str` or `Path`): A tokenizer with begin, pad and end tokens, and a `model_max_length`.
        output_dir (`str` or `Path`): A new folder.
        projection_dim (`int`): Width of the vectors that songs and texts are compared by.
        seed (`int`): Of the random weights.

    Raises:
        ValueError: if the tokenizer does not say how long texts may be, or lacks a token.
    """
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    special = {name: getattr(tokenizer, name) for name in ("pad_token_id", "bos_token_id", "eos_token_id")}
    if tokenizer.model_max_length > 10**6 or None in special.values():
        raise ValueError(
            f"tokenizer_folder must hold a tokenizer with begin, pad and end tokens and a model_max_length, got "
            f"{special} and {tokenizer.model_max_length} in {tokenizer_folder}."
        )
    positions = tokenizer.model_max_length + tokenizer.pad_token_id + 1  # they begin after the padding's
    torch.manual_seed(seed)
    config = ClapConfig(
        projection_dim=projection_dim,
        logit_scale_init_value=1 / 0.03,  # as the demo's models: a short training does better from it
        text_config={"vocab_size": len(tokenizer), "max_position_embeddings": positions, **TEXT, **special},
        audio_config=AUDIO,
    )
    extractor = ClapFeatureExtractor(
        feature_size=AUDIO["num_mel_bins"],
        sampling_rate=SAMPLING_RATE,
        hop_length=SAMPLING_RATE // 100,
        fft_window_size=512,
        frequency_min=50,
        frequency_max=SAMPLING_RATE // 2,
        truncation="rand_trunc",
    )
    ClapModel(config).save_pretrained(output_dir)
    ClapProcessor(extractor, tokenizer).save_pretrained(output_dir)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokenizer", required=True, help="folder of a tokenizer, such as the demo's text tower")
    parser.add_argument("--output_dir", required=True)
    parser.add_argument("--projection_dim", type=int, default=96)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    build_clap(arguments.tokenizer, arguments.output_dir, arguments.projection_dim, arguments.seed)


if __name__ == "__main__":
    main()
