"""Webhooks over HTTP, on made-up deliveries; and which addresses are taken."""

from datetime import UTC, datetime
from uuid import uuid4

import pytest

from api.dependencies import get_delivery_store
from api.errors import Problem
from api.orchestrator.webhooks import Attempt, Delivery
from api.schemas.job_request import validate_notify
from flows.schemas.control import END_EVENTS, Notify, tags_for

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOOK = "https://example.org/hook?job=7"


class FakeDeliveries:
    def __init__(self):
        self.asked = []

    async def list_for_job(self, job):
        attempt = Attempt(1, AT, AT, 500, "refused", "The receiver answered 500.", replay=False)
        return [Delivery("msg_1", "completed", False, False, AT, [attempt])]

    async def replay(self, job, webhook_id):
        self.asked.append((job, webhook_id))
        return Attempt(2, AT, None, None, "scheduled", None, replay=True)


@pytest.fixture
def deliveries(client):
    fake = FakeDeliveries()
    client.app.dependency_overrides[get_delivery_store] = lambda: fake
    return fake


def test_attempts_say_when_what_and_what_next(client, runs, deliveries):
    job = runs.running()

    answer = client.get(f"/v1/jobs/{job.id}/deliveries")

    assert answer.json() == {
        "deliveries": [
            {
                "webhook_id": "msg_1",
                "event": "completed",
                "delivered": False,
                "dead": False,
                "next_attempt_at": "2026-03-01T12:00:00Z",
                "attempts": [
                    {
                        "attempt": 1,
                        "due_at": "2026-03-01T12:00:00Z",
                        "sent_at": "2026-03-01T12:00:00Z",
                        "status_code": 500,
                        "outcome": "refused",
                        "reason": "The receiver answered 500.",
                        "replay": False,
                    }
                ],
            }
        ]
    }


def test_a_replay_is_accepted(client, runs, deliveries):
    job = runs.running()

    answer = client.post(f"/v1/jobs/{job.id}/deliveries/msg_1/replay")

    assert (answer.status_code, answer.json()["attempt"]["attempt"]) == (202, 2)
    assert deliveries.asked == [(job.id, "msg_1")]


@pytest.mark.parametrize(("method", "more"), [("GET", ""), ("POST", "/msg_1/replay")])
def test_unknown_jobs_have_none(client, deliveries, method, more):
    answer = client.request(method, f"/v1/jobs/{uuid4()}/deliveries{more}")

    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert deliveries.asked == []


def test_a_key_is_asked_for(connect, environment, runs):
    environment.setenv("MUSETALK_API__KEYS", "one")

    answer = connect().get(f"/v1/jobs/{runs.running().id}/deliveries")

    assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")


BODIES = {
    "/csm": {"text": "Hello."},
    "/whisper": {"audio_url": "https://example.org/a.wav"},
    "/analyze": {"image_url": "https://example.org/a.png"},
    "/portrait": {"image_url": "https://example.org/a.png", "audio_url": "https://example.org/a.wav"},
}


@pytest.mark.parametrize(("route", "body"), BODIES.items(), ids=BODIES)
def test_the_older_routes_pass_the_address_on(client, runs, route, body):
    answer = client.post(route, json=body | {"notify_url": HOOK})

    (control,) = runs.controls
    assert answer.status_code == 200
    assert (control.notify.url, control.notify.events) == (HOOK, END_EVENTS)
    assert tags_for(control) == ["notify"]


@pytest.mark.parametrize(("route", "body"), BODIES.items(), ids=BODIES)
def test_without_an_address_nobody_is_told(client, runs, route, body):
    client.post(route, json=body)

    assert runs.controls[0].notify is None and tags_for(runs.controls[0]) == []


REFUSED = [
    "http://example.org/hook",  # by default
    "ftp://example.org/hook",
    "file:///etc/passwd",
    "https://user:secret@example.org/",
    "https://example.org:22/",
    "https://metadata.google.internal/",
    "https://localhost/",
    "https://2130706433/",
    "https://0x7f.1/",
    "https://example.org/a b",
    "https://example.org/#a",
    "https://example.org\\@127.0.0.1/",
    "https://example.org/" + "a" * 2000,
    "https://[::1/",
    "",
    7,
]


@pytest.mark.parametrize("url", REFUSED)
@pytest.mark.parametrize(("route", "body"), BODIES.items(), ids=BODIES)
def test_what_is_never_sent_to_is_refused_on_every_older_route(client, runs, route, body, url):
    answer = client.post(route, json=body | {"notify_url": url})

    assert answer.status_code == 400
    assert "notify_url must be a valid URL" in answer.text
    assert runs.created == []


def test_an_operator_may_open_private_receivers(connect, environment, runs):
    environment.setenv("MUSETALK_EGRESS__ALLOW_HTTP", "true")
    environment.setenv("MUSETALK_EGRESS__ALLOWED_HOSTS", "hooks.local:9000")
    client = connect()

    assert client.post("/csm", json=BODIES["/csm"] | {"notify_url": "http://hooks.local:9000/"}).is_success
    assert not client.post("/csm", json=BODIES["/csm"] | {"notify_url": "http://hooks.local:1/"}).is_success


def test_the_other_routes_can_check_an_address(environment):
    notify = Notify(url=HOOK, events=("started",))

    assert validate_notify(notify) is notify
    with pytest.raises(Problem) as caught:
        validate_notify(Notify(url="http://example.org/"))
    assert (caught.value.code, caught.value.errors[0]["pointer"]) == ("invalid_input", "#/control/notify/url")
