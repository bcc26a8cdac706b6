"""The Idempotency-Key header (IETF httpapi draft 07): repeating a request returns the same job."""

import hashlib
import re
from typing import Annotated

from fastapi import Header

from api.problems import Problem

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
