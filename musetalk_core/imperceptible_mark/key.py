"""Secret key of the imperceptible mark. Patterns are derived from it and cannot be found without it."""

import hashlib
import hmac
from dataclasses import dataclass, field
from typing import Final

from musetalk_core.errors import InputError

MIN_KEY_BYTES: Final = 16
_METHOD: Final = b"musetalk imperceptible mark 1"
"""Part of everything that is derived from a key: another method needs other patterns."""


@dataclass(frozen=True, slots=True)
class MarkKey:
    """
    A secret key. `repr` shows only its id, so that a key cannot get into a log.

    Attributes:
        secret: at least `MIN_KEY_BYTES` random bytes.
    """

    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.secret) < MIN_KEY_BYTES:
            raise InputError(f"The key of the imperceptible mark needs at least {MIN_KEY_BYTES} bytes.")

    @property
    def id(self) -> str:
        """16 hexadecimal digits that identify the key and the method, and do not reveal the key."""
        return self._digest(b"id").hex()[:16]

    def pattern_bytes(self, purpose: str, count: int) -> bytes:
        """Return `count` pseudo-random bytes for one purpose; the same ones for the same key."""
        return hashlib.shake_256(self._digest(purpose.encode())).digest(count)

    def _digest(self, purpose: bytes) -> bytes:
        return hmac.digest(self.secret, _METHOD + b"\0" + purpose, hashlib.sha256)
