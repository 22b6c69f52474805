# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""German nouns in their cases, with articles and an adjective."""

from dataclasses import dataclass

# Endings by gender (m, f, n, p = plural) in the order nominative, accusative, dative, genitive.
_CASES = ("nominative", "accusative", "dative", "genitive")
_ENDINGS_OF_EIN = {"m": ("", "en", "em", "es"), "f": ("e", "e", "er", "er"), "n": ("", "", "em", "es")}
_DER = {
    "m": ("der", "den", "dem", "des"),
    "f": ("die", "die", "der", "der"),
    "n": ("das", "das", "dem", "des"),
    "p": ("die", "die", "den", "der"),
}
_ENDINGS_OF_DIES = {
    "m": ("er", "en", "em", "es"),
    "f": ("e", "e", "er", "er"),
    "n": ("es", "es", "em", "es"),
    "p": ("e", "e", "en", "er"),
}
# Adjectives after "ein" (in the plural: without an article) and after "der" or "dieser".
_MIXED = {
    "m": ("er", "en", "en", "en"),
    "f": ("e", "e", "en", "en"),
    "n": ("es", "es", "en", "en"),
    "p": ("e", "e", "en", "er"),
}
_WEAK = {
    "m": ("e", "en", "en", "en"),
    "f": ("e", "e", "en", "en"),
    "n": ("e", "e", "en", "en"),
    "p": ("en", "en", "en", "en"),
}


@dataclass(frozen=True)
class GermanNoun:
    """A noun in a frame: `{lead.ein}`, `{lead.einen}`, `{lead.einem}` for the cases without and `{lead.der}`,
    `{lead.den}`, `{lead.dem}`, `{lead.des}` with the definite article; `{lead[spielt/spielen]}` for its verb.

    Args:
        text (`str`): the noun in the nominative.
        gender (`str`): "m", "f", "n" or "p" for a plural.
        adjective (`str`): stem of an adjective before it, or "".
        addition (`str`): what follows the noun and stays the same in all cases, or "".
        demonstrative (`bool`): whether "dieser" stands where the definite article would.
    """

    text: str
    gender: str
    adjective: str = ""
    addition: str = ""
    demonstrative: bool = False

    def __getitem__(self, verb: str) -> str:
        """The form of a verb, given as "singular/plural"."""
        singular, plural = verb.split("/")
        return plural if self.gender == "p" else singular

    def _join(self, article: str, ending: str, case: int) -> str:
        words = [article, self.adjective + ending if self.adjective else "", self._inflected(case), self.addition]
        return " ".join(word for word in words if word)

    def _inflected(self, case: int) -> str:
        if self.gender == "p":
            return self.text + "n" if _CASES[case] == "dative" and self.text[-1] not in "ns" else self.text
        if _CASES[case] == "genitive" and self.gender in "mn":
            if self.text.endswith("us"):
                return self.text
            return self.text + ("es" if self.text.endswith(("s", "ß", "z")) else "s")
        return self.text

    def _indefinite(self, case: int) -> str:
        article = "" if self.gender == "p" else f"ein{_ENDINGS_OF_EIN[self.gender][case]}"
        return self._join(article, _MIXED[self.gender][case], case)

    def _definite(self, case: int) -> str:
        article = f"dies{_ENDINGS_OF_DIES[self.gender][case]}" if self.demonstrative else _DER[self.gender][case]
        return self._join(article, _WEAK[self.gender][case], case)

    @property
    def ein(self) -> str:
        """Nominative without the definite article."""
        return self._indefinite(0)

    @property
    def einen(self) -> str:
        """Accusative without the definite article."""
        return self._indefinite(1)

    @property
    def einem(self) -> str:
        """Dative without the definite article."""
        return self._indefinite(2)

    @property
    def der(self) -> str:
        """Nominative with the definite article."""
        return self._definite(0)

    @property
    def den(self) -> str:
        """Accusative with the definite article."""
        return self._definite(1)

    @property
    def dem(self) -> str:
        """Dative with the definite article."""
        return self._definite(2)

    @property
    def des(self) -> str:
        """Genitive with the definite article."""
        return self._definite(3)

    @property
    def relative(self) -> str:
        """The relative pronoun in the nominative."""
        return _DER[self.gender][0]

    @property
    def within(self) -> str:
        """ "in" with the dative: "im zweiten Refrain", "in dieser Passage"."""
        return f"in {self.dem}".replace("in dem ", "im ", 1)


def german_noun(entry: str) -> GermanNoun:
    """Reads a noun of a list: "Flöte:f", "verzerrt E-Gitarre:f", "Schlagzeug:n:im halben Tempo"."""
    name, gender, *addition = entry.split(":")
    *adjectives, text = name.split(" ")
    return GermanNoun(text, gender, " ".join(adjectives), "".join(addition))
