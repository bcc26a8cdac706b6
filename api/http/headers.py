"""
Request headers of job submissions: Prefer and Idempotency-Key.

Prefer (RFC 7240) selects how long a response waits for the job. Idempotency-Key (IETF httpapi draft 07): a
repeated request returns the same job.
"""

import hashlib
import re
from dataclasses import dataclass
from typing import Annotated

from fastapi import Header

from api.errors import Problem

PreferHeader = Annotated[
    str | None, Header(alias="Prefer", description="respond-async, wait=SECONDS", examples=["wait=20"])
]
_WAIT = re.compile(r"(?:^|[,;\s])wait=(\d{1,9})(?![\d.])", re.IGNORECASE)
_ASYNC = re.compile(r"(?:^|[,;\s])respond-async(?=$|[,;\s])", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Preference:
    """The two supported preferences; others are ignored, as RFC 7240 requires."""

    respond_async: bool = False
    wait_s: int | None = None

    @classmethod
    def parse(cls, header: str | None) -> "Preference":
        """Parse the header; None if it was not sent."""
        text = header or ""
        wait = _WAIT.search(text)
        return cls(_ASYNC.search(text) is not None, int(wait[1]) if wait else None)

    def applied_headers(self, waited_s: float | None = None) -> dict[str, str]:
        """
        Return the `Vary` and `Preference-Applied` headers.

        Args:
            waited_s: the wait that was applied, in seconds; None if waiting does not apply.
        """
        applied = ["respond-async"] if self.respond_async else []
        if self.wait_s is not None and waited_s is not None:
            applied.append(f"wait={int(waited_s)}")
        return {"Vary": "Prefer"} | ({"Preference-Applied": ", ".join(applied)} if applied else {})


IdempotencyKeyHeader = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        description="A request with the same key and body returns the same job and creates no second one.",
    ),
]
_KEY_PATTERN = re.compile(r"[\x21-\x7e]{1,255}")


def scoped_key(key: str | None, route: str, tenant: str | None = None) -> str | None:
    """
    Return the idempotency key for Prefect: a SHA-256 of tenant, scope and key.

    Args:
        key:    value of the header, quoted (a structured field) or bare; None if it was not sent.
        route:  scope of the key: the job type, or the retry of one job.
        tenant: tenant of the caller.

    Raises:
        Problem: `malformed_request` if the key is not 1 to 255 visible ASCII characters.
    """
    if key is None:
        return None
    unquoted = key[1:-1] if len(key) > 1 and key[0] == key[-1] == '"' else key
    if not _KEY_PATTERN.fullmatch(unquoted):
        raise Problem("malformed_request", "Idempotency-Key must be 1 to 255 visible ASCII characters.")
    return hashlib.sha256("\0".join((tenant or "", route, unquoted)).encode()).hexdigest()
