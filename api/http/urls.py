"""Absolute URLs of routes, whose paths are looked up once: each lookup compares all routes with a name."""

from functools import lru_cache

from fastapi import FastAPI, Request
from starlette.datastructures import URL, URLPath


def route_url(request: Request, name: str, /, **values: object) -> URL:
    """
    Return what `request.url_for` returns, for routes whose path parameters have no converter.

    Args:
        request: the request, for the address of the server.
        name:    name of the route.
        values:  path parameters, quoted where necessary.
    """
    path = _path_template(request.app, name, tuple(values)).format_map(values)
    return URLPath(path).make_absolute_url(base_url=request.base_url)


@lru_cache(maxsize=64)
def _path_template(app: FastAPI, name: str, parameters: tuple[str, ...]) -> str:
    """Return the path of a route with `{parameter}` for each parameter."""
    return str(app.url_path_for(name, **{one: f"{{{one}}}" for one in parameters}))
