"""Traces of requests: the caller's trace is continued, logs have its id, names have no ids."""

import json
import logging

import pytest
from otlp_sink import traced_process

from api.logging import JsonFormatter
from tasks.tracing import spans
from tasks.tracing.spans import current_traceparent

GIVEN = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
SPEECH = {"text": "Hello, dear customer."}


@pytest.fixture
def sink(environment):
    with traced_process(environment, "musetalk-api") as sink:
        yield sink


def test_a_request_continues_the_trace_of_its_caller(sink, connect, runs):
    seen = []
    runs.on_create = lambda run: seen.append(current_traceparent()) or run
    answer = connect().post("/v1/jobs/speech", json=SPEECH, headers={"traceparent": GIVEN})
    assert answer.status_code == 202
    spans.flush()
    [request] = sink.spans
    assert (request.service, request.name) == ("musetalk-api", "POST /v1/jobs/speech")
    assert (request.trace, request.parent) == (GIVEN.split("-")[1], GIVEN.split("-")[2])
    assert request.attributes == {
        "musetalk.http.method": "POST",
        "musetalk.http.route": "/v1/jobs/speech",
        "musetalk.http.status_code": 202,
    }
    assert [one.span_id for one in seen] == [request.id]
    assert b"customer" not in b"".join(sink.raw)


def test_spans_have_routes_for_names_and_monitoring_has_none(sink, connect, runs):
    client, run = connect(), runs.running()
    for path in (f"/v1/jobs/{run.id}", "/no/such/page?secret=1", "/metrics", "/healthz", "/readyz"):
        client.get(path)
    client.request("BREW", "/v1/jobs", headers={"traceparent": "nonsense"})
    spans.flush()
    assert [one.name for one in sink.spans] == ["GET /v1/jobs/{job_id}", "GET none", "HTTP /v1/jobs"]
    assert len({one.trace for one in sink.spans}) == 3
    assert str(run.id).encode() not in b"".join(sink.raw) and b"secret" not in b"".join(sink.raw)


def test_log_lines_have_the_id_of_the_trace(sink, connect, caplog):
    with caplog.at_level(logging.INFO, logger="musetalk.api"):
        connect().get("/v1/jobs", headers={"traceparent": GIVEN})
    lines = [json.loads(JsonFormatter().format(record)) for record in caplog.records]
    [line] = [line for line in lines if line.get("path") == "/v1/jobs"]
    assert line["trace_id"] == GIVEN.split("-")[1] and len(line["span_id"]) == 16


def test_without_an_endpoint_log_lines_have_none(client, caplog):
    with caplog.at_level(logging.INFO, logger="musetalk.api"):
        client.get("/v1/jobs", headers={"traceparent": GIVEN})
    assert not [record for record in caplog.records if getattr(record, "trace_id", "")]
