"""Content keys: the cache key of a result, hashed from everything that decides its content."""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any


def content_key(**parts: Any) -> str:
    """
    Return the cache key of a result from everything that decides it: content hashes, parameters, versions.

    The key is the SHA-256 of JSON with sorted names, no blanks and ASCII only. 1, 1.0, "1" and True give four
    different keys. A tuple equals a list. A Fraction is written {"fraction": "24000/1001"}.

    Args:
        parts: None, bool, int, str, finite float, Fraction, and lists, tuples and dicts (str keys) of them.

    Returns:
        64 hexadecimal digits.

    Raises:
        TypeError:  a part has another type. A Path is refused, because the location of a file does not decide
            a result: pass the hash of its content.
        ValueError: a float is infinite or NaN, or there are no parts.
    """
    if not parts:
        raise ValueError("a key needs at least one part")
    text = json.dumps(_to_json(parts), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def _to_json(value: Any) -> Any:
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
            return {_require_text_name(name): _to_json(part) for name, part in value.items()}
        case list() | tuple():
            return [_to_json(part) for part in _items(value)]
        case _:
            raise TypeError(
                f"a {type(value).__name__} cannot be part of a key; pass its content hash or text"
            )


def _items(value: Sequence[Any]) -> Sequence[Any]:
    return value


def _require_text_name(name: Any) -> str:
    if not isinstance(name, str):
        raise TypeError("names in a key are strings")
    return name
