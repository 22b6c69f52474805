# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Folders of tiny random captioners and taggers, saved as those on the Hub are."""

import json
from pathlib import Path

import torch
from tiny_tokenizer import SPECIAL_TOKENS
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    ASTConfig,
    ASTFeatureExtractor,
    ASTForAudioClassification,
    AudioFlamingo3Config,
    AudioFlamingo3ForConditionalGeneration,
    AudioFlamingo3Processor,
    MusicFlamingoConfig,
    MusicFlamingoForConditionalGeneration,
    MusicFlamingoProcessor,
    PreTrainedTokenizerFast,
    Qwen2AudioConfig,
    Qwen2AudioForConditionalGeneration,
    Qwen2AudioProcessor,
    Qwen3OmniMoeConfig,
    Qwen3OmniMoeForConditionalGeneration,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2ForSequenceClassification,
    WhisperFeatureExtractor,
)

CARD = "---\nlicense: cc-by-4.0\n---\nA tiny model.\n"
# As those of the Flamingos: the audio of a message, then its text.
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ message['role'] }} {% for part in message['content'] %}"
    "{% if part['type'] == 'audio' %}<sound>{% else %}{{ part['text'] }}{% endif %}{% endfor %} {% endfor %}"
)
ENCODER = {
    "num_mel_bins": 80, "d_model": 16, "encoder_layers": 1, "encoder_attention_heads": 2, "encoder_ffn_dim": 16,
    "max_source_positions": 1500,
}  # fmt: skip


# Qwen3-Omni's tokens, by the names that its tokenizer has for them.
OMNI_TOKENS = {
    "audio_token": "<|audio_pad|>", "audio_bos_token": "<|audio_start|>", "audio_eos_token": "<|audio_end|>",
    "image_token": "<|image_pad|>", "video_token": "<|video_pad|>",
    "vision_bos_token": "<|vision_start|>", "vision_eos_token": "<|vision_end|>",
}  # fmt: skip


def save_tiny_captioner(folder: Path, model_type: str) -> str:
    """A random model of one of four types, with its processor and a card."""
    torch.manual_seed(0)
    if model_type == "qwen3_omni_moe":
        return save_tiny_omni(folder)
    audio_tokens = ["<|AUDIO|>", "<|audio_bos|>", "<|audio_eos|>", "<sound>", "<|sound_bos|>", "<|sound_eos|>"]
    words = ["user", "assistant", "music", "a", "guitar", "plays", "."]
    ids = {word: index for index, word in enumerate([*SPECIAL_TOKENS.values(), *audio_tokens, *words])}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens(audio_tokens)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **SPECIAL_TOKENS)
    text_config = {
        "model_type": "qwen2", "vocab_size": len(ids), "hidden_size": 16, "intermediate_size": 16,
        "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 2, "pad_token_id": 1,
        "bos_token_id": 0, "eos_token_id": 2,
    }  # fmt: skip
    extractor = WhisperFeatureExtractor(feature_size=80)
    if model_type == "qwen2_audio":
        audio_config = ENCODER | {"model_type": "qwen2_audio_encoder"}
        config = Qwen2AudioConfig(
            audio_config=audio_config, text_config=text_config, audio_token_index=ids["<|AUDIO|>"]
        )
        model, processor = Qwen2AudioForConditionalGeneration(config), Qwen2AudioProcessor(extractor, tokenizer)
    else:
        audio_config = ENCODER | {"model_type": "audioflamingo3_encoder"}
        fields = {"audio_config": audio_config, "text_config": text_config, "audio_token_id": ids["<sound>"]}
        if model_type == "musicflamingo":
            fields |= {"audio_bos_token_id": ids["<|sound_bos|>"], "audio_eos_token_id": ids["<|sound_eos|>"]}
            model = MusicFlamingoForConditionalGeneration(MusicFlamingoConfig(**fields))
            processor = MusicFlamingoProcessor(extractor, tokenizer, CHAT_TEMPLATE)
        else:
            model = AudioFlamingo3ForConditionalGeneration(AudioFlamingo3Config(**fields))
            processor = AudioFlamingo3Processor(extractor, tokenizer, CHAT_TEMPLATE)
    return _save(folder, model, processor)


def save_tiny_omni(folder: Path) -> str:
    """A random Qwen3-Omni with its files as on the Hub: no processor's, and the chat template in a file of its own."""
    words = ["user", "assistant", "music", "a", "guitar", "plays", "."]
    ids = {word: index for index, word in enumerate([*SPECIAL_TOKENS.values(), *OMNI_TOKENS.values(), *words])}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens(list(OMNI_TOKENS.values()))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **SPECIAL_TOKENS, extra_special_tokens=OMNI_TOKENS)
    text_config = {
        "vocab_size": len(ids), "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "head_dim": 8,
        "num_attention_heads": 2, "num_key_value_heads": 2, "moe_intermediate_size": 8, "num_experts": 4,
        "num_experts_per_tok": 2, "pad_token_id": 1, "initializer_range": 1.0,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0, "mrope_section": [2, 1, 1]},
    }  # fmt: skip
    audio_config = ENCODER | {
        "num_mel_bins": 128,
        "output_dim": 16,
        "downsample_hidden_size": 4,
        "initializer_range": 1.0,
    }
    vision_config = {
        "depth": 1, "hidden_size": 16, "num_heads": 2, "intermediate_size": 16, "out_hidden_size": 16,
        "num_position_embeddings": 16, "deepstack_visual_indexes": [0],
    }  # fmt: skip
    tokens = {
        "audio_token_id": ids["<|audio_pad|>"], "audio_start_token_id": ids["<|audio_start|>"],
        "image_token_id": ids["<|image_pad|>"], "video_token_id": ids["<|video_pad|>"],
        "vision_start_token_id": ids["<|vision_start|>"],
    }  # fmt: skip
    thinker = {"text_config": text_config, "audio_config": audio_config, "vision_config": vision_config, **tokens}
    config = Qwen3OmniMoeConfig(thinker_config=thinker | {"initializer_range": 1.0}, enable_audio_output=False)
    tokenizer.save_pretrained(folder)
    template = CHAT_TEMPLATE.replace("<sound>", "<|audio_start|><|audio_pad|><|audio_end|>")
    template += "{% if add_generation_prompt %}assistant{% endif %}"
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": template}), encoding="utf-8")
    model = Qwen3OmniMoeForConditionalGeneration(config)
    model.config.enable_audio_output = True  # but the part that speaks is not there, nor is it asked for
    return _save(folder, model, WhisperFeatureExtractor(feature_size=128, chunk_length=300))


def save_tiny_tagger(folder: Path, model_type: str) -> str:
    """A random classifier of audio with four tags."""
    torch.manual_seed(0)
    labels = {"id2label": dict(enumerate(["Guitar", "Drums", "Singing", "Piano"]))}
    if model_type == "audio-spectrogram-transformer":
        sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
        config = ASTConfig(**sizes, **labels)
        return _save(folder, ASTForAudioClassification(config), ASTFeatureExtractor())
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    convolutions = {"conv_dim": [8] * 7, "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2}
    config = Wav2Vec2Config(**sizes, **convolutions, **labels, classifier_proj_size=8)
    return _save(folder, Wav2Vec2ForSequenceClassification(config), Wav2Vec2FeatureExtractor())


def _save(folder: Path, model, processor) -> str:
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    (folder / "README.md").write_text(CARD, encoding="utf-8")
    return str(folder)
