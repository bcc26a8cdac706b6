"""URLs in answers: equal to those of Starlette for odd names, hosts and path prefixes, from one lookup."""

import pytest
from fastapi import Request

from api.http.urls import _path_template, route_url

JOB = "0b7c6f0e-4c1d-4a55-9d0e-6f1d2c3b4a59"
ROUTES = {
    "read_job": {"job_id": JOB},
    "cancel_job": {"job_id": JOB},
    "read_file": {"job_id": JOB, "name": "take%201%20%7Bx%7D{name}.mp4"},
    "read_signed_file": {"job_id": JOB, "name": "a.mp4"},
}


def request_for(app, host, root_path):
    scope = {
        "type": "http", "method": "GET", "path": f"{root_path}/", "root_path": root_path, "scheme": "http",
        "server": ("127.0.0.1", 8080), "headers": [(b"host", host)] if host else [],
        "query_string": b"", "app": app, "router": app.router,
    }  # fmt: skip
    return Request(scope)


@pytest.mark.parametrize("name", ROUTES)
@pytest.mark.parametrize("root_path", ["", "/render", "/a%20b"])
@pytest.mark.parametrize("host", [b"", b"api.test", b"api.test:8443", b"[::1]:80", b"a?b#c", b"a/{job_id}"])
def test_urls_are_those_of_starlette(app_of_server, name, root_path, host):
    request = request_for(app_of_server, host, root_path)

    assert route_url(request, name, **ROUTES[name]) == request.url_for(name, **ROUTES[name])


def test_a_path_is_looked_up_once(app_of_server, monkeypatch):
    _path_template.cache_clear()
    request, looked_up = request_for(app_of_server, b"api.test", ""), []
    real = type(app_of_server.router).url_path_for
    monkeypatch.setattr(
        type(app_of_server.router),
        "url_path_for",
        lambda self, name, /, **values: looked_up.append(name) or real(self, name, **values),
    )
    urls = {str(route_url(request, "read_job", job_id=number)) for number in range(3)}

    assert urls == {f"http://api.test/v1/jobs/{number}" for number in range(3)}
    assert looked_up.count("read_job") == 1
