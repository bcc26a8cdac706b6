"""Observability of the API: metrics, log and release."""

import json
import logging
from importlib.metadata import version

import pytest
from prometheus_client.parser import text_string_to_metric_families

from api.http.metrics import WebhookBacklog
from api.logging import JsonFormatter, TextFormatter

LIP_SYNC = {"video": "s3://media/anna.mp4", "audio": "https://example.org/hello.wav"}


def samples(client):
    families = text_string_to_metric_families(client.get("/metrics").text)
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def test_answers_are_counted_by_route_never_by_job(client, runs):
    run = runs.running()
    for path in (f"/v1/jobs/{run.id}", f"/v1/jobs/{run.id}", "/no/such/page", "/v1/jobs/17"):
        client.get(path)

    found = samples(client)

    def count(route, status):
        labels = {"method": "GET", "route": route, "status": status}
        return found.get(("musetalk_http_requests_total", *sorted(labels.items())))

    assert count("/v1/jobs/{job_id}", "200") == 2 and count("/v1/jobs/{job_id}", "400") == 1
    assert count("none", "404") == 1
    assert str(run.id) not in client.get("/metrics").text and "/no/such" not in client.get("/metrics").text
    seconds = ("musetalk_http_request_seconds_count", ("method", "GET"), ("route", "/v1/jobs/{job_id}"))
    assert found[seconds] == 3


def test_queues_are_gauges_and_are_left_out_while_prefect_is_away(client, runs):
    for _ in range(3):
        runs.add(status="queued")
    runs.running()
    found, gpu = samples(client), ("pool", "gpu")
    assert found["musetalk_queue_waiting_runs", gpu, ("priority", "normal")] == 3
    assert found["musetalk_queue_running_runs", gpu] == 1
    assert found["musetalk_queue_unfinished_runs", gpu] == 4
    assert found["musetalk_queue_oldest_waiting_seconds", gpu] == 7.5

    runs.backlog = WebhookBacklog(4, 2, 31.0)
    found = samples(client)
    assert found["musetalk_webhooks_waiting", ("state", "due")] == 4
    assert found["musetalk_webhooks_waiting", ("state", "later")] == 2
    assert found["musetalk_webhooks_oldest_seconds", ("state", "due")] == 31

    runs.fault = "away"
    found = samples(client)
    assert not [name for name, *_ in found if name.startswith(("musetalk_queue_", "musetalk_webhooks_"))]
    metrics = ("musetalk_http_requests_total", ("method", "GET"), ("route", "/metrics"), ("status", "200"))
    assert found[metrics] == 2


def test_what_is_ready_is_a_gauge(client, runs):
    runs.fault = "away"
    client.get("/readyz")

    assert samples(client)[("musetalk_ready", ("part", "prefect"))] == 0
    assert samples(client)[("musetalk_ready", ("part", "store"))] == 1


def test_the_release_is_told(client):
    assert client.get("/version").json() == {
        "name": "musetalk-flows",
        "version": version("musetalk-flows"),
        "api": "v1",
    }
    assert client.get("/startupz").json() == client.get("/healthz").json() == {"status": "ok"}


@pytest.fixture
def lines(caplog):
    """Return the logged records as JSON lines."""
    caplog.set_level(logging.INFO, logger="musetalk.api")
    return lambda: [json.loads(JsonFormatter().format(record)) for record in caplog.records]


def test_a_request_is_a_line_with_its_id(client, runs, lines):
    run = runs.running()
    client.get(f"/v1/jobs/{run.id}", headers={"X-Request-ID": "mine-17"})
    client.get("/healthz")

    [line] = lines()
    assert line["request_id"] == "mine-17" and line["level"] == "info"
    assert (line["method"], line["path"], line["status"]) == ("GET", f"/v1/jobs/{run.id}", 200)
    assert line["ms"] >= 0 and line["time"].endswith("+00:00")


def test_a_caller_is_named_and_their_key_is_not(connect, environment, lines):
    environment.setenv("MUSETALK_API__KEYS", "canary-of-a-secret")
    connect().get("/v1/jobs", headers={"Authorization": "Bearer canary-of-a-secret"})

    [line] = lines()
    assert line["caller"] == "setting 1" and "canary" not in json.dumps(line)


def test_a_line_is_one_line_whatever_a_client_sends(client, lines):
    client.get("/v1/jobs/%0aERROR%20forged%1b[31m%E2%80%A8x")

    [line] = lines()
    text = TextFormatter().format(logging.makeLogRecord({"msg": line["message"], "levelname": "INFO"}))
    assert len(text.splitlines()) == 1 and "\x1b" not in text and "\\nERROR forged" in text


def test_an_unexpected_error_is_in_the_log_and_not_in_the_answer(connect, runs, lines, monkeypatch):
    async def read(_):
        raise RuntimeError("/secret/path")

    monkeypatch.setattr(runs, "read", read)
    answer = connect(raise_server_exceptions=False).get(f"/v1/jobs/{runs.running().id}")

    assert answer.status_code == 500 and "/secret" not in answer.text
    [told] = [line for line in lines() if line["level"] == "error"]
    assert "RuntimeError: /secret/path" in told["error"]
    assert told["request_id"] == answer.json()["request_id"]


@pytest.mark.parametrize("path", ["/", "/docs", "/docs/problems", "/v1/jobs/17", "/openapi.json"])
def test_browsers_make_nothing_of_an_answer_that_it_is_not(client, path):
    answer = client.get(path, headers={"Origin": "https://elsewhere.example"})

    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-frame-options"] == "DENY" and answer.headers["referrer-policy"] == "no-referrer"
    is_page = answer.headers["content-type"].startswith("text/html")
    assert ("content-security-policy" in answer.headers) is is_page
    # no other origin is let in, unless an operator's proxy says so
    assert not [name for name in answer.headers if name.startswith("access-control-")]
