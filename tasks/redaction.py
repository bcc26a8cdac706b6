"""What is kept, or shown to others, without the secrets that addresses carry."""

import re
from collections.abc import Mapping
from typing import Any, Final, cast

_QUERY: Final = re.compile(r"(\bhttps?://[^\s?#]*)[?#]\S*", re.IGNORECASE)
_USER: Final = re.compile(r"(\b[a-z][a-z0-9+.-]*://)[^\s/?#]*@", re.IGNORECASE)


def without_secrets(value: Any) -> Any:
    """
    Leave out of all web addresses what may be a secret: user names, passwords, queries and fragments.

    Args:
        value: a text, or JSON of texts; addresses are found inside longer texts, too.

    Returns:
        The same, with `?…` where a query was. Keys of objects in a store have none and stay whole.
    """
    if isinstance(value, str):
        return _USER.sub(r"\1", _QUERY.sub(r"\1?…", value))
    if isinstance(value, Mapping):
        members = cast(Mapping[str, Any], value)
        return {name: without_secrets(one) for name, one in members.items()}
    if isinstance(value, list | tuple):
        return [without_secrets(one) for one in cast(list[Any], value)]
    return value
