"""The API's view of webhooks on a real Prefect server: lists, replays, links."""

from contextlib import contextmanager
from uuid import uuid4

import pytest
from fastapi.testclient import TestClient
from prefect.states import Completed, Running
from webhook_jobs import attempts, told, work

from api.main import create_app
from flows.schemas.webhook import webhook_id


@contextmanager
def api():
    with TestClient(create_app()) as client:
        yield client


@pytest.fixture
def server(webhook_server):
    return webhook_server


def test_all_attempts_are_listed_and_a_replay_is_one_more(server, job, receiver):
    run = job(Completed(), tenant="acme")
    receiver.will(500, body=b"a secret of the receiver")
    told(server, run)
    work(server, attempts(server, run)[-1])
    name = webhook_id(run, "completed")

    with api() as client:
        listed = client.get(f"/v1/jobs/{run}/deliveries")
        again = client.post(f"/v1/jobs/{run}/deliveries/{name}/replay")
        waiting = client.get(f"/v1/jobs/{run}/deliveries").json()["deliveries"][0]
        (replay,) = [made for made in attempts(server, run) if "replay" in made.tags]
        work(server, replay)
        done = client.get(f"/v1/jobs/{run}/deliveries").json()["deliveries"][0]

    (delivery,) = listed.json()["deliveries"]
    assert (delivery["webhook_id"], delivery["event"]) == (name, "completed")
    assert (delivery["delivered"], delivery["dead"], delivery["next_attempt_at"]) == (True, False, None)
    told_of = [(it["attempt"], it["status_code"], it["outcome"]) for it in delivery["attempts"]]
    assert told_of == [(1, 500, "refused"), (2, 204, "delivered")]
    assert all(it["sent_at"] for it in delivery["attempts"])
    assert "secret" not in listed.text
    assert again.status_code == 202
    assert again.json()["webhook_id"] == name
    assert (again.json()["attempt"]["outcome"], again.json()["attempt"]["replay"]) == ("scheduled", True)
    assert waiting["next_attempt_at"]
    assert "tenant:acme" in replay.tags and replay.parameters["control"] == {"tenant": "acme"}
    assert [it["outcome"] for it in done["attempts"]] == ["refused", "delivered", "delivered"]
    assert [got.id for got in receiver.got] == [name] * 3


def test_what_waits_and_what_is_dead_shows(server, job, receiver):
    waiting, dead = job(Completed()), job(Completed())
    receiver.will(500)
    told(server, waiting)
    receiver.will(410)
    told(server, dead)

    with api() as client:
        (first,) = client.get(f"/v1/jobs/{waiting}/deliveries").json()["deliveries"]
        (second,) = client.get(f"/v1/jobs/{dead}/deliveries").json()["deliveries"]

    assert (first["dead"], first["delivered"]) == (False, False)
    assert first["next_attempt_at"] == first["attempts"][1]["due_at"]
    assert [it["outcome"] for it in first["attempts"]] == ["refused", "scheduled"]
    assert (second["dead"], second["delivered"], second["next_attempt_at"]) == (True, False, None)
    assert second["attempts"][0]["outcome"] == "gone"


def test_what_is_not_there_is_not_found(server, job):
    run = job(Running())

    with api() as client:
        answers = [
            client.get(f"/v1/jobs/{uuid4()}/deliveries"),
            client.post(f"/v1/jobs/{uuid4()}/deliveries/{webhook_id(run, 'completed')}/replay"),
            client.post(f"/v1/jobs/{run}/deliveries/msg_1/replay"),
        ]
        none = client.get(f"/v1/jobs/{run}/deliveries")

    assert none.json() == {"deliveries": []}
    for answer in answers:
        assert answer.status_code == 404
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["code"] == "not_found"
