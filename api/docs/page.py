"""Documentation pages: Swagger UI at /docs from an installed package (no CDN), and /docs/problems."""

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from fastapi import APIRouter, FastAPI, Request
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import FileResponse, HTMLResponse

from api.auth.api_keys import PUBLIC
from api.errors import CODES, Problem
from api.http.path_prefix import path_prefix

router = APIRouter(include_in_schema=False, dependencies=[PUBLIC])

_SWAGGER_FILES = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "favicon.png": "image/png",
}

STYLE = (
    "body{font:16px/1.5 sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#3b4151}"
    "table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.35rem .8rem .35rem 0;"
    "border-bottom:1px solid #ddd}tr:target{background:#fff3c4}"
)


@lru_cache
def _swagger_folder() -> Path:
    # only the package's static files are used, so it is located without importing it
    spec = find_spec("fastapi_offline")
    if spec is None or spec.origin is None:
        raise Problem("not_found", "Swagger UI is not installed. Run `pip install fastapi-offline`.")
    return Path(spec.origin).parent / "static"


@router.get("/docs/files/{name}")
def read_docs_file(name: str) -> FileResponse:
    """Return one of Swagger UI's static files."""
    if name not in _SWAGGER_FILES:
        raise Problem("not_found", "File not found.")
    return FileResponse(_swagger_folder() / name, media_type=_SWAGGER_FILES[name])


@router.get("/docs/problems")
def read_problems() -> HTMLResponse:
    """List the problem codes; the `type` of a problem document links to this page."""
    rows = "".join(
        f"<tr id={name}><td><code>{name}</code><td>{code.status}<td>{'yes' if code.retryable else 'no'}"
        f"<td>{code.title}"
        for name, code in CODES.items()
    )
    return HTMLResponse(
        "<!doctype html><html lang=en><meta charset=utf-8><title>Problems</title>"
        '<meta name=viewport content="width=device-width, initial-scale=1">'
        f"<style>{STYLE}</style><h1>Problems</h1>"
        "<p>Values of <code>code</code> in error responses. Codes are never renamed."
        f"<table><thead><tr><th>code<th>HTTP<th>retryable<th>meaning<tbody>{rows}</table>"
    )


def install(app: FastAPI) -> None:
    """Add /docs to an app that was created with `docs_url=None`."""

    def read_docs(request: Request) -> HTMLResponse:
        prefix = path_prefix(request.scope)
        return get_swagger_ui_html(
            openapi_url=prefix + (app.openapi_url or "/openapi.json"),
            title=app.title,
            swagger_js_url=f"{prefix}/docs/files/swagger-ui-bundle.js",
            swagger_css_url=f"{prefix}/docs/files/swagger-ui.css",
            swagger_favicon_url=f"{prefix}/docs/files/favicon.png",
        )

    app.include_router(router)
    app.add_api_route("/docs", read_docs, include_in_schema=False, dependencies=[PUBLIC])
