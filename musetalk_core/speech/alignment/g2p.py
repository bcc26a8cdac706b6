"""Grapheme-to-phoneme conversion (G2P) of English text with hibari, numbers and unknown words included."""

import unicodedata
from typing import Any, Final, NamedTuple

from musetalk_core.speech.tts.starter_voice import text_to_phonemes
from musetalk_core.speech.visemes import letter_to_arpabet

_MAX_LINE_CHARS: Final = 2000
"""Characters converted at once; the cost of G2P grows faster than the length of the text."""


class WordPronunciation(NamedTuple):
    """A written word, in lower case, and its phones."""

    text: str
    phones: tuple[str, ...]
    """ARPABET names without stress digits."""


def pronounce_words(text: str) -> list[WordPronunciation]:
    """
    Return the words of a text with their phones, without silent tokens (punctuation, other scripts).

    Args:
        text: English text.

    Raises:
        ModelNotInstalled: the package hibari-tts is missing or damaged.
    """
    g2p, normalise = text_to_phonemes()
    return [word for line in _split_lines(text) for word in _pronounce_line(g2p, normalise(line))]


def is_pronounceable(text: str) -> bool:
    """Return whether at least half of a text's letters are Latin, the only script that G2P can read."""
    letters = [letter for letter in text if letter.isalpha()]
    latin = sum("LATIN" in unicodedata.name(letter, "") for letter in letters)
    return 2 * latin >= len(letters)


def _pronounce_line(g2p: Any, line: str) -> list[WordPronunciation]:
    out: list[WordPronunciation] = []
    for token in g2p.phonemize_tokens(g2p.tokenize(line)):
        names = (letter_to_arpabet(letter) for letter in token.phonemes or "")
        phones = tuple(name for name in names if name)
        if phones:
            out.append(WordPronunciation(str(token.text).lower(), phones))
    return out


def _split_lines(text: str) -> list[str]:
    """Split a text at line ends, and longer lines at spaces; blank lines are left out."""
    out: list[str] = []
    for line in text.splitlines():
        while len(line) > _MAX_LINE_CHARS:
            space = line.rfind(" ", 1, _MAX_LINE_CHARS)
            end = space if space > 0 else _MAX_LINE_CHARS
            out.append(line[:end])
            line = line[end:]
        out.append(line)
    return [line for line in out if line.strip()]
