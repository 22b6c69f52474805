# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""A processor that does not fit a model is refused, with all differences at once; right pairs are not."""

import itertools

import pytest
from tiny_models import CHUNK_LENGTH_S, tiny_beats_config, tiny_config, tiny_text_config, tiny_whisper_config
from tiny_tokenizer import tiny_tokenizer
from transformers import (
    AutoConfig,
    BertConfig,
    BertTokenizer,
    CanineConfig,
    CanineTokenizer,
    GPT2Config,
    GPT2Tokenizer,
    ModernBertConfig,
    RobertaConfig,
    RobertaTokenizer,
    T5Config,
    T5Tokenizer,
)

from collap import CollapConfig, CollapFeatureExtractor, CollapProcessor

WORDS = [f"word{index}" for index in range(20)]


def numbered(*tokens: str) -> dict[str, int]:
    return {token: index for index, token in enumerate(tokens)}


# Tokenizers with the classes, the special tokens and their order of the real ones, and few words.
TOKENIZERS = {
    "roberta": lambda: RobertaTokenizer(numbered("<s>", "<pad>", "</s>", "<unk>", *WORDS, "<mask>"), []),
    "bert": lambda: BertTokenizer(numbered("[PAD]", *WORDS, "[UNK]", "[CLS]", "[SEP]", "[MASK]")),
    "gpt2": lambda: GPT2Tokenizer(numbered(*"abcdefghijklmnopqrst", "<|endoftext|>"), []),  # no pad token
    "t5": lambda: T5Tokenizer([("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *((word, -1.0) for word in WORDS)]),
}
TEXT_CONFIGS = {
    "roberta": RobertaConfig(vocab_size=25),
    "bert": BertConfig(vocab_size=25),
    "gpt2": GPT2Config(vocab_size=21, bos_token_id=20, eos_token_id=20),
    "t5": T5Config(vocab_size=32),  # fewer than the 100 sentinels of its tokenizer need, as a model cut for encoding
}


def fitting(text_config) -> CollapConfig:
    return tiny_config(text_config=text_config)


@pytest.mark.parametrize("name", TOKENIZERS)
def test_right_pairs_fit(name):
    config = fitting(TEXT_CONFIGS[name])
    processor = CollapProcessor.for_model(config, TOKENIZERS[name](), max_text_tokens=9, language="de")
    assert (processor.max_text_tokens, processor.language) == (9, "de")
    processor.check_model(config)
    rows = processor(text=["a b c", "d"], return_tensors="pt")["input_ids"]
    assert rows.max() < config.text_config.vocab_size


@pytest.mark.parametrize(("tokenizer", "text_model"), [*itertools.permutations(TOKENIZERS, 2)])
def test_the_tokenizer_of_another_text_model_is_refused(tokenizer, text_model):
    """Also where the vocabulary is large enough."""
    config = fitting(TEXT_CONFIGS[text_model])
    config.text_config.vocab_size, before = 1000, config.text_config.vocab_size
    try:
        if (tokenizer, text_model) in [("t5", "bert")]:  # both pad with 0, and BERT's configuration names no other
            CollapProcessor.for_model(config, TOKENIZERS[tokenizer]())
        else:
            with pytest.raises(ValueError, match=r"^The processor does not fit the model: .*token"):
                CollapProcessor.for_model(config, TOKENIZERS[tokenizer]())
    finally:
        config.text_config.vocab_size = before


def test_special_tokens_that_right_pairs_may_differ_in():
    """Each is that of a published model."""
    # BERT's tokenizer, and a configuration that was written with RoBERTa's ids
    chinese = BertConfig(vocab_size=25, bos_token_id=0, eos_token_id=2, pad_token_id=0)
    CollapProcessor.for_model(fitting(chinese), TOKENIZERS["bert"]())
    # GPT-2's default ids, of which a smaller vocabulary has none
    CollapProcessor.for_model(fitting(GPT2Config(vocab_size=21)), TOKENIZERS["gpt2"]())
    # Several end tokens, the tokenizer's among them
    several = GPT2Config(vocab_size=30, eos_token_id=[20, 25], bos_token_id=22)
    CollapProcessor.for_model(fitting(several), TOKENIZERS["gpt2"]())
    # A special token that no text contains, beyond the embeddings
    tokenizer = TOKENIZERS["bert"]()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"]})
    CollapProcessor.for_model(fitting(TEXT_CONFIGS["bert"]), tokenizer)
    # A model of characters, without a vocabulary
    CollapProcessor.for_model(fitting(CanineConfig()), CanineTokenizer())
    # No pad token, and a configuration with one
    CollapProcessor.for_model(
        fitting(GPT2Config(vocab_size=21, eos_token_id=20, pad_token_id=0)), TOKENIZERS["gpt2"]()
    )
    # Tokens that begin and end a text, named twice
    modern = ModernBertConfig(
        vocab_size=25, pad_token_id=0, bos_token_id=22, cls_token_id=22, eos_token_id=23, sep_token_id=23
    )
    CollapProcessor.for_model(fitting(modern), TOKENIZERS["bert"]())


def test_tokens_without_embeddings():
    tokenizer = TOKENIZERS["gpt2"]()
    tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    message = r"token ids go up to 21, vocab_size of the model is 21"
    with pytest.raises(ValueError, match=message):
        CollapProcessor.for_model(fitting(TEXT_CONFIGS["gpt2"]), tokenizer)
    CollapProcessor.for_model(fitting(GPT2Config(vocab_size=22, eos_token_id=20)), tokenizer)  # it was resized
    tokenizer = TOKENIZERS["bert"]()
    tokenizer.add_tokens(["verse"])
    with pytest.raises(ValueError, match=r"token ids go up to 25, vocab_size of the model is 25"):
        CollapProcessor.for_model(fitting(TEXT_CONFIGS["bert"]), tokenizer)


def test_a_tokenizer_without_a_limit_gets_the_models():
    """Else 2,000 words ended in an index that is out of bounds."""
    config = fitting(RobertaConfig(vocab_size=25, max_position_embeddings=514))
    tokenizer = tiny_tokenizer("la")
    tokenizer.model_max_length = 10**30  # as transformers writes "no limit"
    processor = CollapProcessor.for_model(config, tokenizer)
    assert processor.max_text_tokens == 512
    with pytest.raises(ValueError, match=r"^text\[0\] must have at most 512 tokens, got 2002: pass truncation=True"):
        processor(text="la " * 2000)
    assert len(processor(text="la " * 2000, truncation=True)["input_ids"][0]) == 512
    # A limit of the tokenizer's own stays, unless the model has fewer positions.
    for own, expected in ((100, None), (512, None), (1024, 512)):
        tokenizer.model_max_length = own
        assert CollapProcessor.for_model(config, tokenizer).max_text_tokens == expected
    processor.max_text_tokens = 513
    with pytest.raises(ValueError, match="max_text_tokens is 513, the text model takes 1 to 512"):
        processor.check_model(config)


def test_all_differences_at_once():
    config = tiny_config(text_config=RobertaConfig(vocab_size=25), text_granularity="sentence", music_config=None)
    extractor = CollapFeatureExtractor(chunk_length_s=1.0, num_speech_mel_bins=128)
    processor = CollapProcessor(extractor, TOKENIZERS["bert"]())
    with pytest.raises(ValueError, match="does not fit") as error:
        processor.check_model(config)
    assert str(error.value) == (
        "The processor does not fit the model: chunk_length_s is 1.0, the model needs 0.64; music is True, the model "
        "needs False; num_speech_mel_bins is 128, the model needs 80; pad_token_id is 0, the model needs 1; "
        "text_granularity is document, the model needs sentence. CollapProcessor.for_model(config, tokenizer) makes "
        "one that fits."
    )
    with pytest.raises(
        ValueError, match=r"chunk_length_s is 1.0, .* num_speech_mel_bins is 128, the model needs 80\."
    ):
        extractor.check_model(config)


def test_mel_bins_that_no_extractor_of_songs_makes():
    config = tiny_config(music_config=tiny_beats_config(num_mel_bins=64))
    with pytest.raises(ValueError, match="feature_size is 128, the model needs 64"):
        CollapFeatureExtractor(chunk_length_s=CHUNK_LENGTH_S).check_model(config)


def test_an_encoder_that_one_has_alone():
    speech_only = CollapFeatureExtractor(chunk_length_s=CHUNK_LENGTH_S, music=False)
    with pytest.raises(ValueError, match=r": music is False, the model needs True\."):
        speech_only.check_model(tiny_config())
    speech_only.check_model(tiny_config(music_config=None))
    with pytest.raises(
        ValueError, match=r": music is False, the model needs True; speech is True, the model needs False\."
    ):
        speech_only.check_model(tiny_config(speech_config=None))  # and nothing is said of mel bins


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, (CHUNK_LENGTH_S, True, True, 80, "document")),
        ({"music_config": None, "text_granularity": "sentence"}, (CHUNK_LENGTH_S, False, True, 80, "sentence")),
        ({"speech_config": None, "chunk_length_s": 1.28}, (1.28, True, False, 80, "document")),
        ({"speech_config": tiny_whisper_config(num_mel_bins=128)}, (CHUNK_LENGTH_S, True, True, 128, "document")),
    ],
)
def test_the_processor_of_a_configuration(fields, expected, tokenizer, tmp_path):
    config = tiny_config(**fields)
    tokenizer.save_pretrained(tmp_path / "text")
    for given in (tokenizer, tmp_path / "text", str(tmp_path / "text")):
        processor = CollapProcessor.for_model(config, given)
        extractor = processor.feature_extractor
        encoders = extractor.music, extractor.speech, extractor.num_speech_mel_bins
        assert (extractor.chunk_length_s, *encoders, processor.text_granularity) == expected
        assert processor.tokenizer.get_vocab() == tokenizer.get_vocab()
    processor.save_pretrained(tmp_path / "saved")
    CollapProcessor.from_pretrained(tmp_path / "saved").check_model(config)


def test_a_published_text_model_fits(shared_data):
    folder = shared_data.parent / "models" / "all-MiniLM-L6-v2"
    if not folder.is_dir():
        pytest.skip(f"no model at {folder}")
    text_config = AutoConfig.from_pretrained(folder)
    CollapProcessor.for_model(fitting(text_config), folder)
    with pytest.raises(ValueError, match=r"ids go up to 30521, vocab_size of the model is 50; pad_token_id"):
        CollapProcessor.for_model(fitting(tiny_text_config()), folder)
