"""Slow uploads: they hold no thread, end at a minimum rate and a maximum time, and are few per tenant."""

import socket
import time
from contextlib import ExitStack
from urllib.parse import urlsplit

import httpx
import pytest

from api.http import body_guard

RAW = b"application/octet-stream"
FORM = b"multipart/form-data; boundary=zz"
FORM_HEAD = b'--zz\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'


@pytest.fixture
def no_limit(environment):
    environment.setenv("MUSETALK_API__MAX_OPEN_UPLOADS", "0")


@pytest.fixture
def dial(server):
    """Begin uploads that send a few bytes and then nothing; gives their connections."""
    where = urlsplit(server)
    with ExitStack() as stack:

        def begin(kind=RAW, key=b""):
            line = socket.create_connection((where.hostname, where.port), timeout=60)
            stack.enter_context(line)
            head = b"POST /v1/assets HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\nContent-Type: "
            line.sendall(head + kind + b"\r\n" + key + b"\r\n" + (FORM_HEAD if kind == FORM else b"") + b"ab")
            return line

        yield begin


@pytest.mark.parametrize(
    "count", [60, pytest.param(200, marks=pytest.mark.slow)]
)  # more than the 40 threads that requests share
def test_slow_uploads_delay_neither_downloads_nor_other_uploads(no_limit, server, finished, dial, count):
    run = finished()
    lines = [dial(RAW if number % 4 else FORM) for number in range(count)]
    time.sleep(0.5)

    took = []
    with httpx.Client(base_url=server, trust_env=False, timeout=20) as client:
        for _ in range(5):
            began = time.monotonic()
            assert client.get(f"/v1/jobs/{run.id}/files/anna_hello.mp4").content == b"0123456789"
            took.append(time.monotonic() - began)
            assert client.post("/v1/assets", content=b"123", headers={"content-type": RAW}).is_success
    assert sorted(took)[2] < 1, took
    assert len(lines) == count


@pytest.mark.parametrize("kind", [RAW, FORM])
def test_an_upload_below_the_minimum_rate_is_ended(monkeypatch, server, dial, kind):
    monkeypatch.setattr(body_guard, "WINDOW_S", 0.5)

    line, answer = dial(kind), b""
    while block := line.recv(65536):  # until the server closes the connection
        answer += block

    assert answer.startswith(b"HTTP/1.1 408 ") and b"request_timeout" in answer
    assert b"connection: close" in answer.lower()


@pytest.mark.parametrize("kind", [RAW, FORM])
def test_an_upload_has_a_time_limit_however_steady_it_is(environment, request, kind):
    environment.setenv("MUSETALK_API__UPLOAD_TIMEOUT_S", "1")
    line = request.getfixturevalue("dial")(kind)
    began, answer = time.monotonic(), b""
    line.settimeout(0.1)
    while not answer and time.monotonic() - began < 20:
        line.sendall(b"x" * 1000)
        try:
            answer = line.recv(65536)
        except TimeoutError:
            continue
    assert answer.startswith(b"HTTP/1.1 408 ")


def test_a_body_of_json_has_a_time_limit(environment, request):
    environment.setenv("MUSETALK_API__BODY_TIMEOUT_S", "0.5")
    where = urlsplit(request.getfixturevalue("server"))
    with socket.create_connection((where.hostname, where.port), timeout=20) as line:
        head = b"POST /v1/jobs/speech HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
        line.sendall(head + b"Content-Length: 1000\r\n\r\n{")
        assert line.recv(65536).startswith(b"HTTP/1.1 408 ")


def test_a_tenant_has_so_many_uploads_at_a_time(environment, issue, request):
    environment.setenv("MUSETALK_API__MAX_OPEN_UPLOADS", "2")
    mine, other = issue("a", tenant="acme"), issue("b", tenant="other")
    server, dial = request.getfixturevalue("server"), request.getfixturevalue("dial")
    key = b"Authorization: " + mine["Authorization"].encode() + b"\r\n"
    lines = [dial(RAW, key), dial(FORM, key)]
    time.sleep(0.5)

    def upload(headers):
        return httpx.post(
            f"{server}/v1/assets", content=b"1", headers=headers | {"content-type": RAW}, trust_env=False
        )

    refused = upload(mine)
    assert (refused.status_code, refused.json()["code"]) == (429, "concurrency_limited")
    assert refused.headers["retry-after"] == "10"
    assert upload(other).status_code == 201
    for line in lines:
        line.close()
    until = time.monotonic() + 10
    while upload(mine).status_code != 201 and time.monotonic() < until:
        time.sleep(0.1)
    assert upload(mine).status_code == 201
