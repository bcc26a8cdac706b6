"""Behaviour of every route: problem documents, limits, API keys, uploads, documentation."""

import asyncio
import re
import subprocess
import sys

import pytest

from api.auth.api_keys import PublicWithoutKeys, is_loopback
from api.errors import CODES
from api.http.request_middleware import MAX_JSON_BYTES
from tasks.settings import get_settings

JSON = {"Content-Type": "application/json"}


def is_problem(answer) -> bool:
    body = answer.json()
    return (
        answer.headers["content-type"] == "application/problem+json"
        and {"type", "title", "status", "detail", "instance", "code", "request_id", "retryable"} <= set(body)
        and body["status"] == answer.status_code
        and body["code"] in CODES
        and body["request_id"] == answer.headers["x-request-id"]
    )


@pytest.mark.parametrize(
    ("method", "path", "options", "status"),
    [
        ("GET", "/nowhere", {}, 404),
        ("PUT", "/inference", {}, 405),
        ("POST", "/v1/jobs/speech", {"json": {}}, 422),
        ("POST", "/v1/jobs/speech", {"content": "{", "headers": JSON}, 400),
        ("POST", "/v1/jobs/speech", {"json": [1]}, 422),
        ("POST", "/v1/jobs/speech", {"data": {"text": "form"}}, 415),
        ("POST", "/job/17", {"content": "status=failed"}, 415),
        ("GET", "/v1/jobs/17", {}, 400),
        ("POST", "/v1/assets", {"content": b""}, 422),
        ("POST", "/v1/assets", {"files": {"other": b"x"}}, 400),
    ],
)
def test_every_refusal_is_a_problem_document(client, method, path, options, status):
    answer = client.request(method, path, **options)

    assert answer.status_code == status
    assert is_problem(answer), answer.text


def test_a_surprise_tells_nothing_but_its_id(connect, runs):
    async def broken(*_):
        raise RuntimeError("secret /etc/path")

    runs.read = broken

    answer = connect(raise_server_exceptions=False).get("/v1/jobs/00000000-0000-0000-0000-000000000000")

    assert answer.status_code == 500 and answer.json()["code"] == "internal"
    assert "secret" not in answer.text


def test_a_request_id_is_kept_or_made(client):
    assert client.get("/healthz", headers={"X-Request-ID": "abc-1"}).headers["x-request-id"] == "abc-1"
    assert re.fullmatch(
        r"[0-9a-f]{32}", client.get("/healthz", headers={"X-Request-ID": "a b"}).headers["x-request-id"]
    )


def test_a_json_body_over_the_limit_is_refused(client, runs):
    answer = client.post("/v1/jobs/speech", json={"text": "a" * MAX_JSON_BYTES})

    assert (answer.status_code, answer.json()["code"]) == (413, "input_too_large")
    assert not runs.created


def test_a_body_that_does_not_tell_its_size_is_cut(client):
    taken = []

    def blocks():
        for number in range(100):
            taken.append(number)
            yield b"a" * 100_000

    answer = client.post("/v1/jobs/speech", content=blocks(), headers=JSON)

    assert answer.status_code == 413


def test_an_upload_becomes_a_reference_with_its_name(client):
    from tasks.catalog.assets import asset_key, asset_name
    from tasks.storage.home_store import home_store

    for answer in (
        client.post("/v1/assets", params={"name": "Anna 1.mp4"}, content=b"raw bytes"),
        client.post("/v1/assets", files={"file": ("../Anna 1.mp4", b"raw bytes")}),
        client.post(
            "/v1/assets",
            content=iter([b"raw ", b"bytes"]),
            headers={"Content-Disposition": 'attachment; filename="Anna 1.mp4"'},
        ),
    ):
        body = answer.json()
        assert answer.status_code == 201
        assert body["uri"] == f"asset://{body['id']}" and body["name"] == "Anna 1.mp4"
        assert asset_name(body["id"]) == "Anna 1.mp4"
        assert b"".join(home_store().read(asset_key(body["id"]))) == b"raw bytes"


@pytest.mark.parametrize("how", ["told", "untold", "form"])
def test_an_upload_over_the_limit_is_cut_and_leaves_nothing(connect, environment, tmp_path, how):
    environment.setenv("MUSETALK_API__MAX_UPLOAD_BYTES", "1000")
    client = connect()
    data = b"a" * 2000
    options = {
        "told": {"content": data},
        "untold": {"content": iter([data[:900], data[900:]])},
        "form": {"files": {"file": ("a.bin", data)}},
    }

    answer = client.post("/v1/assets", **options[how])

    assert (answer.status_code, answer.json()["code"]) == (413, "input_too_large")
    assert [path for path in (tmp_path / "home").rglob("*") if path.is_file()] == []


def test_keys_are_asked_for_where_there_are_any(connect, environment, runs):
    environment.setenv("MUSETALK_API__KEYS", "first-key,second-key")
    client = connect()
    path = f"/v1/jobs/{runs.running().id}"

    assert client.get(path).status_code == 401 and is_problem(client.get(path))
    assert client.get(path, headers={"Authorization": "Bearer wrong"}).status_code == 401
    assert client.get(path, headers={"Authorization": "Bearer second-key"}).status_code == 200
    assert client.get(path, headers={"X-C3-RENDER-KEY": "first-key"}).status_code == 200
    assert client.get("/healthz").status_code == client.get("/").status_code == 200


@pytest.mark.parametrize("path", ["/inference", "/v1/jobs/speech", "/v1/assets", f"/job/{'0' * 32}"])
def test_no_door_opens_without_a_key(connect, environment, runs, path):
    environment.setenv("MUSETALK_API__KEYS", "k")

    assert connect().post(path, json={"text": "Hi"}).status_code in {401}
    assert not runs.created


def test_a_public_address_needs_keys(connect, environment):
    environment.setenv("MUSETALK_API__HOST", "0.0.0.0")
    with pytest.raises(PublicWithoutKeys, match=r"MUSETALK_API__KEYS.*MUSETALK_API__HOST"):
        connect()

    environment.setenv("MUSETALK_API__KEYS", "k")
    assert connect().get("/healthz").status_code == 200


@pytest.mark.parametrize(
    ("host", "own"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("10.0.0.1", False),
        ("x.y", False),
    ],
)
def test_only_loopback_is_private(host, own):
    assert is_loopback(host) is own


def test_the_documentation_asks_no_other_server(client):
    page = client.get("/docs").text
    addresses = re.findall(r"(?:src|href)=\"([^\"]+)\"", page)

    assert len(addresses) >= 3 and "://" not in page
    for address in addresses:
        assert client.get(address).status_code == 200


def test_every_problem_has_a_place_in_the_documentation(client):
    kind = client.get("/nowhere").json()["type"]
    path, _, anchor = kind.partition("#")

    assert f"id={anchor}" in client.get(path).text


def test_readiness_says_what_is_wrong(client, runs):
    ready = client.get("/readyz")
    assert ready.status_code == 200 and ready.json()["checks"]["store"] == "ok"

    runs.fault = "the Prefect server does not answer"
    broken = client.get("/readyz")
    assert broken.status_code == 503
    assert broken.json() == {"ready": False, "checks": {"prefect": runs.fault, "store": "ok"}}


def test_the_app_loads_nothing_heavy():
    code = "import sys, api.main; print([n for n in sys.argv[1:] if n in sys.modules])"
    heavy = ["prefect", "boto3", "torch", "cv2", "numpy", "av", "onnxruntime"]
    found = subprocess.run([sys.executable, "-c", code, *heavy], capture_output=True, text=True, check=True)

    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize("kind", ["application/octet-stream", "multipart/form-data; boundary=zz"])
def test_an_upload_that_is_given_up_leaves_nothing_and_is_no_surprise(connect, kind):
    begun = b'--zz\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nhello'
    arriving = [
        {"type": "http.request", "body": begun, "more_body": True},
        {"type": "http.disconnect"},
    ]
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/assets",
        "query_string": b"",
        "headers": [(b"content-type", kind.encode()), (b"content-length", b"5000")],
    }
    sent = []

    async def receive():
        return arriving.pop(0) if arriving else {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    asyncio.run(connect().app(scope, receive, send))

    settings = get_settings()
    assert sent[0]["status"] == 400
    assert [path for path in settings.home.rglob("*") if path.is_file()] == []
