"""
Authentication and authorization: API keys from settings and the key file, scopes of routes.

The API refuses to listen on a public address without keys.
"""

import hmac
import ipaddress
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Request, Security
from fastapi.params import Security as SecurityParameter
from fastapi.routing import APIRoute
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer, SecurityScopes
from starlette.datastructures import Headers
from starlette.routing import BaseRoute, Route
from starlette.types import Scope

from api.auth.key_file import ApiKey, hash_key, read_keys
from api.auth.key_file import Scope as KeyScope
from api.errors import Problem
from tasks.run.tenancy import set_current_tenant
from tasks.settings import ApiSettings, get_settings

ALL_SCOPES: Final[frozenset[KeyScope]] = frozenset({"submit", "read", "cancel", "admin"})
_KEY_HEADER_NAME: Final = "X-C3-RENDER-KEY"
_BEARER: Final = HTTPBearer(
    auto_error=False, scheme_name="bearer", description="An API key as a bearer token."
)
_KEY_HEADER: Final = APIKeyHeader(
    name=_KEY_HEADER_NAME,
    auto_error=False,
    scheme_name="header",
    description="An API key, in the header that clients of the C3 Render API send.",
)


class PublicWithoutKeys(Exception):
    """The API would listen on a public address without requiring an API key."""


def require_keys_when_public(api: ApiSettings) -> None:
    """
    Check that keys exist if the API listens on a public address, and that the key file can be read.

    Raises:
        PublicWithoutKeys: the address is not loopback, no key is set, and `open` is not set either.
        KeyFileError:      the key file cannot be read or is invalid.
    """
    has_keys = bool(api.keys) or (api.keys_file is not None and bool(read_keys(api.keys_file)))
    if not has_keys and not api.open and not is_loopback(api.host):
        raise PublicWithoutKeys(
            f"The API would listen on {api.host} without requiring a key. Set MUSETALK_API__KEYS to one or"
            " more secret keys, or MUSETALK_API__KEYS_FILE, or MUSETALK_API__HOST to 127.0.0.1. On a private"
            " network, MUSETALK_API__OPEN=true lets everybody in who reaches the port."
        )


def is_loopback(host: str) -> bool:
    """Return whether a host to listen on is reachable from this computer only."""
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
    header: Annotated[str | None, Security(_KEY_HEADER)],
) -> None:
    """
    Authenticate a request and check the scopes of its key; without configured keys every request passes.

    The key is read from `Authorization: Bearer` or `X-C3-RENDER-KEY`. Each route declares the scope that it
    requires: `dependencies=[READ]`, `[SUBMIT]`, `[CANCEL]` or `[ADMIN]`. Sets `request.state.caller` and the
    tenant of the request.

    Raises:
        Problem: `unauthorized`, `forbidden`.
    """
    caller = _authorize(bearer.credentials.strip() if bearer else header or "", scopes.scopes)
    request.state.caller = caller
    set_current_tenant(caller.tenant)


def check_access_before_body(scope: Scope) -> None:
    """
    Check the key of a request whose route is known, so that no body is read without one.

    `require_key` checks it again after FastAPI has parsed the body, and sets the caller.

    Raises:
        Problem: `unauthorized`, `forbidden`.
    """
    route = scope.get("route")
    scopes = scopes_of(route) if isinstance(route, APIRoute) else frozenset[str]()
    if scopes:
        headers = Headers(scope=scope)
        scheme, _, credentials = headers.get("authorization", "").partition(" ")
        is_bearer = scheme.lower() == "bearer" and bool(credentials)
        _authorize(credentials.strip() if is_bearer else headers.get(_KEY_HEADER_NAME, ""), sorted(scopes))


def _authorize(presented_key: str, scopes: Sequence[str]) -> ApiKey:
    caller = _authenticate(presented_key)
    missing = [scope for scope in scopes if scope not in caller.scopes]
    if missing or not scopes:
        needed = " and ".join(missing) or "that this route should have declared"
        raise Problem("forbidden", f"This API key does not have the scope {needed}.")
    return caller


READ: Final = Security(require_key, scopes=["read"])
"""For routes that only read."""
SUBMIT: Final = Security(require_key, scopes=["submit"])
"""For routes that create jobs, uploads or webhook deliveries, or resume jobs."""
CANCEL: Final = Security(require_key, scopes=["cancel"])
"""For routes that stop jobs or delete data."""
ADMIN: Final = Security(require_key, scopes=["admin"])
"""For routes that change the installation."""


async def _allow_all() -> None:
    """Do nothing; marks a route as public, see `PUBLIC`."""


PUBLIC: Final = Depends(_allow_all)
"""For read-only routes that require no key."""


async def _allow_reports() -> None:
    """Do nothing; marks the route to which browsers report, see `PUBLIC_REPORT`."""


PUBLIC_REPORT: Final = Depends(_allow_reports)
"""For routes to which browsers send reports without a key: nothing but a log line may come of a request."""


class UndeclaredRoute(Exception):
    """A route declares neither a scope nor `PUBLIC`."""


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
        # FastAPI adds the route of /openapi.json itself, as a plain Starlette route
        is_public = not isinstance(route, APIRoute) or PUBLIC in route.dependencies
        if isinstance(route, APIRoute) and PUBLIC_REPORT in route.dependencies:
            continue
        if not is_public or not (route.methods or set[str]()) <= {"GET", "HEAD", "OPTIONS"}:
            raise UndeclaredRoute(
                f"{', '.join(sorted(route.methods or ()))} {route.path} declares no scope: add READ, SUBMIT,"
                " CANCEL or ADMIN to its dependencies."
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
        # newer versions of FastAPI keep an included router as one route
        included_router = getattr(route, "original_router", None)
        if isinstance(included_router, APIRouter):
            yield from all_routes(included_router.routes)
        elif isinstance(route, Route):
            yield route
        else:
            raise UndeclaredRoute(f"{route!r} is not a plain route, so it cannot declare a scope.")


def scopes_of(route: APIRoute) -> frozenset[str]:
    """Return the scopes that a route declares; empty for a public route."""
    declared = (one for one in route.dependencies if isinstance(one, SecurityParameter))
    return frozenset(scope for one in declared if one.dependency is require_key for scope in one.scopes or ())


def caller_tenant(request: Request) -> str | None:
    """
    Return the caller's tenant, on a route that depends on `require_key`.

    None for a key without a tenant, which may access the jobs of all tenants.
    """
    caller: ApiKey = request.state.caller
    return caller.tenant


def _authenticate(presented_key: str) -> ApiKey:
    api = get_settings().api
    if not api.keys and api.keys_file is None:
        return _ANONYMOUS
    configured_keys = (*_keys_from_settings(api), *(_keys_from_file(api.keys_file) if api.keys_file else ()))
    # compare with every key in constant time, so that response times reveal nothing about keys
    matches = [key for key in configured_keys if hmac.compare_digest(hash_key(presented_key), key.sha256)]
    if not presented_key or not matches or matches[0].is_expired:
        raise Problem(
            "unauthorized",
            "Send a valid key, as `Authorization: Bearer KEY` or `X-C3-RENDER-KEY: KEY`.",
            headers={"WWW-Authenticate": "Bearer"},
        )
    return matches[0]


_ANONYMOUS: Final = ApiKey(name="everybody", sha256="", scopes=ALL_SCOPES)


@lru_cache(maxsize=4)
def _keys_from_settings(api: ApiSettings) -> tuple[ApiKey, ...]:
    return tuple(
        ApiKey(name=f"setting {number}", sha256=hash_key(key.get_secret_value()), scopes=ALL_SCOPES)
        for number, key in enumerate(api.keys, start=1)
    )


def _keys_from_file(path: Path) -> tuple[ApiKey, ...]:
    """Read the key file again if it has changed, so that a revoked key is rejected without a restart."""
    file_stat = path.stat() if path.exists() else None
    return _read_keys_cached(
        path, (file_stat.st_mtime_ns, file_stat.st_size, file_stat.st_ino) if file_stat else None
    )


@lru_cache(maxsize=4)
def _read_keys_cached(path: Path, file_version: tuple[int, int, int] | None) -> tuple[ApiKey, ...]:
    del file_version
    return read_keys(path)
