"""Viseme table: mouth opening, width, closure and dominance for each ARPABET phone, and IPA to ARPABET."""

from functools import lru_cache
from typing import Final, NamedTuple


class Viseme(NamedTuple):
    """The mouth shape (viseme) of a phone."""

    open: float
    """Lip aperture: 0 shut .. 1 widest vowel."""
    width: float
    """Mouth width: -1 rounded .. +1 spread."""
    closure: float
    """Lip closure 0..1; 1: the lips must meet."""
    dominance: float
    """Weight relative to neighboring phones in coarticulation."""


SILENCE: Final = "SIL"
BILABIALS: Final = frozenset({"P", "B", "M"})

_VOWELS: Final = {
    "AA": (0.95, 0.0),
    "AE": (0.85, 0.4),
    "AH": (0.60, 0.05),
    "AO": (0.75, -0.5),
    "EH": (0.60, 0.35),
    "ER": (0.40, -0.3),
    "IH": (0.40, 0.4),
    "IY": (0.30, 0.8),
    "UH": (0.40, -0.6),
    "UW": (0.28, -1.0),
}
_DIPHTHONGS: Final = {
    "EY": ("EH", "IY"),
    "AY": ("AA", "IH"),
    "AW": ("AA", "UH"),
    "OW": ("AO", "UW"),
    "OY": ("AO", "IH"),
}
"""First and last vowel; wide diphthongs end before they reach a closed vowel."""
NUCLEUS_SHARE: Final = 0.6
"""Share of a diphthong's duration that its first vowel takes."""
_CONSONANTS_AND_SILENCE: Final = {
    "P B M": Viseme(0.0, 0.0, 1.0, 1.2),
    "F V": Viseme(0.10, 0.15, 0.55, 0.9),
    "W": Viseme(0.18, -1.0, 0.0, 1.0),
    "SH ZH CH JH": Viseme(0.22, -0.55, 0.0, 0.8),
    "S Z": Viseme(0.15, 0.35, 0.0, 0.7),
    "T D N": Viseme(0.22, 0.1, 0.0, 0.45),
    "TH DH": Viseme(0.30, 0.1, 0.0, 0.6),
    "K G NG": Viseme(0.30, 0.0, 0.0, 0.3),
    "L": Viseme(0.35, 0.15, 0.0, 0.5),
    "R": Viseme(0.28, -0.5, 0.0, 0.7),
    "Y": Viseme(0.25, 0.6, 0.0, 0.6),
    "HH": Viseme(0.35, 0.0, 0.0, 0.1),
    SILENCE: Viseme(0.0, 0.0, 0.0, 0.8),
}

_IPA_TO_ARPABET: Final = {
    letter: name
    for letters, names in (
        ("pbmfvwɹjlszʃʒʧʤ", "P B M F V W R Y L S Z SH ZH CH JH"),
        ("tdnðθkɡgŋhɾʔxTrcqʦʣçɲβ", "T D N DH TH K G G NG HH D T K D R K K S Z HH N V"),  # noqa: RUF001
        ("ɑæʌəᵊɔɒɛeɜɚɐao", "AA AE AH AH AH AO AO EH EH ER ER AH AA AO"),  # noqa: RUF001
        ("iɪᵻɨʊuyøœ", "IY IH IH IH UH UW UW ER ER"),  # noqa: RUF001  IPA letters
    )
    for letter, name in zip(letters, names.split(), strict=True)
}
_VOICE_DIPHTHONG_LETTERS: Final = {"A": "EY", "I": "AY", "W": "AW", "O": "OW", "Y": "OY", "Q": "OW"}
"""Capitals of the starter voice's alphabet. Not in `_IPA_TO_ARPABET`: as phone names, W and Y are ARPABET."""


@lru_cache(maxsize=1)
def _viseme_table() -> dict[str, tuple[Viseme, ...]]:
    vowels = {name: (Viseme(*shape, 0.0, 1.0),) for name, shape in _VOWELS.items()}
    diphthongs = {name: vowels[a] + vowels[b] for name, (a, b) in _DIPHTHONGS.items()}
    others = {name: (viseme,) for names, viseme in _CONSONANTS_AND_SILENCE.items() for name in names.split()}
    return {**vowels, **diphthongs, **others}


def letter_to_arpabet(letter: str) -> str | None:
    """Return the ARPABET name of a letter of the starter voice's alphabet; None for marks and spaces."""
    return _VOICE_DIPHTHONG_LETTERS.get(letter) or _IPA_TO_ARPABET.get(letter)


def to_arpabet(name: str) -> str:
    """
    Return the ARPABET name of a phone, without stress; "SIL" for silence.

    Args:
        name: ARPABET with or without a stress digit, or an IPA letter; any other name (noise, '') is silence.
    """
    bare = name.rstrip("0123456789")
    if bare in _viseme_table():
        return bare
    return _IPA_TO_ARPABET.get(name, SILENCE)


def visemes_of(name: str) -> tuple[Viseme, ...]:
    """Return the mouth shapes of a phone: one, or two for a diphthong, see `NUCLEUS_SHARE`."""
    return _viseme_table()[to_arpabet(name)]
