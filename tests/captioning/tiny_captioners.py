# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Folders of tiny random captioners and taggers, saved as those on the Hub are."""

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


def save_tiny_captioner(folder: Path, model_type: str) -> str:
    """A random model of one of three types, with its processor and a card."""
    torch.manual_seed(0)
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
