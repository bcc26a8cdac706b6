"""How written words sound, numbers and unknown words included, by the starter voice's own reader."""

from typing import Any, Final, NamedTuple

from musetalk_core.speech.visemes import arpabet_of_letter
from musetalk_core.speech.voice import reader

_LONGEST_LINE: Final = 2000
"""Characters read at once; the reader's work grows faster than the text."""


class SpokenWord(NamedTuple):
    """One word as written, in lower case, and as spoken."""

    text: str
    phones: tuple[str, ...]
    """ARPABET without stress."""


def spoken_words(text: str) -> list[SpokenWord]:
    """
    Read a text into words; what makes no sound (punctuation, foreign script) is left out.

    Args:
        text: English.

    Raises:
        ModelNotInstalled: the voice's package is missing or damaged.
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
    """Cut at line ends, and at spaces where a line is too long."""
    out: list[str] = []
    for line in text.splitlines():
        while len(line) > _LONGEST_LINE:
            space = line.rfind(" ", 1, _LONGEST_LINE)
            end = space if space > 0 else _LONGEST_LINE
            out.append(line[:end])
            line = line[end:]
        out.append(line)
    return [line for line in out if line.strip()]
