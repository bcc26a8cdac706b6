"""Who may use the API: the keys of the settings, and no public address without one."""

import hashlib
import hmac
import ipaddress

from fastapi import Request

from api.problems import Problem
from tasks.settings import ApiSettings, get_settings


class PublicWithoutKeys(Exception):
    """The API would listen to everybody and ask nobody for a key."""


def require_keys_when_public(api: ApiSettings) -> None:
    """
    Refuse to serve other computers without keys.

    Raises:
        PublicWithoutKeys: the address is not loopback and no key is set.
    """
    if not api.keys and not is_loopback(api.host):
        raise PublicWithoutKeys(
            f"The API would listen on {api.host}, open to everybody. Set MUSETALK_API__KEYS to one or more"
            " secret keys, or MUSETALK_API__HOST to 127.0.0.1."
        )


def is_loopback(host: str) -> bool:
    """Tell whether an address to listen on is this computer's own."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def require_key(request: Request) -> None:
    """
    Let a request pass when it carries one of the keys, or when none are set.

    Looked for in `Authorization: Bearer` and in `X-C3-RENDER-KEY`.

    Raises:
        Problem: `unauthorized`.
    """
    keys = get_settings().api.keys
    if not keys:
        return
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    given = token.strip() if scheme.lower() == "bearer" else request.headers.get("x-c3-render-key", "")
    # every key is compared, whole, in constant time: nothing is learnt from how long it takes
    matches = [hmac.compare_digest(_digest(given), _digest(key.get_secret_value())) for key in keys]
    if not given or not any(matches):
        raise Problem(
            "unauthorized",
            "Send a valid key, as `Authorization: Bearer KEY` or `X-C3-RENDER-KEY: KEY`.",
            headers={"WWW-Authenticate": "Bearer"},
        )


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
