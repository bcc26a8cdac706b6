"""Bodies of requests: no key, no parsing; bounded work on the event loop, and bounded lists of errors."""

import asyncio
import json
import socket
import time
from urllib.parse import urlsplit

import httpx
import pytest

from api.http.request_middleware import MAX_JSON_BYTES

JSON = {"Content-Type": "application/json"}
FLOATS = json.dumps({"text": [0.123456789] * 75_000}).encode()
MEMBERS = json.dumps({f"k{number}": 1 for number in range(70_000)}).encode()
LISTS = json.dumps({"monologue": [1] * 9_000}).encode()
CLIPS = json.dumps(
    {"avatars": {f"a b{n}": {"video_path": 1, "audio_clips": {"b c": 1}} for n in range(900)}}
).encode()
ROWS = json.dumps({"job_type": "speech", "rows": [{"text": "a", "x": 0.5}] * 9_000}).encode()
DIGITS = b'{"text": [' + b"111111111111111111," * 45_000 + b"1]}"
HOSTILE = {
    "floats": ("/v1/jobs/speech", FLOATS),
    "members": ("/v1/jobs/lip_sync", MEMBERS),
    "members of any type": ("/v1/jobs", MEMBERS),
    "list": ("/v1/jobs/speech", LISTS),
    "labels": ("/inference?avatar_id=a&audio_id=b", CLIPS),
    "old route": ("/csm", MEMBERS),
    "rows": ("/v1/batches?dry_run=true", ROWS),
    "digits": ("/v1/jobs/portrait", DIGITS),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_at_most_fifty_errors_are_told(client, what):
    path, body = HOSTILE[what]

    answer = client.post(path, content=body, headers=JSON)

    assert len(answer.content) < 200_000
    errors = answer.json().get("errors", [])
    assert len(errors) <= 50
    if what == "labels":
        assert len(errors) == 50 and "more" in answer.json()["detail"]


def test_an_error_names_the_end_of_no_endless_field(client):
    answer = client.post("/v1/jobs/speech", json={"text": "a", "x" * 400_000: 1})

    assert answer.status_code == 422 and len(answer.content) < 5000


def test_a_body_is_not_read_before_the_key(issue, server):
    """The answer comes although the body never does; a key without the scope is no better than none."""
    reader = issue("reader", scopes=frozenset({"read"}))["Authorization"].encode()
    where = urlsplit(server)
    for headers, status in ((b"", b"401"), (b"Authorization: " + reader + b"\r\n", b"403")):
        for path in (b"/v1/jobs/speech", b"/csm", b"/inference?avatar_id=a&audio_id=b", b"/v1/assets"):
            with socket.create_connection((where.hostname, where.port), timeout=20) as line:
                kind = b"application/octet-stream" if path == b"/v1/assets" else b"application/json"
                head = b"POST " + path + b" HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\nContent-Type: "
                line.sendall(head + kind + b"\r\n" + headers + b'\r\n{"a": ')
                assert line.recv(65536).split(b" ", 2)[1] == status, path


def test_an_invalid_body_without_a_key_is_told_about_the_key(issue, client):
    issue("somebody")
    for path in ("/v1/jobs/speech", "/csm", "/portrait"):
        assert client.post(path, content=b"{", headers=JSON).status_code == 401


@pytest.mark.parametrize("what", HOSTILE)
def test_no_body_keeps_the_event_loop_for_long(monkeypatch, server, what):
    """Health checks wait for the longest step of the loop. Its processor time is measured."""
    path, body = HOSTILE[what]
    took, run = [], asyncio.Handle._run

    def timed(handle):
        began = time.thread_time()
        run(handle)
        took.append(time.thread_time() - began)

    monkeypatch.setattr(asyncio.Handle, "_run", timed)
    with httpx.Client(base_url=server, trust_env=False, timeout=60) as client:
        for _ in range(3):
            took.clear()
            client.post(path, content=body, headers=JSON)
            assert client.get("/healthz").is_success
            if max(took) < 0.1:
                break
    assert took and max(took) < 0.1


def test_the_bodies_of_these_tests_are_within_the_limit_of_their_size():
    assert all(len(body) <= MAX_JSON_BYTES for _, body in HOSTILE.values())
