"""Parser of SubRip and WebVTT: linear in the length of the text, with limits on what libass has to draw."""

import html
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Final

from musetalk_core.errors import MediaTooLarge

MAX_CAPTIONS: Final = 20_000
MAX_CAPTION_CHARS: Final = 2_000
"""Longest text of a caption. Broadcast captions have two lines of about 40 characters."""
MAX_CAPTIONS_AT_ONCE: Final = 25
"""Most captions shown at the same time: libass lays out all of them for every frame."""

_MAX_ESCAPED_CHARS: Final = 2 * MAX_CAPTION_CHARS
_ARROW: Final = "-->"
_TIME: Final = re.compile(r"(?:([0-9]{1,4}):)?([0-9]{1,2}):([0-9]{1,2})[.,]([0-9]{1,3})")
_MARKUP: Final = re.compile(r"\{[^{}]*\}|<[ /]{0,3}[A-Za-z][^<>]*>|<[0-9]{1,4}:[0-9:.]{1,16}>")
"""Override blocks of SubStation Alpha, tags, and WebVTT's times of words. No alternative extends over another
opening bracket: with `\\{[^}]*\\}` a text of opening brackets takes quadratic time."""


@dataclass(frozen=True, slots=True)
class Caption:
    """A text and the time it is shown, in milliseconds from the start of the video."""

    start_ms: int
    end_ms: int
    text: str
    """Plain text; lines are separated by line feeds."""


def parse_captions(text: str) -> list[Caption]:
    """
    Parse SubRip or WebVTT in linear time. Colors, positions and other markup are removed.

    Args:
        text: contents of a file, without a byte order mark. WebVTT is recognized by its first word.

    Returns:
        The captions with text and a positive duration, sorted by start. Empty if there are none.

    Raises:
        MediaTooLarge: there are more than `MAX_CAPTIONS`, one is longer than `MAX_CAPTION_CHARS`, or more
                       than `MAX_CAPTIONS_AT_ONCE` are shown at the same time.
    """
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    select_body = _webvtt_body if text.lstrip().startswith("WEBVTT") else _subrip_body
    captions = [
        Caption(start_ms, end_ms, words)
        for (start_ms, end_ms), following in _timed_lines(lines)
        if end_ms > start_ms and (words := _remove_markup("\n".join(select_body(following))))
    ]
    captions.sort(key=lambda one: one.start_ms)
    _check_limits(captions)
    return captions


def _timed_lines(lines: Sequence[str]) -> Iterator[tuple[tuple[int, int], list[str]]]:
    """Yield each time line as (start, end) in milliseconds, with the lines up to the next time line."""
    times: tuple[int, int] | None = None
    following: list[str] = []
    for line in lines:
        next_times = _parse_times(line)
        if next_times is None:
            following.append(line)
            continue
        if times is not None:
            if following and following[-1].strip().isdecimal():
                following.pop()  # the number of the next caption
            yield times, following
        times, following = next_times, []
    if times is not None:
        yield times, following


def _parse_times(line: str) -> tuple[int, int] | None:
    before, arrow, after = line.partition(_ARROW)
    if not (arrow and before.strip() and after.strip()):
        return None
    start, end = _TIME.fullmatch(before.split()[-1]), _TIME.fullmatch(after.split(maxsplit=1)[0])
    return (_milliseconds(start), _milliseconds(end)) if start and end else None


def _milliseconds(time: re.Match[str]) -> int:
    hours, minutes, seconds, fraction = time.groups(default="0")
    return ((int(hours) * 60 + int(minutes)) * 60 + int(seconds)) * 1000 + int(fraction.ljust(3, "0"))


def _subrip_body(following: list[str]) -> list[str]:
    """Return all lines: many SubRip files have empty lines within a caption."""
    return following


def _webvtt_body(following: list[str]) -> list[str]:
    """Return the lines before the first empty one. Names of cues, comments and style sheets come after it."""
    end = next((number for number, line in enumerate(following) if not line), len(following))
    return following[:end]


def _remove_markup(text: str) -> str:
    plain = _MARKUP.sub("", text)
    if len(plain) <= _MAX_ESCAPED_CHARS:  # longer texts are refused
        plain = html.unescape(plain)
    return plain.replace(r"\h", " ").replace(r"\n", "\n").replace(r"\N", "\n").strip()


def _check_limits(captions: Sequence[Caption]) -> None:
    if len(captions) > MAX_CAPTIONS:
        raise MediaTooLarge(f"The file contains {len(captions)} captions; the limit is {MAX_CAPTIONS}.")
    shown_until: list[int] = []
    for one in captions:
        if len(one.text) > MAX_CAPTION_CHARS:
            raise MediaTooLarge(
                f"The caption at {_clock(one.start_ms)} has {len(one.text)} characters; the limit is"
                f" {MAX_CAPTION_CHARS}. Split it into several captions."
            )
        while shown_until and shown_until[0] <= one.start_ms:
            heappop(shown_until)
        heappush(shown_until, one.end_ms)
        if len(shown_until) > MAX_CAPTIONS_AT_ONCE:
            raise MediaTooLarge(
                f"More than {MAX_CAPTIONS_AT_ONCE} captions are shown at {_clock(one.start_ms)}."
                " Check when they end."
            )


def _clock(milliseconds: int) -> str:
    seconds = milliseconds // 1000
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
