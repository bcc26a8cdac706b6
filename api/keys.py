"""Who may use the API: keys of the settings and of a file, and no public address without one."""

import hmac
import ipaddress
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Request, Security
from fastapi.params import Security as SecurityParameter
from fastapi.routing import APIRoute
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer, SecurityScopes
from starlette.routing import BaseRoute, Route

from api.key_file import Key, Scope, digest, read_keys
from api.problems import Problem
from tasks.settings import ApiSettings, get_settings
from tasks.tenancy import work_for

EVERYTHING: Final[frozenset[Scope]] = frozenset({"submit", "read", "cancel", "admin"})
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
    scopes: SecurityScopes,
    bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)],
    header: Annotated[str | None, Security(_HEADER)],
) -> None:
    """
    Let a request pass when it carries a key that allows it, or when none are set.

    Looked for in `Authorization: Bearer` and in `X-C3-RENDER-KEY`. Each route declares the scope that it
    needs: `dependencies=[READ]`, `[SUBMIT]` or `[CANCEL]`. Sets `request.state.caller` and the tenant of the
    request.

    Raises:
        Problem: `unauthorized`, `forbidden`.
    """
    caller = _caller(bearer.credentials.strip() if bearer else header or "")
    missing = [scope for scope in scopes.scopes if scope not in caller.scopes]
    if missing or not scopes.scopes:
        needed = " and ".join(missing) or "that this route should have declared"
        raise Problem("forbidden", f"This key does not have the scope {needed}.")
    request.state.caller = caller
    work_for(caller.tenant)


READ: Final = Security(require_key, scopes=["read"])
"""For routes that only read."""
SUBMIT: Final = Security(require_key, scopes=["submit"])
"""For routes that create jobs, uploads or webhook deliveries, or resume jobs."""
CANCEL: Final = Security(require_key, scopes=["cancel"])
"""For routes that stop jobs or delete data."""


async def _require_nothing() -> None:
    """Mark a route as public; see `OPEN`."""


OPEN: Final = Depends(_require_nothing)
"""For read-only routes that need no key."""


class UndeclaredRoute(Exception):
    """A route declares neither a scope nor `OPEN`."""


def require_scopes_on_routes(routes: Iterable[BaseRoute]) -> None:
    """
    Check that every route declares a scope or is explicitly public.

    Args:
        routes: of the app.

    Raises:
        UndeclaredRoute: a route declares neither, or is public and not read-only.
    """
    for route in all_routes(routes):
        if isinstance(route, APIRoute) and scopes_of(route):
            continue
        # FastAPI adds the route of the description itself
        is_open = not isinstance(route, APIRoute) or OPEN in route.dependencies
        if not is_open or not (route.methods or set[str]()) <= {"GET", "HEAD"}:
            raise UndeclaredRoute(
                f"{', '.join(sorted(route.methods or ()))} {route.path} declares no scope: give it READ,"
                " SUBMIT or CANCEL of api.keys."
            )


def all_routes(routes: Iterable[BaseRoute]) -> Iterator[Route]:
    """
    Yield all routes of an app, including those of included routers.

    Args:
        routes: of the app.

    Raises:
        UndeclaredRoute: a route is of a kind whose scopes cannot be read, such as a mounted app.
    """
    for route in routes:
        included = getattr(route, "original_router", None)  # newer versions of FastAPI keep routers whole
        if isinstance(included, APIRouter):
            yield from all_routes(included.routes)
        elif isinstance(route, Route):
            yield route
        else:
            raise UndeclaredRoute(f"{route!r} is not a plain route, so it cannot declare a scope.")


def scopes_of(route: APIRoute) -> frozenset[str]:
    """Return the scopes that a route declares; empty for a public route."""
    declared = (one for one in route.dependencies if isinstance(one, SecurityParameter))
    return frozenset(scope for one in declared if one.dependency is require_key for scope in one.scopes or ())


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
