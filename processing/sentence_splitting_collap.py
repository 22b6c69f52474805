# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""A text into its sentences."""

try:  # only strings need it: a model from the Hub takes lists of sentences without it
    import sentencex
except ImportError:
    sentencex = None


def split_sentences(text: str, language: str = "en") -> list[str]:
    """
    Splits a text by the rules of its language.

    Pieces without a letter or digit (an ellipsis, a bullet, a closing quote) go to the sentence before them, or to the
    one after where there is none before.

    Args:
        text (`str`): A text that is not blank.
        language (`str`): ISO code; sentencex uses English rules for an unknown language.

    Returns:
        `list[str]`: at least one sentence, without white space around it.

    Raises:
        ImportError: if sentencex is not installed.

    Example:

    ```python
    >>> split_sentences("It starts at 3.5 kHz ... Then the choir sings. And it fades!")
    ['It starts at 3.5 kHz ...', 'Then the choir sings.', 'And it fades!']

    ```
    """
    if sentencex is None:
        raise ImportError(
            "Splitting a text into its sentences needs sentencex: pip install sentencex, or pass the text as the list "
            "of its sentences."
        )
    sentences: list[str] = []
    for piece in sentencex.segment(language, text):  # pieces include their white space
        is_sentence = any(character.isalnum() for character in piece)
        if sentences and not (is_sentence and any(character.isalnum() for character in sentences[-1])):
            sentences[-1] += piece
        else:
            sentences.append(piece)
    return [sentence.strip() for sentence in sentences]
