"""The request of a job, and uploads read back."""

import pytest

from flows.schemas.control import Control, Notify

ASSET = b"0123456789"


def test_a_request_can_be_submitted_again(client, runs):
    sent = {
        "text": "Good morning.",
        "speed": 1.2,
        "output": {"name": "hello"},
        "control": {"priority": "high", "max_time": 60, "tags": ["a:b"], "metadata": {"order": "17"}},
    }
    first = client.post("/v1/jobs/speech", json=sent).json()
    told = client.get(f"/v1/jobs/{first['id']}/request").json()

    assert told == {"type": "speech", "body": sent, "complete": True}
    second = client.post(f"/v1/jobs/{told['type']}", json=told["body"]).json()
    assert second["control"] == first["control"] and second["tags"] == first["tags"]


def test_the_query_of_an_address_is_left_out(client, runs):
    run = runs.add(
        parameters={"video": "https://example.org/a.mp4?signature=secret", "audio": "s3://m/a.wav"}
    )
    told = client.get(f"/v1/jobs/{run.id}/request").json()

    assert told["body"] == {"video": "https://example.org/a.mp4?…", "audio": "s3://m/a.wav"}
    assert told["complete"] is False


def test_a_webhook_is_part_of_the_request(client, runs):
    run = runs.add(control=Control(notify=Notify(url="https://example.org/hook", events=("failed",))))
    told = client.get(f"/v1/jobs/{run.id}/request").json()

    assert told["body"] == {"control": {"notify": {"url": "https://example.org/hook", "events": ["failed"]}}}


def test_the_request_of_another_tenant_s_job_is_not_told(connect, issue, runs):
    run = runs.add(control=Control(tenant="acme"), parameters={"text": "secret"})
    client = connect()

    assert client.get(f"/v1/jobs/{run.id}/request", headers=issue("other", tenant="other")).status_code == 404
    assert client.get(f"/v1/jobs/{run.id}/request", headers=issue("own", tenant="acme")).status_code == 200


@pytest.fixture
def asset(client):
    return client.post("/v1/assets", params={"name": "a.mp4"}, content=ASSET).json()["id"]


def test_an_upload_is_read_back(client, asset):
    whole, part = (
        client.get(f"/v1/assets/{asset}"),
        client.get(f"/v1/assets/{asset}", headers={"Range": "bytes=2-4"}),
    )

    assert whole.content == ASSET and whole.headers["content-type"] == "video/mp4"
    assert 'filename="a.mp4"' in whole.headers["content-disposition"]
    assert part.status_code == 206 and part.content == b"234"
    assert client.head(f"/v1/assets/{asset}").headers["content-length"] == str(len(ASSET))


@pytest.mark.parametrize("name", ["page.html", "picture.svg", "page.xhtml"])
def test_no_upload_is_a_page_of_this_server(client, name):
    asset = client.post("/v1/assets", params={"name": name}, content=b"<script>alert(1)</script>").json()[
        "id"
    ]
    answer = client.get(f"/v1/assets/{asset}")

    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_an_upload_in_a_bucket_is_read_back(s3_store, client):
    asset = client.post("/v1/assets", params={"name": "a.mp4"}, content=ASSET).json()["id"]
    part = client.get(f"/v1/assets/{asset}", headers={"Range": "bytes=2-4"})

    assert part.status_code == 206 and part.content == b"234"


@pytest.mark.parametrize("asset", ["0" * 32, "..", "%2e%2e%2fkeys"])
def test_what_is_no_upload_is_not_found(client, asset):
    assert client.get(f"/v1/assets/{asset}").status_code in {404, 405, 422}


def test_uploads_of_other_tenants_are_not_found(connect, issue):
    client, own, other = connect(), issue("own", tenant="acme"), issue("other", tenant="other")
    asset = client.post("/v1/assets", params={"name": "a.mp4"}, content=ASSET, headers=own).json()["id"]

    assert client.get(f"/v1/assets/{asset}", headers=own).content == ASSET
    missing = client.get(f"/v1/assets/{'0' * 32}", headers=other)
    refused = client.get(f"/v1/assets/{asset}", headers=other)
    assert (refused.status_code, refused.json()["code"]) == (missing.status_code, missing.json()["code"])
