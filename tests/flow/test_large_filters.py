"""More values than SQLite takes in one filter: each query gives all that there is, on a real server."""

import asyncio
import json
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from functools import cache
from uuid import uuid4

import httpx
import pytest
from lineages import lineage_of
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactCreate
from prefect.states import Cancelling, Completed

from api.jobs.model import JobFilter
from api.orchestrator import job_list
from api.orchestrator.connection import PrefectConnection
from api.orchestrator.job_store import PrefectJobStore
from api.orchestrator.lineage import PrefectLineageStore
from api.orchestrator.webhooks import PrefectDeliveryStore
from api.schemas.pagination import Cursor
from deployments.warm_worker.ownership import RunOwner
from deployments.warm_worker.run import server_watch
from flows.janitor import janitor
from flows.maintenance import finished_runs, orphaned_jobs
from flows.orchestration import lineage as chain_lineage
from flows.orchestration.child_jobs import ChildJobs
from flows.prefect_state.labels import parent_tag
from flows.schemas.control import Control, Notify, tags_for
from flows.schemas.lineage import LINEAGE_KEY
from flows.schemas.maintenance import JanitorJob
from flows.schemas.webhook import DELIVERY_KEY, job_tag
from flows.webhooks.deliveries import attempts_of, find_missed

MANY = 140
"""More than SQLite's limit of 127 and than the limit of one filter."""


@flow(name="lip_sync")
def lip_sync():
    """Stands for a job."""


@flow(name="notify")
def notify():
    """Stands for an attempt at telling of a job."""


@pytest.fixture
def client(home):
    """A client of the server, which is on SQLite."""
    with get_client(sync_client=True) as client:
        client.create_flow = cache(client.create_flow)  # otherwise a request with each run
        yield client


@pytest.fixture(autouse=True)
def short_lists(monkeypatch):
    """No request of this test, by whatever client, may list more than 100 values in one filter."""
    longest = []

    def lists(body):
        if isinstance(body, dict):
            for name, value in body.items():
                if name in ("any_", "not_any_", "all_") and isinstance(value, list):
                    yield len(value)
                yield from lists(value)

    def checked(request):
        if request.url.path.endswith(("/filter", "/count", "/bulk_delete", "/filter/minimal")):
            longest.extend(lists(json.loads(request.content or b"null")))

    for kind in (httpx.Client, httpx.AsyncClient):
        plain = kind.send

        def send(self, request, *words, plain=plain, **more):
            checked(request)
            return plain(self, request, *words, **more)

        monkeypatch.setattr(kind, "send", send)
    yield longest
    assert max(longest, default=0) <= 100


@pytest.fixture
def made(client):
    """Runs in some state, deleted afterwards."""
    all_made = []

    def make(count, *, of=lip_sync, state=None, **more):
        first = state() if state else None
        found = [client.create_flow_run(of, state=first, **more).id for _ in range(count)]
        all_made.extend(found)
        return found

    yield make
    for start in range(0, len(all_made), 50):  # the most that one request deletes
        listed = {"flow_runs": {"id": {"any_": [str(run) for run in all_made[start : start + 50]]}}}
        client._client.post("/flow_runs/bulk_delete", json=listed).raise_for_status()


def note(client, run, key, data):
    client.create_artifact(ArtifactCreate(key=key, type="json", data=json.dumps(data), flow_run_id=run))


def test_attempts_at_many_jobs_are_found_once_each(client, made):
    jobs = [uuid4() for _ in range(MANY)]
    (first,) = made(1, of=notify, tags=[job_tag(jobs[0])])
    (both,) = made(1, of=notify, tags=[job_tag(jobs[1]), job_tag(jobs[-1])])
    made(1, of=notify, tags=[job_tag(uuid4())])

    assert sorted(run.id for run in attempts_of(client, jobs)) == sorted([first, both])


def test_the_janitor_looks_at_many_ended_jobs(client, made):
    control = Control(notify=Notify(url="https://listener.example/hook", events=["completed"]))
    parameters = {"control": control.model_dump(mode="json", exclude_defaults=True)}
    ended = made(MANY, state=Completed, tags=tags_for(control), parameters=parameters)
    old = made(MANY, state=Completed)
    made(1, state=Completed, tags=[parent_tag(old[-1])])

    assert {run.id for _, run in find_missed(client, datetime.now(UTC))} >= set(ended)
    past = finished_runs._FinishedRuns(client, ["lip_sync"], datetime.now(UTC) - timedelta(days=1))
    assert past._referenced_by_later({*old, *ended}) == {old[-1]}
    assert past._read_existing([*old, *ended, uuid4()]) == {*old, *ended}
    janitor(JanitorJob(dry_run=True))  # fails when a sweep does


def test_many_cancelled_parents_are_known(client, made):
    waiting = made(MANY)
    assert orphaned_jobs._read_cancelled(client, waiting) == set()


def test_many_parts_are_read_with_what_they_wrote(client, made):
    (whole,) = made(1)
    own = made(MANY, tags=[parent_tag(whole)], state=Completed)
    for run in own:
        note(client, run, "result", {"name": "old.mp4"})
    for _ in range(2):  # runs that began anew wrote more: 3 results a run are more than one answer holds
        for run in own:
            note(client, run, "result", {"name": f"{run}.mp4"})
    parts = ChildJobs(client, client.read_flow_run(whole))

    assert {part.id for part in parts.list_all()} == set(own)
    assert {part.id for part in parts.read(own)} == set(own)
    ended = parts.outcomes(own)
    assert {run: how.result.get("name") for run, how in ended.items()} == {run: f"{run}.mp4" for run in own}


def test_lineages_of_many_jobs_are_read(client, made):
    own = made(MANY)
    for run in own:
        note(client, run, LINEAGE_KEY, json.loads(lineage_of(run).model_dump_json()))

    async def read():
        async with aclosing(PrefectConnection()) as connection:
            return await PrefectLineageStore(connection).read_many(own)

    assert chain_lineage._read_manifests(client, own).keys() == asyncio.run(read()).keys() == set(own)


def test_many_jobs_are_looked_up_and_listed_page_by_page(client, made):
    own = made(MANY, tags=["tag:many"])
    for run in own:
        for _ in range(2):
            note(client, run, "progress", 1)

    async def read():
        api = PrefectJobStore()
        try:
            found = await api._read_many(own)
            listed, cursor = [], None
            while True:
                page = await api.find(JobFilter(tags=("many",), limit=30, cursor=cursor))
                listed += [run.id for run in page.jobs]
                cursor = page.next
                if cursor is None:
                    return found, listed
        finally:
            await api.close()

    found, listed = asyncio.run(read())
    assert found.keys() == set(own)
    assert len(listed) == MANY and set(listed) == set(own)


def test_a_list_goes_on_within_one_moment(client, made):
    """The page omits runs of earlier pages, although the query does not list them."""
    own = made(MANY, tags=["tag:moment"])
    cursor = Cursor(datetime.now(UTC), tuple(own[:130]))

    async def read():
        async with aclosing(PrefectConnection()) as connection:
            page = await job_list._read_page(
                connection, JobFilter(tags=("moment",)), job_list._Section(None), cursor, 20
            )
            return {run.id for run in page}

    assert asyncio.run(read()) == set(own[130:])


def test_more_attempts_at_one_job_than_an_answer_holds_are_shown(client, made):
    job = uuid4()
    parameters = {"job": {"run": str(job), "event": "completed", "attempt": 1}}
    own = made(210, of=notify, tags=[job_tag(job)], parameters=parameters)
    for run in own:
        note(client, run, DELIVERY_KEY, {"outcome": "refused", "status_code": 500})

    async def read():
        async with aclosing(PrefectConnection()) as connection:
            return await PrefectDeliveryStore(connection).list_for_job(job)

    (delivery,) = asyncio.run(read())
    assert [attempt.outcome for attempt in delivery.attempts] == ["refused"] * 210


def test_a_worker_with_many_runs_looks_at_all_of_them(client, made, monkeypatch):
    own = made(MANY)
    for run in own:
        client.set_flow_run_state(run, Cancelling(), force=True)
    asked_to_stop = set()

    async def look():
        async with get_client() as connection:
            monkeypatch.setattr(server_watch, "POLL_INTERVAL_S", 0.1)
            all_stopped = asyncio.Event()

            def stop(run, why):
                asked_to_stop.add(run)
                if len(asked_to_stop) == MANY:
                    all_stopped.set()

            looking = server_watch.ServerWatch(
                connection, uuid4(), RunOwner("w", ""), lambda: own, lambda _: None, stop
            )
            task = asyncio.create_task(looking.poll_states())
            try:
                await asyncio.wait_for(all_stopped.wait(), 60)
            finally:
                task.cancel()

    asyncio.run(look())
    assert asked_to_stop == set(own)
