"""Decode the text of a caption file by its mark, its declared encoding, as UTF-8, or by detection."""

import codecs
import re
from typing import Final

from musetalk_core.errors import InputError, MediaUnreadable
from musetalk_core.warning_codes import WarningCode

_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SLOW_CODECS: Final = frozenset({"idna", "punycode"})
"""Codecs of host names, whose cost is quadratic in the length of the text."""
_SAMPLE_BYTES: Final = 65_536
_MIN_ZERO_SHARE: Final = 0.2
"""Share of zero bytes from which text without a mark is UTF-16: its ASCII characters have one each."""
_MAX_ACCENTED_SHARE: Final = 0.3
"""Western languages have at most this share of accented letters."""
_DETECTABLE: Final = (
    "cp1250", "iso8859_2", "cp1251", "koi8_r", "cp866", "cp1252", "cp1253", "iso8859_7", "cp1254", "cp1255",
    "cp1256", "cp1257", "cp1258", "tis_620", "cp932", "euc_jp", "gb18030", "big5", "cp949",
)  # fmt: skip
"""Encodings that caption files have; among all that Python knows, short texts are taken for rare ones."""
_SIGN_IN_WORD: Final = re.compile(r"[^\W\d_][¹²³¿¼½¾°±¤¦]|[¹³¿][^\W\d_]")
"""Letters of other code pages, read as Windows-1252."""


def decode_caption_text(data: bytes, declared: str | None = None) -> tuple[str, tuple[str, ...]]:
    """
    Decode the contents of a caption file.

    Args:
        data:     the bytes of the file.
        declared: Python's name of the encoding, if the user states it; a byte order mark has precedence.

    Returns:
        The text without a byte order mark, and a warning if the encoding was guessed.

    Raises:
        InputError:      the declared encoding is unknown.
        MediaUnreadable: the bytes are not text in the declared or any known encoding.
    """
    for mark, name in _MARKS:
        if data.startswith(mark):
            return _decode(data, name), ()
    if declared is not None:
        return _decode(data, declared), ()
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = None
    zero_share = data.count(0) / max(1, len(data))
    if text is not None and zero_share < _MIN_ZERO_SHARE:
        return text, ()
    name = _utf16_order(data) if zero_share >= _MIN_ZERO_SHARE else _detect(data)
    warning = WarningCode.GUESSED_ENCODING(
        f"the caption file states no encoding and was read as {name}; save it as UTF-8, or set encoding"
    )
    return _decode(data, name), (warning,)


def _decode(data: bytes, name: str) -> str:
    unknown = InputError(f"The encoding {name[:40]} is unknown. Name one such as utf-8 or cp1252.")
    if name.lower() in _SLOW_CODECS:
        raise unknown
    try:
        return data.decode(name)
    except LookupError:
        raise unknown from None
    except ValueError:
        raise MediaUnreadable(f"The caption file is not {name} text; save it as UTF-8.") from None


def _utf16_order(data: bytes) -> str:
    return "utf-16-le" if data[1::2].count(0) >= data[0::2].count(0) else "utf-16-be"


def _detect(data: bytes) -> str:
    if _is_western(data):
        return "cp1252"
    import charset_normalizer

    best = charset_normalizer.from_bytes(data[:_SAMPLE_BYTES], cp_isolation=list(_DETECTABLE)).best()
    if best is None:
        raise MediaUnreadable("The caption file is not text in any known encoding; save it as UTF-8.")
    return best.encoding


def _is_western(data: bytes) -> bool:
    """Return whether bytes are plausible Windows-1252; short texts are too little for statistics."""
    try:
        text = data.decode("cp1252")
    except UnicodeDecodeError:
        return False
    letters = [letter for letter in text if letter.isalpha()]
    accented = sum(not letter.isascii() for letter in letters)
    return accented <= _MAX_ACCENTED_SHARE * len(letters) and not _SIGN_IN_WORD.search(text)
