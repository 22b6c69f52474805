# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""A new CoLLAP with its processor from pretrained towers."""

from typing import Any

from transformers import AutoTokenizer

from collap.modeling_collap.modeling_collap import HUB_OPTIONS, CollapModel
from collap.processing.processing_collap import CollapProcessor


def from_towers(
    music: str | None,
    speech: str | None,
    text: str,
    max_text_tokens: int | None = None,
    model_class: type[CollapModel] = CollapModel,
    **model_kwargs: Any,
) -> tuple[CollapModel, CollapProcessor]:
    """
    Builds a CoLLAP, which needs training before it is used, and the processor that fits it.

    Args:
        music, speech (`str` or `None`): Folder or Hub name of a BEATs and of a Whisper; `None` leaves one out.
        text (`str`): Folder or Hub name of a text model with its tokenizer (and of sentence-transformers its pooling).
        max_text_tokens (`int`, *optional*): As in [`CollapProcessor`].
        model_class (`type`): Class of the model; a subclass may score in another way.
        model_kwargs: Of [`CollapModel.from_music_speech_text_pretrained`]: fields of [`CollapConfig`], `dtype`, ...

    Raises:
        TypeError, ValueError: as there, or if the tokenizer does not fit the text model.

    Example:

    ```python
    from collap import from_towers

    towers = "my-beats", "openai/whisper-base", "sentence-transformers/all-MiniLM-L6-v2"
    model, processor = from_towers(*towers, text_granularity="sentence", temporal_position=True)
    ```
    """
    model = model_class.from_music_speech_text_pretrained(music, speech, text, **model_kwargs)
    hub = {name: value for name, value in model_kwargs.items() if name in HUB_OPTIONS}
    tokenizer = AutoTokenizer.from_pretrained(text, **hub)
    return model, CollapProcessor.for_model(model.config, tokenizer, max_text_tokens=max_text_tokens)
