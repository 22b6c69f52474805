# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""A text into its sentences, and a sentence into its clauses."""

import re

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


# Words that begin the next event ("next to a piano", "after all" and "now and then" do not).
_NEXT = (
    r"(?:(?:and|but)\s+)?(?:much\s+)?(?:then|later|next(?!\s+(?:to|door)\b)|after(?!-|\s+all\s*[,;])|afterwards|"
    r"before|until|eventually|finally|(?:followed|preceded)\s+by|at\s+last|"
    r"(?:at|in|near)\s+the\s+(?:very\s+)?(?:beginning|start|end)|it\s+ends|ending\s+(?:in|with))\b"
)
_INSIDE = (  # without a comma
    r"(?<!\bnow)\s+(?=and\s+(?:then|later|finally|followed\s+by)\b)|(?<!\band|.\bis|\bare)\s+(?=followed\s+by\b)"
)
_BORDER = re.compile(rf"\s*[,;]\s*(?={_NEXT})|{_INSIDE}", re.IGNORECASE)
_BARE = re.compile(rf"{_NEXT}\W*", re.IGNORECASE)  # "then" alone tells nothing


def split_clauses(sentence: str) -> list[str]:
    """
    Splits an English sentence where it tells the next event: before "then", "later", "followed by" and the like.

    A sentence is one vector for all its events, a clause is a vector of its own. They keep their order, also where
    "before that" tells what was earlier. [`CollapProcessor`] takes them as the sentences of a text.

    ```python
    >>> split_clauses("A piano opens alone, then drums set in, followed by a choir; it ends with a long fade.")
    ['A piano opens alone', 'then drums set in', 'followed by a choir', 'it ends with a long fade.']

    ```
    """
    clauses = [clause.strip() for clause in _BORDER.split(sentence)]
    return [clause for clause in clauses if clause and not _BARE.fullmatch(clause)] or [sentence.strip()]
