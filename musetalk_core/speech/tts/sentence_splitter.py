"""Sentence splitter for text to speech: pieces of bounded length, cut at sentence ends, clauses or spaces."""
# ruff: noqa: RUF001  typographic quotation marks and dashes are intended

import re
from collections.abc import Iterator
from typing import Final

_PARAGRAPH_BREAK: Final = re.compile(r"\n\s*\n")
_SENTENCE_END: Final = re.compile(r"(?<![.!?…])[.!?…]++[\"'”’)\]]*+(?=\s)|[。！？]+[」』”’]*")
"""Possible end of a sentence. A mark without whitespace after it (3.5, example.org) is not an end. A row of
marks is tried once, from its first mark, so that a text of dots takes linear time."""
_ABBREVIATIONS: Final = re.compile(
    r"mr|mrs|ms|mx|dr|prof|st|sr|jr|gen|col|capt|lt|sgt|rev|hon|pres|gov|sen|rep|messrs|mt|ft|vs|cf|figs?|eqs?|eds?"
    r"|vols?|pp|approx|ca|al|e\.g|i\.e|viz|jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec|inc|ltd|co|corp|dept|univ"
    r"|assn|bros",
    re.IGNORECASE,
)
"""Abbreviations whose dot does not end a sentence."""
_NUMBERED_ABBREVIATIONS: Final = frozenset({"no", "nos", "p", "ch", "sec", "art"})
"""Abbreviations whose dot does not end a sentence if a digit follows."""
_INITIALS: Final = re.compile(r"(?:[A-Za-z]\.)*[A-HJ-Z]")
"""Initials: J. Smith, U.S. Army. Without I: "So did I. Then ..." is more common than a first name."""
_CLAUSE_END: Final = re.compile(r"[,;:—–](?=\s)|\s[—–-](?=\s)")
_MIN_CLAUSE_SHARE: Final = 0.35
"""A cut at a clause mark must leave a piece of at least this share of the maximum length."""


def split_sentences(text: str, max_chars: int) -> list[str]:
    """
    Split a text into sentences; split longer sentences at clause marks, otherwise between words.

    Args:
        text:      any text; an empty line also ends a sentence.
        max_chars: maximum length of a piece in characters.

    Returns:
        The pieces in order, stripped and without line ends. Pieces without a letter or digit are left out.
    """
    return [
        piece
        for paragraph in _PARAGRAPH_BREAK.split(text)
        for sentence in _split_at_ends(" ".join(paragraph.split()))
        for piece in _split_to_length(sentence, max_chars)
        if any(char.isalnum() for char in piece)
    ]


def _split_at_ends(text: str) -> Iterator[str]:
    start = 0
    for end in _SENTENCE_END.finditer(text):
        word_start = text.rfind(" ", start, end.start()) + 1 or start
        following = text[end.end() : end.end() + 2].lstrip()[:1]
        if _is_sentence_end(text[word_start : end.start()], end[0], following):
            yield text[start : end.end()].strip()
            start = end.end()
    yield text[start:].strip()


def _is_sentence_end(word: str, mark: str, following: str) -> bool:
    """Return whether `mark` ends a sentence, given the word before it and the first character after it."""
    if mark[0] != ".":
        return mark[0] in "。！？" or not following.islower()  # "Stop!" he said
    word = word.lstrip("\"'“‘([")
    if following.islower() or _ABBREVIATIONS.fullmatch(word) or _INITIALS.fullmatch(word):
        return False
    return not (word.lower() in _NUMBERED_ABBREVIATIONS and following.isdigit())


def _split_to_length(sentence: str, max_chars: int) -> Iterator[str]:
    while len(sentence) > max_chars:
        end = _split_position(sentence, max_chars)
        yield sentence[:end].strip()
        sentence = sentence[end:].lstrip()
    if sentence:
        yield sentence


def _split_position(sentence: str, max_chars: int) -> int:
    clauses = [
        mark.end() for mark in _CLAUSE_END.finditer(sentence, 0, max_chars + 1) if mark.end() <= max_chars
    ]
    if clauses and clauses[-1] >= _MIN_CLAUSE_SHARE * max_chars:
        return clauses[-1]
    space = sentence.rfind(" ", 1, max_chars + 1)
    return space if space > 0 else max_chars
