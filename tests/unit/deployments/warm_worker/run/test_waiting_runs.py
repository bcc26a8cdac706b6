"""Runs that a worker announces as waiting; an outage does not end the announcements."""

import asyncio
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from uuid import uuid4

import httpx
import pytest

from deployments.warm_worker.run import waiting_runs
from flows.prefect_state.attempts import RUN_WAITS_EVENT


def queued(age_s):
    state = SimpleNamespace(timestamp=datetime.now(UTC) - timedelta(seconds=age_s))
    return SimpleNamespace(id=uuid4(), name="lip_sync", state=state)


class Client:
    def __init__(self, *answers):
        self.answers, self.filters = list(answers), []

    async def read_flow_runs(self, **filters):
        self.filters.append(filters)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def test_runs_that_were_queued_again_lately_are_announced():
    new, old = queued(5), queued(3600)
    client, told = Client([new, old]), []

    asyncio.run(waiting_runs.announce_waiting_runs(client, "gpu", lambda *a, **k: told.append((a, k))))

    [((event,), options)] = told
    assert event == RUN_WAITS_EVENT
    assert options["resource"]["prefect.resource.id"] == f"prefect.flow-run.{new.id}"
    asked = client.filters[0]
    assert "AwaitingRetry" in asked["flow_run_filter"].state.name.any_
    assert "Scheduled" not in asked["flow_run_filter"].state.name.any_  # never claimed: no heartbeat yet
    assert asked["work_pool_filter"].name.any_ == ["gpu"]


def test_an_outage_of_the_server_is_survived(monkeypatch):
    class Enough(Exception):
        pass

    client, told = Client(httpx.ConnectError("away"), [queued(1)], Enough()), []
    monkeypatch.setattr(waiting_runs, "INTERVAL_S", 0)

    with pytest.raises(Enough):
        asyncio.run(waiting_runs.announce_waiting_runs_forever(client, "gpu", lambda *a, **k: told.append(a)))

    assert len(told) == 1
