# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""A small RoBERTa (or XLM-R) with random weights and a tokenizer trained on captions: the text tower of the demo."""

import argparse
import json
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoModel, PreTrainedTokenizerFast, RobertaConfig, XLMRobertaConfig, set_seed

SPECIAL_TOKENS = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
MAX_TOKENS = 768  # a whole caption is one sequence in the paper's reading


def build_text_tower(
    manifest: Path,
    output_dir: Path,
    vocab_size: int = 2000,
    hidden_size: int = 96,
    config_class: type[RobertaConfig] | type[XLMRobertaConfig] = RobertaConfig,
) -> None:
    """
    Writes tokenizer and model to `output_dir`.

    Args:
        manifest (`Path`): `train.jsonl` of the song corpus; its captions train the tokenizer.
        output_dir (`Path`): Made if it is not there; the weights are written last.
        vocab_size (`int`): Tokens of the vocabulary.
        hidden_size (`int`): Width of the model, which has one layer.
        config_class (`type`): Which kind of model.
    """
    songs = [json.loads(line) for line in manifest.read_text().splitlines()]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)  # bytes: no word is unknown
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=SPECIAL_TOKENS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator((sentence for song in songs for text in song["texts"] for sentence in text), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        special_tokens=[(token, tokenizer.token_to_id(token)) for token in ("<s>", "</s>")],
    )
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        mask_token="<mask>",
        model_max_length=MAX_TOKENS,
    )
    wrapped.save_pretrained(output_dir)
    set_seed(0)
    config = config_class(
        vocab_size=len(wrapped),
        hidden_size=hidden_size,
        num_hidden_layers=1,
        num_attention_heads=4,
        intermediate_size=2 * hidden_size,
        max_position_embeddings=MAX_TOKENS + 2,
        type_vocab_size=1,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        pad_token_id=wrapped.pad_token_id,
        bos_token_id=wrapped.bos_token_id,
        eos_token_id=wrapped.eos_token_id,
    )
    AutoModel.from_config(config, add_pooling_layer=False).save_pretrained(output_dir)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--manifest", type=Path, required=True, help="train.jsonl of the song corpus")
    parser.add_argument("--output_dir", type=Path, required=True)
    arguments = parser.parse_args()
    build_text_tower(arguments.manifest, arguments.output_dir)


if __name__ == "__main__":
    main()
