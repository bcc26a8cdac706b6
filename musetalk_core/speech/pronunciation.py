"""Grapheme-to-phoneme conversion (G2P) of English text with hibari, numbers and unknown words included."""

from typing import Any, Final, NamedTuple

from musetalk_core.speech.visemes import arpabet_of_letter
from musetalk_core.speech.voice import reader

_LONGEST_LINE: Final = 2000
"""Characters converted at once; the cost of G2P grows faster than the length of the text."""


class SpokenWord(NamedTuple):
    """A written word, in lower case, and its phones."""

    text: str
    phones: tuple[str, ...]
    """ARPABET names without stress digits."""


def spoken_words(text: str) -> list[SpokenWord]:
    """
    Return the words of a text with their phones, without silent tokens (punctuation, other scripts).

    Args:
        text: English text.

    Raises:
        ModelNotInstalled: the package hibari-tts is missing or damaged.
    """
    read, normalise = reader()
    return [word for line in _lines(text) for word in _words(read, normalise(line))]


def _words(read: Any, line: str) -> list[SpokenWord]:
    out: list[SpokenWord] = []
    for token in read.phonemize_tokens(read.tokenize(line)):
        names = (arpabet_of_letter(letter) for letter in token.phonemes or "")
        phones = tuple(name for name in names if name)
        if phones:
            out.append(SpokenWord(str(token.text).lower(), phones))
    return out


def _lines(text: str) -> list[str]:
    """Split a text at line ends, and longer lines at spaces; blank lines are left out."""
    out: list[str] = []
    for line in text.splitlines():
        while len(line) > _LONGEST_LINE:
            space = line.rfind(" ", 1, _LONGEST_LINE)
            end = space if space > 0 else _LONGEST_LINE
            out.append(line[:end])
            line = line[end:]
        out.append(line)
    return [line for line in out if line.strip()]
