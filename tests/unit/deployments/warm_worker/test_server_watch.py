"""A worker reads the states of its runs less often while events tell it of them."""

import asyncio
from uuid import uuid4

import pytest

from deployments.warm_worker.ownership import RunOwner
from deployments.warm_worker.run import server_watch


class Client:
    """Prefect, which knows none of the runs."""

    requests = 0

    async def read_flow_runs(self, **_):
        self.requests += 1
        return []


@pytest.mark.parametrize(
    ("is_listening", "interval_s"),
    [(False, server_watch.POLL_INTERVAL_S), (True, server_watch.POLL_INTERVAL_WITH_EVENTS_S)],
)
def test_states_are_read_less_often_while_events_arrive(monkeypatch, is_listening, interval_s):
    client, run, pauses = Client(), uuid4(), []

    async def pause(seconds):
        pauses.append(seconds)
        if len(pauses) == 3:
            raise asyncio.CancelledError

    monkeypatch.setattr(server_watch.asyncio, "sleep", pause)

    async def story():
        watch = server_watch.ServerWatch(
            client, uuid4(), RunOwner("w", ""), lambda: [run], lambda _: None, lambda *_: None
        )
        watch.is_listening = is_listening
        with pytest.raises(asyncio.CancelledError):
            await watch.poll_states()

    asyncio.run(story())
    assert pauses == [interval_s] * 3 and client.requests == 2
    assert (
        server_watch.POLL_INTERVAL_WITH_EVENTS_S <= 3.0
    )  # promised: a job ends within 5 s of its cancellation
