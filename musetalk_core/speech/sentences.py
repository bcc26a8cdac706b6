"""Cutting a text into what a voice says in one breath."""
# ruff: noqa: RUF001  quotation marks and dashes as people write them

import re
from collections.abc import Iterator
from typing import Final

_PARAGRAPH: Final = re.compile(r"\n\s*\n")
_END: Final = re.compile(r"[.!?…]+[\"'”’)\]]*(?=\s)|[。！？]+[」』”’]*")
"""Where a sentence may end. What has no blank after it (3.5, example.org) cannot be an end."""
_TITLES: Final = re.compile(
    r"mr|mrs|ms|mx|dr|prof|st|sr|jr|gen|col|capt|lt|sgt|rev|hon|pres|gov|sen|rep|messrs|mt|ft|vs|cf|figs?|eqs?|eds?"
    r"|vols?|pp|approx|ca|al|e\.g|i\.e|viz|jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec|inc|ltd|co|corp|dept|univ"
    r"|assn|bros",
    re.IGNORECASE,
)
"""What is said on after its dot."""
_BEFORE_NUMBERS: Final = frozenset({"no", "nos", "p", "ch", "sec", "art"})
_INITIALS: Final = re.compile(r"(?:[A-Za-z]\.)*[A-HJ-Z]")
"""J. Smith, U.S. Army; but not I: "So did I. Then ..." is commoner than a first name."""
_CLAUSE: Final = re.compile(r"[,;:—–](?=\s)|\s[—–-](?=\s)")
_LEAST_SHARE: Final = 0.35
"""A clause mark that leaves less than this of the room is no place to cut."""


def sentences(text: str, longest: int) -> list[str]:
    """
    Cut a text into sentences; those that are too long, at clause marks, else between words.

    Args:
        text:    any text; an empty line ends a sentence, too.
        longest: characters that one piece may have.

    Returns:
        The pieces in order, without blanks around them or line ends inside. What holds no letter or digit is
        left out.
    """
    return [
        piece
        for paragraph in _PARAGRAPH.split(text)
        for sentence in _cut_at_ends(" ".join(paragraph.split()))
        for piece in _cut_to(sentence, longest)
        if any(char.isalnum() for char in piece)
    ]


def _cut_at_ends(text: str) -> Iterator[str]:
    start = 0
    for end in _END.finditer(text):
        if _is_end(text[start : end.start()], end[0], text[end.end() :].lstrip()):
            yield text[start : end.end()].strip()
            start = end.end()
    yield text[start:].strip()


def _is_end(before: str, mark: str, after: str) -> bool:
    if mark[0] != ".":
        return mark[0] in "。！？" or not after[:1].islower()  # "Stop!" he said
    word = before.rsplit(maxsplit=1)[-1].lstrip("\"'“‘([") if before.split() else ""
    if after[:1].islower() or _TITLES.fullmatch(word) or _INITIALS.fullmatch(word):
        return False
    return not (word.lower() in _BEFORE_NUMBERS and after[:1].isdigit())


def _cut_to(sentence: str, longest: int) -> Iterator[str]:
    while len(sentence) > longest:
        end = _best_cut(sentence, longest)
        yield sentence[:end].strip()
        sentence = sentence[end:].lstrip()
    if sentence:
        yield sentence


def _best_cut(sentence: str, longest: int) -> int:
    clauses = [mark.end() for mark in _CLAUSE.finditer(sentence, 0, longest + 1) if mark.end() <= longest]
    if clauses and clauses[-1] >= _LEAST_SHARE * longest:
        return clauses[-1]
    space = sentence.rfind(" ", 1, longest + 1)
    return space if space > 0 else longest
