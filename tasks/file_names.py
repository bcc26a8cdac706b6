"""
Sanitizing of file names: callers' names are kept, except for characters unsafe in paths, keys and headers.

Covers generated names, names from callers, suffixes and HTTP headers. Uses only the standard library.
"""

import hashlib
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Final
from urllib.parse import quote

MAX_NAME_BYTES: Final = 255
"""Limit of file systems for a file name with its extension, in bytes of UTF-8."""
MAX_KEY_BYTES: Final = 1024
"""Limit of S3 for an object key, in bytes of UTF-8."""

_FALLBACK: Final = "file"
_ZWNJ, _ZWJ = "\u200c", "\u200d"
_BIDI_CONTROLS: Final = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_VISIBLE_FORMATS: Final = frozenset("\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2")
"""Format characters that have a shape: Arabic and Syriac number and verse signs."""
_VIRAMA: Final = 9
"""Canonical combining class of the marks that join two Indic consonants."""


def plain_name(name: str) -> str:
    """
    Return the last part of a name, path or key, without control and direction characters.

    Args:
        name: file name from a client or a store; `/` and a backslash separate folders.

    Returns:
        At most 255 bytes in UTF-8, NFC. Never empty, and never only dots and spaces.
    """
    last = name.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]
    plain = _clean(last)
    if not _has_content(plain):
        return _FALLBACK
    stem, ending = split_name(plain)
    return fit_name(stem, ending)


def safe_stem(name: str) -> str:
    """
    Return a file's basename without its last extension, safe in a key and in a file name.

    Separators and control characters become `_`. Letters of all scripts, digits, spaces and other signs are
    kept.

    Args:
        name: a name, path or key; only the part after the last `/` is used.

    Returns:
        The stem in NFC, without leading dots, of any length; `file` if nothing is left.
    """
    base = name.rsplit("/", 1)[-1]
    stem, dot, _ = base.rpartition(".")
    stem = _clean(stem if dot and stem.strip(".") else base).lstrip(".")
    return stem if _has_content(stem) else _FALLBACK


def validate_name(name: str) -> str:
    """
    Check a file name from a caller.

    Returns:
        The name in NFC.

    Raises:
        ValueError: the name is empty or blank, starts with a dot, is longer than 255 bytes, or contains a
            separator, a control character, a direction mark or a zero-width character that joins nothing.
    """
    normal = unicodedata.normalize("NFC", name)
    if not _has_content(_clean(normal)):
        raise ValueError("an output name needs at least one letter, digit or sign besides dots and spaces")
    if normal.startswith("."):
        raise ValueError("an output name cannot start with a dot")
    if _clean(normal) != normal:
        bad_character = next(c for c, kept in _clean_characters(normal) if kept != c)
        character_name = unicodedata.name(bad_character, "a control character")
        raise ValueError(
            f"an output name cannot contain U+{ord(bad_character):04X} ({character_name}):"
            " separators, control characters, direction marks and stray zero-width characters are not allowed"
        )
    if len(normal.encode()) > MAX_NAME_BYTES:
        raise ValueError(f"an output name has at most {MAX_NAME_BYTES} bytes in UTF-8")
    return normal


def output_name(video_name: str, audio_name: str, requested: str | None = None) -> str:
    """
    Return the name of a rendered video: the requested one or `<video stem>_<audio stem>`, with `.mp4`.

    Args:
        video_name: name or key of the avatar's file.
        audio_name: name or key of the speech file.
        requested:  the requested name, with or without `.mp4`, or None.

    Returns:
        The name, at most 255 bytes. A longer one is truncated and gets eight hexadecimal digits of its hash.

    Raises:
        ValueError: see `validate_name`.
    """
    if requested is None:
        return fit_name(f"{safe_stem(video_name)}_{safe_stem(audio_name)}", ".mp4")
    checked = validate_name(requested)
    stem = checked[: -len(".mp4")] if checked.lower().endswith(".mp4") else checked
    return fit_name(validate_name(stem), ".mp4")


def split_name(name: str) -> tuple[str, str]:
    """Split a name into its stem and its last extension with the dot; the extension may be empty."""
    stem, dot, ending = name.rpartition(".")
    return (stem, f".{ending}") if dot and stem.strip(".") and len(ending.encode()) <= 16 else (name, "")


def fit_name(stem: str, ending: str, max_bytes: int = MAX_NAME_BYTES) -> str:
    """
    Join a stem and an ending; a stem that is too long is truncated and gets eight digits of its hash.

    Args:
        stem:      the stem, truncated between graphemes if the name is too long.
        ending:    the ending, never truncated.
        max_bytes: limit of the name in bytes of UTF-8.
    """
    if len(stem.encode()) + len(ending.encode()) <= max_bytes:
        return stem + ending
    tail = f"_{hashlib.sha256(stem.encode()).hexdigest()[:8]}{ending}"
    return _truncate(stem, max_bytes - len(tail.encode())) + tail


def with_suffix(names: Sequence[str], suffix: str, max_bytes: int = MAX_NAME_BYTES) -> list[str]:
    """
    Add the same suffix before the extension of each name of a set.

    Args:
        names:     names of files that belong together; their stems are truncated alike.
        suffix:    the suffix without its `_`; empty for none.
        max_bytes: limit of a name in bytes of UTF-8.
    """
    split = [split_name(name) for name in names]
    tail = f"_{suffix}" if suffix else ""
    longest = max(len(ending.encode()) for _, ending in split)
    return [fit_name(stem, tail, max_bytes - longest) + ending for stem, ending in split]


def key_prefix_and_name_limit(prefix: str) -> tuple[str, int]:
    """
    Return a folder's key prefix with its slash, and the number of bytes that remain for a file name.

    Args:
        prefix: folder in a bucket, with or without slashes around it; empty for the root.
    """
    folder = f"{prefix.strip('/')}/".removeprefix("/")
    return folder, min(MAX_NAME_BYTES, MAX_KEY_BYTES - len(folder.encode()))


def content_disposition(name: str) -> str:
    """
    Return the Content-Disposition header for a file name (RFC 6266).

    Clients without support for `filename*` (RFC 5987) read an ASCII form, in which other characters are `_`.
    """
    plain = "".join(c if " " <= c <= "~" and c not in '"\\%' else "_" for c in name)
    return f"inline; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def _clean(text: str) -> str:
    return "".join(kept for _, kept in _clean_characters(unicodedata.normalize("NFC", text)))


def _clean_characters(text: str) -> Iterator[tuple[str, str]]:
    """Yield each character with its replacement: itself, `_` or nothing."""
    before = ""
    for number, c in enumerate(text):
        replacement = _clean_character(c, before, text[number + 1 : number + 2])
        yield c, replacement
        before = replacement or before


def _clean_character(c: str, before: str, after: str) -> str:
    kind = unicodedata.category(c)
    if _is_separator(c) or kind in {"Cc", "Cs", "Zl", "Zp"} or (kind == "Cn" and ord(c) & 0xFFFE == 0xFFFE):
        return "_"
    if c in {_ZWNJ, _ZWJ}:  # Persian, Indic scripts and emoji need them between two characters
        return c if _is_joinable(before) and _is_joinable(after) else ""
    if c in _BIDI_CONTROLS or (kind == "Cf" and c not in _VISIBLE_FORMATS):
        return ""
    return c


def _is_separator(c: str) -> bool:
    """Return whether a character is a path separator, or is folded to one by some systems (U+FF0F)."""
    return not {"/", "\\"}.isdisjoint(unicodedata.normalize("NFKC", c))


def _is_joinable(c: str) -> bool:
    return bool(c) and unicodedata.category(c)[0] in "LMS"


def _has_content(text: str) -> bool:
    return any(c != "." and unicodedata.category(c)[0] not in "ZC" for c in text)


def _truncate(text: str, max_bytes: int) -> str:
    """Return the longest prefix of at most `max_bytes` bytes that ends between two graphemes."""
    end = len(text.encode()[: max(max_bytes, 0)].decode(errors="ignore"))
    while end > 0 and not _is_boundary(text, end):
        end -= 1
    return text[:end].rstrip()


def _is_boundary(text: str, at: int) -> bool:
    """Return whether a position is a grapheme boundary, by the rules of UAX 29 that matter in names."""
    if at >= len(text):
        return True
    before, after = text[at - 1], text[at]
    if unicodedata.category(after)[0] == "M" or after in {_ZWNJ, _ZWJ} or before == _ZWJ:
        return False
    if "\U0001f3fb" <= after <= "\U0001f3ff" or "\u1160" <= after <= "\u11ff":  # skin tones, Hangul parts
        return False
    if _is_flag(before) and _is_flag(after):
        run = len(text[:at]) - len(text[:at].rstrip("".join(map(chr, range(0x1F1E6, 0x1F200)))))
        return run % 2 == 0
    return unicodedata.combining(before) != _VIRAMA


def _is_flag(c: str) -> bool:
    return "\U0001f1e6" <= c <= "\U0001f1ff"
