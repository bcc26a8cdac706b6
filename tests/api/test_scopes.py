"""Every route declares the scope that it needs, or that it is open; a key does what its scopes say alone."""

import json
from uuid import uuid4

import pytest
from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute

from api.auth.api_keys import PUBLIC, READ, UndeclaredRoute, all_routes, require_scopes_on_routes, scopes_of
from api.auth.key_file import ApiKey, KeyFile
from api.main import create_app

SCOPES = ("submit", "read", "cancel", "admin")
CHANGING = {"POST", "PUT", "PATCH", "DELETE"}
CANCELLING = {
    ("POST", "/job/{job_id}"),
    ("POST", "/v1/jobs/{job_id}/cancel"),
    ("DELETE", "/v1/jobs/{job_id}"),
    ("POST", "/v1/batches/{batch_id}/cancel"),
    ("DELETE", "/v1/avatars/{avatar}"),
}
ADMINISTERING = {("POST", "/v1/models/{name}/pull"), ("DELETE", "/v1/models/{name}/pull")}
OPEN_PATHS = {
    "/",
    "/healthz",
    "/startupz",
    "/version",
    "/metrics",
    "/readyz",
    "/v1/downloads/{job_id}/{name}",  # its signature takes the place of a key
    "/v1/downloads/assets/{asset}",  # likewise
}
REPORTING = {("POST", "/studio/csp-report")}
"""Browsers send reports without a key."""


@pytest.fixture
def routes(environment):
    return [route for route in all_routes(create_app().routes) if isinstance(route, APIRoute)]


def test_every_route_that_changes_something_declares_a_scope(routes):
    changing = [(method, route) for route in routes for method in route.methods & CHANGING]
    assert len(changing) > 25
    for method, route in changing:
        if (method, route.path) in REPORTING:
            assert scopes_of(route) == set()
            continue
        wanted = {"cancel"} if (method, route.path) in CANCELLING else {"submit"}
        wanted = {"admin"} if (method, route.path) in ADMINISTERING else wanted
        assert scopes_of(route) == wanted, (method, route.path)
    known = {(method, route.path) for method, route in changing}
    assert known >= CANCELLING


def test_every_other_route_declares_read_or_that_it_is_open(routes):
    for route in routes:
        if route.path.startswith("/v1/uploads"):  # who may upload may continue an upload
            wanted = frozenset() if "OPTIONS" in route.methods else frozenset({"submit"})
            assert scopes_of(route) == wanted, route.path
        elif route.methods <= {"GET", "HEAD"} and not route.path.startswith(("/docs", "/studio")):
            wanted = frozenset() if route.path in OPEN_PATHS else frozenset({"read"})
            assert scopes_of(route) == wanted, route.path


def test_the_description_tells_them(client):
    said = client.get("/openapi.json").json()["paths"]
    assert {"bearer": ["cancel"]} in said["/job/{job_id}"]["post"]["security"]
    assert {"header": ["submit"]} in said["/v1/jobs/speech"]["post"]["security"]
    assert {"bearer": ["read"]} in said["/v1/jobs"]["get"]["security"]
    for path, operations in said.items():
        for method, operation in operations.items():
            named = [
                scope for one in operation.get("security", []) for scopes in one.values() for scope in scopes
            ]
            assert bool(named) == (path not in OPEN_PATHS), (method, path)


def undeclared(*, method="POST", **options):
    router = APIRouter()

    async def route() -> None: ...

    router.add_api_route("/new", route, methods=[method], **options)
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    app.include_router(router)
    return app.routes


def test_a_route_without_a_scope_stops_the_start():
    with pytest.raises(UndeclaredRoute, match="POST /new"):
        require_scopes_on_routes(undeclared())
    with pytest.raises(UndeclaredRoute, match="GET /new"):
        require_scopes_on_routes(undeclared(method="GET"))
    with pytest.raises(UndeclaredRoute, match="POST /new"):
        require_scopes_on_routes(undeclared(dependencies=[PUBLIC]))
    require_scopes_on_routes(undeclared(method="GET", dependencies=[PUBLIC]))
    require_scopes_on_routes(undeclared(dependencies=[READ]))


def filled(path):
    for name in ("job_id", "batch_id", "pipeline_id", "upload_id"):
        path = path.replace(f"{{{name}}}", str(uuid4()))
    return path.format(avatar="0" * 64, asset="0" * 32, name="x.mp4", webhook_id="msg_1", job_type="speech")


@pytest.mark.parametrize("scope", SCOPES)
def test_a_key_of_one_scope_opens_the_routes_of_that_scope_alone(connect, routes, issue, scope):
    client, headers = connect(), issue(scope, scopes=frozenset({scope}))
    tried = 0
    for route in routes:
        needed = scopes_of(route)
        for method in sorted(route.methods) if needed else ():
            body = {"json": {}} if method in CHANGING else {}
            answer = client.request(
                method, filled(route.path), headers=headers, follow_redirects=False, **body
            )
            tried += 1
            assert (answer.status_code == 403) == (needed != {scope}), (method, route.path, answer.text)
            assert answer.status_code != 401
            if answer.status_code == 403 and method != "HEAD":
                assert answer.json()["code"] == "forbidden"
                assert f"scope {next(iter(needed))}" in answer.json()["detail"]
    assert tried > 50


def test_both_ways_to_end_a_job_need_the_same_scope(connect, runs, issue):
    client = connect()
    submitter = issue("s", scopes=frozenset({"submit", "read"}))
    canceller = issue("c", scopes=frozenset({"cancel"}))
    for body in (
        {"status": "cancelled"},
        {"status": "cancelled", "remove_data": True},
        {"status": "timed_out"},
    ):
        run = runs.running()
        refused = client.post(f"/job/{run.id}", json=body, headers=submitter)
        assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
        assert runs.jobs[run.id].status == "running"
        assert client.post(f"/job/{run.id}", json=body, headers=canceller).status_code == 200


def test_key_files_that_name_admin_are_still_read(connect, issue):
    stored = {"keys": [{"name": "old", "sha256": "0" * 64, "scopes": ["admin", "read"]}]}
    assert KeyFile.model_validate_json(json.dumps(stored)).keys[0].scopes == {"admin", "read"}
    assert ApiKey(name="x", sha256="").scopes == {"submit", "read", "cancel"}
    headers = issue("operator", scopes=frozenset({"admin", "read"}))
    assert connect().get("/v1/jobs", headers=headers).status_code == 200
