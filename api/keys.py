"""Who may use the API: keys of the settings and of a file, and no public address without one."""

import hmac
import ipaddress
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Final

from fastapi import Request, Security
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer

from api.key_file import Key, Scope, digest, read_keys
from api.problems import Problem
from tasks.settings import ApiSettings, get_settings

EVERYTHING: Final[frozenset[Scope]] = frozenset({"submit", "read", "cancel", "admin"})
_CANCELLING: Final = frozenset({"cancel_job", "cancel_batch", "delete_job", "update_job"})
"""Names of routes that stop a job."""
_BEARER: Final = HTTPBearer(auto_error=False, scheme_name="bearer", description="A key, as a bearer token.")
_HEADER: Final = APIKeyHeader(
    name="X-C3-RENDER-KEY",
    auto_error=False,
    scheme_name="header",
    description="A key, as C3's clients send it.",
)


class PublicWithoutKeys(Exception):
    """The API would listen to everybody and ask nobody for a key."""


def require_keys_when_public(api: ApiSettings) -> None:
    """
    Refuse to serve other computers without keys, and to start with a file of keys that cannot be read.

    Raises:
        PublicWithoutKeys: the address is not loopback and no key is set.
        KeyFileError:      the file is none.
    """
    known = bool(api.keys) or (api.keys_file is not None and bool(read_keys(api.keys_file)))
    if not known and not is_loopback(api.host):
        raise PublicWithoutKeys(
            f"The API would listen on {api.host}, open to everybody. Set MUSETALK_API__KEYS to one or more"
            " secret keys, or MUSETALK_API__KEYS_FILE, or MUSETALK_API__HOST to 127.0.0.1."
        )


def is_loopback(host: str) -> bool:
    """Tell whether an address to listen on is this computer's own."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


async def require_key(
    request: Request,
    bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)],
    header: Annotated[str | None, Security(_HEADER)],
) -> None:
    """
    Let a request pass when it carries a key that allows it, or when none are set.

    Looked for in `Authorization: Bearer` and in `X-C3-RENDER-KEY`. Who it is stands in `request.state.caller`
    afterwards. GET needs the scope `read`, stopping a job `cancel`, everything else `submit`.

    Raises:
        Problem: `unauthorized`, `forbidden`.
    """
    caller = _caller(bearer.credentials.strip() if bearer else header or "")
    needed = _needed(request)
    if needed not in caller.scopes:
        raise Problem("forbidden", f"This key does not have the scope {needed}.")
    request.state.caller = caller


def caller_tenant(request: Request) -> str | None:
    """Return the tenant of who asks, on a route that `require_key` guards; None sees everybody's."""
    caller: Key = request.state.caller
    return caller.tenant


def _caller(given: str) -> Key:
    api = get_settings().api
    if not api.keys and api.keys_file is None:
        return _EVERYBODY
    known = (*_of_settings(api), *(_of_file(api.keys_file) if api.keys_file else ()))
    # every key is compared, whole, in constant time: nothing is learnt from how long it takes
    matches = [key for key in known if hmac.compare_digest(digest(given), key.sha256)]
    if not given or not matches or matches[0].is_expired:
        raise Problem(
            "unauthorized",
            "Send a valid key, as `Authorization: Bearer KEY` or `X-C3-RENDER-KEY: KEY`.",
            headers={"WWW-Authenticate": "Bearer"},
        )
    return matches[0]


def _needed(request: Request) -> Scope:
    route = request.scope.get("route")
    if getattr(route, "name", "") in _CANCELLING:
        return "cancel"
    return "read" if request.method in {"GET", "HEAD"} else "submit"


_EVERYBODY: Final = Key(name="everybody", sha256="", scopes=EVERYTHING)


@lru_cache(maxsize=4)
def _of_settings(api: ApiSettings) -> tuple[Key, ...]:
    return tuple(
        Key(name=f"setting {number}", sha256=digest(key.get_secret_value()), scopes=EVERYTHING)
        for number, key in enumerate(api.keys, start=1)
    )


def _of_file(path: Path) -> tuple[Key, ...]:
    """Read it again when it has changed: a key is revoked at once, without a restart."""
    known = path.stat() if path.exists() else None
    return _read(path, (known.st_mtime_ns, known.st_size, known.st_ino) if known else None)


@lru_cache(maxsize=4)
def _read(path: Path, changed: tuple[int, int, int] | None) -> tuple[Key, ...]:
    del changed
    return read_keys(path)
