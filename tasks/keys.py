"""What makes two pieces of work the same: the key of an artefact."""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any


def content_key(**parts: Any) -> str:
    """
    Hash everything that decides a result: content hashes, parameters, versions.

    The hash is SHA-256 over JSON with sorted names, no blanks and ASCII only. 1, 1.0, "1" and True give four
    different keys; a tuple equals a list; a Fraction is written {"fraction": "24000/1001"}.

    Args:
        parts: None, bool, int, str, finite float, Fraction, and lists, tuples and dicts (str keys) of them.

    Returns:
        64 hexadecimal digits.

    Raises:
        TypeError:  a part has another type. A Path is refused: where a file lies does not decide a result,
            give the hash of its content.
        ValueError: a float is infinite or not a number, or nothing was given.
    """
    if not parts:
        raise ValueError("a key needs at least one part")
    text = json.dumps(_plain(parts), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def _plain(value: Any) -> Any:
    match value:
        case None | bool() | str():
            return value
        case Fraction():
            return {"fraction": f"{value.numerator}/{value.denominator}"}
        case float():
            if not math.isfinite(value):
                raise ValueError(f"{value} cannot be part of a key")
            return float(value)
        case int():
            return int(value)
        case Mapping():
            return {_name(name): _plain(part) for name, part in value.items()}
        case list() | tuple():
            return [_plain(part) for part in _items(value)]
        case _:
            raise TypeError(
                f"a {type(value).__name__} cannot be part of a key; give its content hash or text"
            )


def _items(value: Sequence[Any]) -> Sequence[Any]:
    return value


def _name(name: Any) -> str:
    if not isinstance(name, str):
        raise TypeError("names in a key are strings")
    return name
