"""Keys of a file: whose they are, what they allow, until when; and that tenants do not see each other."""

import json
import stat
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from typer.testing import CliRunner

from api.auth.api_keys import PublicWithoutKeys, require_keys_when_public
from api.auth.key_file import KeyFileError, write_keys
from deployments.cli.main import app
from flows.schemas.control import Control
from tasks.settings import get_settings

SPEECH = {"text": "Hello."}


def test_the_file_holds_no_key_and_is_its_owner_s(key_file, issue):
    headers = issue("ci", tenant="acme")

    assert headers["Authorization"].removeprefix("Bearer ") not in key_file.read_text()
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    assert [path.name for path in key_file.parent.iterdir() if "keys" in path.name] == ["keys.json"]


def test_a_key_lets_in_and_nothing_else_does(connect, issue):
    client, headers = connect(), issue("ci")

    assert client.get("/v1/jobs", headers=headers).status_code == 200
    assert (
        client.get("/v1/jobs", headers={"X-C3-RENDER-KEY": headers["Authorization"][7:]}).status_code == 200
    )
    for wrong in ({}, {"Authorization": "Bearer x"}, {"Authorization": headers["Authorization"][:-1]}):
        answer = client.get("/v1/jobs", headers=wrong)
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
    assert client.get("/healthz").status_code == 200 and client.get("/").status_code == 200


def test_a_key_ends_when_it_expires_and_when_it_is_taken_out(connect, issue, key_file):
    client = connect()
    old = issue("old", expires=datetime.now(UTC) - timedelta(seconds=1))
    new = issue("new", expires=datetime.now(UTC) + timedelta(days=1))

    assert client.get("/v1/jobs", headers=old).status_code == 401
    assert client.get("/v1/jobs", headers=new).status_code == 200
    write_keys(key_file, [])
    assert client.get("/v1/jobs", headers=new).status_code == 401


@pytest.mark.parametrize(
    ("scopes", "allowed"),
    [({"read"}, [200, 403, 403]), ({"submit"}, [403, 202, 403]), ({"cancel"}, [403, 403, 200])],
)
def test_a_key_does_what_its_scopes_say(connect, runs, issue, scopes, allowed):
    client, headers, run = connect(), issue("some", scopes=frozenset(scopes)), runs.running()

    answers = [
        client.get(f"/v1/jobs/{run.id}", headers=headers),
        client.post("/v1/jobs/speech", json=SPEECH, headers=headers),
        client.post(f"/v1/jobs/{run.id}/cancel", headers=headers),
    ]

    assert [answer.status_code for answer in answers] == allowed
    assert {answer.json().get("code") for answer in answers if answer.status_code == 403} == {"forbidden"}


def test_the_older_routes_ask_for_the_same_scopes(connect, runs, issue):
    client, reader, run = connect(), issue("reader", scopes=frozenset({"read"})), runs.running()

    assert client.get(f"/status/{run.id}", headers=reader).status_code == 200
    assert client.post("/csm", json=SPEECH, headers=reader).status_code == 403
    assert client.post(f"/job/{run.id}", json={"status": "cancelled"}, headers=reader).status_code == 403


def test_tenants_do_not_see_each_other(connect, runs, issue):
    client = connect()
    acme, other, all_ = issue("a", tenant="acme"), issue("b", tenant="other"), issue("c")

    job = client.post("/v1/jobs/speech", json=SPEECH, headers=acme).json()["id"]
    assert runs.controls[0].tenant == "acme"
    for method, path in [
        ("GET", ""),
        ("GET", "/events"),
        ("GET", "/logs"),
        ("GET", "/result"),
        ("GET", "/files/x.mp3"),
        ("POST", "/cancel"),
        ("POST", "/retry"),
        ("DELETE", ""),
    ]:
        answer = client.request(method, f"/v1/jobs/{job}{path}", headers=other)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found"), (method, path)
    for method, path, body in [
        ("GET", f"/status/{job}", None),
        ("GET", f"/result/{job}", None),
        ("POST", f"/job/{job}", {"status": "cancelled"}),
    ]:
        assert client.request(method, path, json=body, headers=other).status_code == 404, path
    assert runs.jobs[UUID(job)].status == "queued"
    assert client.get("/v1/jobs", headers=other).json()["jobs"] == []
    for headers in (acme, all_):
        assert client.get(f"/v1/jobs/{job}", headers=headers).status_code == 200
        assert [one["id"] for one in client.get("/v1/jobs", headers=headers).json()["jobs"]] == [job]


def test_a_tenant_cannot_take_another_one_s_output(connect, runs, issue, finish):
    client, acme = connect(), issue("a", tenant="acme")
    mine = finish(runs.add(control=Control(tenant="acme")))
    foreign = finish(runs.add(control=Control(tenant="other")))
    runs.jobs.update({mine.id: mine, foreign.id: foreign})

    def asked(job):
        body = {"video": f"job://{job}/anna_hello.mp4", "audio": "https://example.org/a.wav"}
        return client.post("/v1/jobs/lip_sync", json=body, headers=acme)

    assert asked(mine.id).status_code == 202
    assert (asked(foreign.id).status_code, asked(foreign.id).json()["code"]) == (422, "input_not_found")
    assert len(runs.created) == 1


def test_one_key_of_two_tenants_names_two_jobs(connect, runs, issue):
    client = connect()
    made = [
        client.post("/v1/jobs/speech", json=SPEECH, headers=headers | {"Idempotency-Key": "1"}).json()["id"]
        for headers in (issue("a", tenant="acme"), issue("b", tenant="other"))
    ]
    assert len(set(made)) == 2


def test_nobody_names_a_tenant_for_themselves(connect, runs, issue):
    client, acme = connect(), issue("a", tenant="acme")
    body = SPEECH | {"control": {"tenant": "other"}}

    assert client.post("/v1/jobs/speech", json=body, headers=acme).status_code == 422


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"keys": [{"name": "x"}]}',
        '{"keys": [{"name": "x", "sha256": "abc"}]}',
        '{"kyes": []}',
    ],
)
def test_a_file_that_is_none_stops_the_start(key_file, text):
    key_file.write_text(text)
    get_settings.cache_clear()

    with pytest.raises(KeyFileError, match=r"keys\.json"):
        require_keys_when_public(get_settings().api)


def test_a_public_address_needs_a_key_in_the_file(environment, key_file, issue):
    environment.setenv("MUSETALK_API__HOST", "0.0.0.0")
    get_settings.cache_clear()
    with pytest.raises(PublicWithoutKeys):
        require_keys_when_public(get_settings().api)
    issue("first")
    require_keys_when_public(get_settings().api)


def test_keys_are_made_shown_and_revoked_by_command(key_file, connect):
    def musetalk(*words):
        return CliRunner().invoke(app, ["keys", *words])

    made = musetalk("create", "ci", "--tenant", "acme", "--scope", "read", "--days", "30")
    headers = {"Authorization": f"Bearer {made.stdout.strip()}"}
    assert made.exit_code == 0 and connect().get("/v1/jobs", headers=headers).status_code == 200
    [key] = json.loads(key_file.read_text())["keys"]
    assert (key["tenant"], key["scopes"]) == ("acme", ["read"])
    assert musetalk("create", "ci").exit_code == 2
    assert "tenant acme  read" in musetalk("list").stdout
    assert musetalk("revoke", "ci").exit_code == 0 and musetalk("revoke", "ci").exit_code == 2
    assert connect().get("/v1/jobs", headers=headers).status_code == 401
