"""Redaction of secrets in URLs, for logs, records and API responses."""

import re
from collections.abc import Mapping
from typing import Any, Final, cast

# both take linear time: no match or failed attempt extends over the beginning of another one
_WEB_URL: Final = re.compile(r"\bhttps?://\S*", re.IGNORECASE)
_USER: Final = re.compile(r"(?<=[a-z0-9+.-]://)[^\s/?#]*@", re.IGNORECASE)


def redact_secrets(value: Any) -> Any:
    """
    Remove the parts of URLs that may be secret: user names, passwords, queries and fragments.

    Args:
        value: a string, or JSON that contains strings. URLs inside longer strings are redacted too.

    Returns:
        The same value, with `?…` in place of a query or fragment. Keys of objects in a store are unchanged.
    """
    if isinstance(value, str):
        return _USER.sub("", _WEB_URL.sub(_without_query, value))
    if isinstance(value, Mapping):
        members = cast(Mapping[str, Any], value)
        return {name: redact_secrets(one) for name, one in members.items()}
    if isinstance(value, list | tuple):
        return [redact_secrets(one) for one in cast(list[Any], value)]
    return value


def _without_query(url: re.Match[str]) -> str:
    location, *query = re.split(r"[?#]", url[0], maxsplit=1)
    return f"{location}?…" if query else location
