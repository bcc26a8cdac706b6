"""Browsers: no page of another origin uses the API, unless an operator names it; and what pages are told."""

import pytest
from pydantic import ValidationError

from tasks.settings import Settings

EVIL, GOOD = "https://evil.example", "https://studio.example.com"
ASK = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
SPEECH = {"text": "Hello."}


def allowed(answer):
    return {name for name in answer.headers if name.startswith("access-control-")}


def test_no_other_page_is_let_in_by_default(client):
    asked = client.options("/v1/jobs/speech", headers={"Origin": EVIL, **ASK})

    assert asked.status_code == 405 and not allowed(asked)
    for path in ("/healthz", "/v1/jobs", "/openapi.json", "/docs", "/nowhere"):
        assert not allowed(client.get(path, headers={"Origin": EVIL})), path


def test_an_operator_lets_in_one_page_and_no_other(connect, environment, runs):
    environment.setenv("MUSETALK_API__ALLOWED_ORIGINS", f"{GOOD},http://127.0.0.1:3000")
    environment.setenv("MUSETALK_API__KEYS", "key-of-the-tests")
    client = connect()
    key = {"Authorization": "Bearer key-of-the-tests"}

    asked = client.options("/v1/jobs/speech", headers={"Origin": GOOD, **ASK})
    assert asked.status_code == 200
    assert asked.headers["access-control-allow-origin"] == GOOD
    assert "authorization" in asked.headers["access-control-allow-headers"].lower()
    assert "access-control-allow-credentials" not in asked.headers

    sent = client.post("/v1/jobs/speech", json=SPEECH, headers={"Origin": GOOD, **key})
    assert sent.status_code == 202 and sent.headers["access-control-allow-origin"] == GOOD
    assert "X-Request-ID" in sent.headers["access-control-expose-headers"]
    # a refusal carries the header too, otherwise the page only sees a network error
    for refused in (
        client.post("/v1/jobs/speech", json=SPEECH, headers={"Origin": GOOD}),
        client.post("/v1/jobs/speech", content="x", headers={"Origin": GOOD}),
    ):
        assert refused.status_code in {401, 415}
        assert refused.headers["access-control-allow-origin"] == GOOD

    for origin in (EVIL, "null", f"{GOOD}.evil.example", GOOD.upper(), GOOD.replace("https", "http"), ""):
        for answer in (
            client.options("/v1/jobs/speech", headers={"Origin": origin, **ASK}),
            client.post("/v1/jobs/speech", json=SPEECH, headers={"Origin": origin, **key}),
        ):
            assert "access-control-allow-origin" not in answer.headers, origin


@pytest.mark.parametrize(
    "origin",
    ["*", "null", "studio.example.com", f"{GOOD}/", f"{GOOD}/path", "https://*.example.com", "HTTPS://A.B",
     "https://user@a.b", "https://a.b\r\nX: y", "ftp://a.b", "https://"],
)  # fmt: skip
def test_what_is_no_origin_stops_the_start(origin):
    with pytest.raises(ValidationError, match="not an origin as browsers write it"):
        Settings(api={"allowed_origins": [origin]})


UPLOAD = {"files": {"file": ("a.bin", b"x")}}


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": EVIL},
        {"Origin": "null"},
        {"Origin": EVIL, "Sec-Fetch-Site": "cross-site"},
        {"Origin": "http://testserver", "Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
)
def test_where_no_key_is_asked_for_other_pages_change_nothing(client, runs, headers):
    job = runs.running()
    asked = {
        "/v1/assets": UPLOAD,
        f"/v1/jobs/{job.id}/cancel": {},
        f"/v1/jobs/{job.id}/retry": {},
        "/v1/jobs/speech": {"json": SPEECH},
        "/inference": {"json": {}},
    }
    for path, options in asked.items():
        answer = client.post(path, headers=headers, **options)
        assert (answer.status_code, answer.json()["code"]) == (403, "origin_not_allowed"), path
    assert client.delete(f"/v1/jobs/{job.id}", headers=headers).status_code == 403
    assert not runs.created and runs.jobs[job.id].status == "running"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "http://testserver"},
        {"Origin": "http://testserver", "Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "https://api.example.com"},
        {"Origin": GOOD},
        {"Origin": GOOD, "Sec-Fetch-Site": "cross-site"},
    ],
)
def test_programs_own_pages_and_allowed_ones_are_let_in(connect, environment, headers):
    environment.setenv("MUSETALK_API__PUBLIC_URL", "https://api.example.com")
    environment.setenv("MUSETALK_API__ALLOWED_ORIGINS", GOOD)

    assert connect().post("/v1/assets", headers=headers, **UPLOAD).status_code == 201


def test_who_has_a_key_is_no_page_s_victim(connect, environment):
    environment.setenv("MUSETALK_API__KEYS", "k")

    answer = connect().post("/v1/assets", headers={"Origin": EVIL, "Authorization": "Bearer k"}, **UPLOAD)

    assert answer.status_code == 201


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/", 200),
        ("/docs", 200),
        ("/docs/problems", 200),
        ("/docs/files/swagger-ui.css", 200),
        ("/openapi.json", 200),
        ("/metrics", 200),
        ("/nowhere", 404),
        ("/v1/jobs/17", 400),
    ],
)
def test_browsers_are_told_to_be_careful(client, path, status):
    answer = client.get(path)

    assert answer.status_code == status
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["referrer-policy"] == "no-referrer"
    is_page = answer.headers["content-type"].startswith("text/html")
    policy = answer.headers.get("content-security-policy", "")
    assert is_page is ("frame-ancestors 'none'" in policy and "object-src 'none'" in policy)


def test_refusals_and_files_are_told_so_too(client, finished):
    run = finished(name="page.txt", content=b"<script>alert(1)</script>")
    answers = [
        client.get(f"/v1/jobs/{run.id}/files/page.txt"),
        client.post(
            "/v1/jobs/speech", content=b"a" * 2_000_000, headers={"Content-Type": "application/json"}
        ),
        client.post("/v1/jobs/speech", content="form"),
    ]

    assert [answer.status_code for answer in answers] == [200, 413, 415]
    assert all(answer.headers["x-content-type-options"] == "nosniff" for answer in answers)
    assert not answers[0].headers["content-type"].startswith("text/html")
