"""The Idempotency-Key header (httpapi draft 07): the same key and request give the same job."""

import hashlib
import re
from typing import Annotated

from fastapi import Header

from api.problems import Problem

KeyHeader = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key", description="The same key and body give the same job, never a second one."
    ),
]
_KEY = re.compile(r"[\x21-\x7e]{1,255}")


def scoped(key: str | None, route: str, tenant: str | None = None) -> str | None:
    """
    Return what Prefect shall hold unique.

    Args:
        key:    the header, quoted (as a structured field) or bare; None for none.
        route:  what was asked for: a key says nothing about other routes.
        tenant: whose key it is.

    Raises:
        Problem: `malformed_request`.
    """
    if key is None:
        return None
    bare = key[1:-1] if len(key) > 1 and key[0] == key[-1] == '"' else key
    if not _KEY.fullmatch(bare):
        raise Problem("malformed_request", "Idempotency-Key has 1 to 255 visible ASCII characters.")
    return hashlib.sha256("\0".join((tenant or "", route, bare)).encode()).hexdigest()
