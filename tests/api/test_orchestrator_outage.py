"""Requests while the Prefect server is away: 503 with Retry-After, streams and waits that go on."""

import asyncio
import socket
import time
from contextlib import aclosing
from uuid import uuid4

import httpx
import pytest
from fastapi.testclient import TestClient
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from api.errors import Problem
from api.main import create_app
from api.orchestrator import connection
from api.orchestrator.connection import PrefectConnection

SPEECH = {"text": "Hello."}
JOB = uuid4()
AWAY = Problem("orchestrator_unavailable", "The Prefect server cannot be reached.")
NEEDS_PREFECT = [
    ("GET", "/v1/jobs", None),
    ("GET", f"/v1/jobs/{JOB}", None),
    ("GET", f"/v1/jobs/{JOB}/events", None),
    ("GET", f"/v1/jobs/{JOB}/logs", None),
    ("GET", f"/v1/jobs/{JOB}/result", None),
    ("GET", f"/v1/jobs/{JOB}/files/a.mp4", None),
    ("GET", f"/v1/jobs/{JOB}/lineage", None),
    ("GET", f"/v1/jobs/{JOB}/deliveries", None),
    ("POST", f"/v1/jobs/{JOB}/deliveries/msg_1/replay", None),
    ("POST", f"/v1/jobs/{JOB}/cancel", None),
    ("POST", f"/v1/jobs/{JOB}/retry", None),
    ("DELETE", f"/v1/jobs/{JOB}", None),
    ("GET", f"/v1/batches/{JOB}", None),
    ("GET", f"/v1/batches/{JOB}/jobs", None),
    ("POST", f"/v1/batches/{JOB}/pause", None),
    ("POST", f"/v1/batches/{JOB}/resume", None),
    ("GET", f"/v1/pipelines/{JOB}", None),
    ("POST", "/v1/jobs/speech", SPEECH),
    ("POST", "/v1/jobs/speech?dry_run=true", SPEECH),
    ("POST", "/csm", SPEECH),
    ("GET", f"/status/{JOB}", None),
    ("GET", f"/result/{JOB}", None),
    ("POST", f"/job/{JOB}", {"status": "cancelled"}),
]


@pytest.fixture
def without_prefect(environment, monkeypatch):
    """A client of the app, whose Prefect server does not respond; exceptions are answered as by a server."""
    monkeypatch.setattr(connection, "READ_LIMIT_S", 0.1)
    monkeypatch.setattr(connection, "WRITE_LIMIT_S", 0.1)
    with socket.socket() as unused:  # bound, not listening: connections are refused
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}/api"
        with (
            temporary_settings({PREFECT_API_URL: address}),
            TestClient(create_app(), raise_server_exceptions=False) as client,
        ):
            yield client


@pytest.mark.parametrize(("method", "path", "body"), NEEDS_PREFECT, ids=lambda value: str(value)[:40])
def test_every_route_answers_503_with_retry_after(without_prefect, method, path, body):
    answer = without_prefect.request(method, path, json=body)

    assert (answer.status_code, answer.json()["code"]) == (503, "orchestrator_unavailable")
    assert int(answer.headers["retry-after"]) > 0 and answer.json()["retryable"]


def test_readiness_names_the_part_that_is_away(without_prefect):
    answer = without_prefect.get("/readyz")

    assert answer.status_code == 503 and answer.json()["checks"]["prefect"] != "ok"
    assert without_prefect.get("/healthz").status_code == 200


@pytest.mark.parametrize("error", [httpx.ConnectError("refused"), httpx.ReadTimeout("slow")])
def test_an_untranslated_transport_error_is_answered_with_503(client, runs, error):
    async def away(job_filter):
        raise error

    runs.find = away
    answer = client.get("/v1/jobs")
    assert (answer.status_code, answer.json()["code"]) == (503, "orchestrator_unavailable")
    assert answer.headers["retry-after"]


class Outage:
    """Reads of a job that fail some times, in a job store that is otherwise as it was."""

    def __init__(self, runs, failures, error=AWAY):
        self.read, self.failures, self.error, self.reads = runs.read, failures, error, 0
        runs.read = self

    async def __call__(self, job_id):
        self.reads += 1
        if self.reads in self.failures:
            raise self.error
        return await self.read(job_id)


@pytest.fixture
def at_once(monkeypatch):
    """No pauses between two reads during an outage."""
    monkeypatch.setattr("api.routes.events._OUTAGE_POLL_S", 0.01)
    monkeypatch.setattr("api.jobs.model._OUTAGE_POLL_S", 0.01)


def test_a_stream_outlives_an_outage(client, runs, finish, at_once):
    run = runs.running()
    outage = Outage(runs, failures={2, 3, 4})

    async def change(job_id, limit_s):
        if outage.reads == 4:
            runs.jobs[run.id] = finish(run)

    runs.wait_for_change = change
    answer = client.get(f"/v1/jobs/{run.id}/events")
    assert answer.status_code == 200 and "event: succeeded" in answer.text and outage.reads == 5


@pytest.mark.parametrize(
    ("error", "limit_s"),
    [(Problem("not_found", "Job not found"), 300.0), (AWAY, 0.0)],
    ids=["deleted", "away"],
)
def test_a_stream_that_cannot_go_on_ends_between_two_events(
    client, runs, at_once, monkeypatch, error, limit_s
):
    monkeypatch.setattr("api.routes.events._MAX_OUTAGE_S", limit_s)
    run = runs.running()
    Outage(runs, failures=set(range(2, 100)), error=error)

    answer = client.get(f"/v1/jobs/{run.id}/events")  # a broken body would raise here
    assert answer.status_code == 200 and answer.text.rstrip("\n").splitlines()[-1].startswith(
        ("data:", "retry:")
    )


def test_a_submission_is_answered_with_its_job_although_that_cannot_be_read(client, runs, at_once):
    Outage(runs, failures=set(range(1, 1000)))

    answer = client.post("/v1/jobs/speech", json=SPEECH, headers={"Prefer": "wait=1"})
    assert answer.status_code == 202 and answer.json()["id"] in {str(job) for job in runs.jobs}
    assert len(runs.created) == 1


def test_a_wait_goes_on_after_an_outage(client, runs, finish, at_once):
    runs.on_create = finish
    Outage(runs, failures={1, 2})

    answer = client.post("/v1/jobs/speech", json=SPEECH, headers={"Prefer": "wait=5"})
    assert (answer.status_code, answer.json()["status"]) == (201, "succeeded")


def test_requests_are_retried_without_the_client_s_own_long_pauses():
    """Prefect's client waits two seconds and more after a 503."""
    seen = []

    async def busy(_):
        seen.append(PREFECT_CLIENT_MAX_RETRIES.value())
        if len(seen) < 4:
            raise httpx.ReadError("reset")
        return len(seen)

    async def story():
        async with aclosing(PrefectConnection()) as link:
            return await link.write(busy)

    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        assert asyncio.run(story()) == 4
    assert set(seen) == {0}


def test_a_request_costs_less_than_five_milliseconds_beside_its_answer():
    """Building Prefect's settings takes 50 to 300 ms, in which no other request is served."""

    async def story():
        async with aclosing(PrefectConnection()) as link:
            await link.read(lambda _: asyncio.sleep(0))
            began = time.process_time()
            for _ in range(100):
                await link.write(lambda _: asyncio.sleep(0))
            return (time.process_time() - began) / 100

    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        assert asyncio.run(story()) < 0.005
