"""Time of each list, check and status with 120,000 runs in Prefect's database, on SQLite and PostgreSQL."""

import asyncio
import contextlib
import re
import statistics
import sys
import tempfile
import time
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path

from figures import record

for folder in ("warm", "support"):
    sys.path.append(str(Path(__file__).resolve().parents[1] / folder))

COUNT = 120_000
REPEATS = 5


@contextlib.contextmanager
def requests_counted():
    """Count the requests to Prefect of this process."""
    import httpx

    counted, plain = [], (httpx.Client.send, httpx.AsyncClient.send)

    def send(self, request, **options):
        counted.append(request)
        return plain[0](self, request, **options)

    async def send_async(self, request, **options):
        counted.append(request)
        return await plain[1](self, request, **options)

    httpx.Client.send, httpx.AsyncClient.send = send, send_async
    try:
        yield counted
    finally:
        httpx.Client.send, httpx.AsyncClient.send = plain


def reads_of_the_api(month):
    """Yield name and coroutine function of each read of the API, uncached."""
    from api.jobs.model import UNFINISHED_STATUSES, JobFilter
    from api.orchestrator.job_store import PrefectJobStore
    from api.orchestrator.webhooks import PrefectDeliveryStore
    from flows.registry import JOB_TYPES
    from flows.schemas.control import Control

    now = datetime.now(UTC)
    old = month.jobs[len(month.jobs) * 9 // 10]
    lists = {
        "list": JobFilter(limit=20),
        "list, 200": JobFilter(limit=200),
        "list of a tenant": JobFilter(limit=20, tenant=month.tenant),
        "list of an unknown tenant": JobFilter(limit=20, tenant="unknown"),
        "list of a rare tag": JobFilter(limit=20, tags=("rare",)),
        "list of an unknown tag": JobFilter(limit=20, tags=("nothing",)),
        "list of a type": JobFilter(limit=20, types=frozenset({"speech"})),
        "list of a type without runs": JobFilter(limit=20, types=frozenset({"verify"})),
        "list, failed": JobFilter(limit=20, statuses=frozenset({"failed"})),
        "list, unfinished": JobFilter(limit=20, statuses=UNFINISHED_STATUSES),
        "list of a batch": JobFilter(limit=20, part_of=month.batch),
        "list of no batch": JobFilter(limit=20, part_of=old),
        "one day, two weeks ago": JobFilter(
            limit=20, created_after=now - timedelta(days=15), created_before=now - timedelta(days=14)
        ),
    }

    def fresh(act):
        async def once():
            store = PrefectJobStore()
            try:
                for flow in ("speech", "lip_sync", "batch"):  # the API knows them after its first requests
                    await store.find(JobFilter(limit=1, types=frozenset({flow})))
                began = time.perf_counter()
                await act(store)
                return time.perf_counter() - began
            finally:
                await store.close()

        return once

    for name, job_filter in lists.items():
        yield name, fresh(lambda store, job_filter=job_filter: store.find(job_filter))
    yield "status", fresh(lambda store: store._read_many([old]))
    yield "unfinished jobs", fresh(lambda store: store.count_unfinished(None))
    yield "unfinished jobs of a tenant", fresh(lambda store: store.count_unfinished(month.tenant))
    yield "idempotency key, unknown", fresh(lambda store: store.has_idempotency_key("no-such-key"))
    yield "estimate", fresh(lambda store: store.estimate(JOB_TYPES["speech"], Control()))
    yield (
        "estimate of a type without runs",
        fresh(lambda store: store.estimate(JOB_TYPES["verify"], Control())),
    )
    yield "queues", fresh(lambda store: store.queues())
    yield "deliveries of a job", fresh(lambda store: PrefectDeliveryStore(store.connection).list_for_job(old))
    yield "backlog of webhooks", fresh(lambda store: PrefectDeliveryStore(store.connection).backlog())


def reads_of_workers(month):
    """Yield name and function of each read of flows, with a client."""
    from prefect.client.orchestration import get_client

    from flows.orchestration.child_jobs import ChildJobs
    from flows.schemas.webhook import NotifyJob
    from flows.webhooks.deliveries import is_delivered

    old = month.jobs[len(month.jobs) * 9 // 10]

    def with_client(act):
        async def once():
            def measure():
                with get_client(sync_client=True) as client:
                    client.api_version()
                    prepared = act(client)
                    began = time.perf_counter()
                    prepared()
                    return time.perf_counter() - began

            return await asyncio.to_thread(measure)

        return once

    def children(client):
        found = ChildJobs(client, client.read_flow_run(month.batch))
        return found.list_all

    yield "children of a restarted batch", with_client(children)
    yield (
        "delivered before?",
        with_client(lambda client: lambda: is_delivered(client, NotifyJob(run=old, event="completed"))),
    )


def _figure_name(name):
    return re.sub("[^a-z0-9]+", "_", name.lower()).strip("_")


async def measure(month, only):
    rows = []
    for name, act in (*reads_of_the_api(month), *reads_of_workers(month)):
        if only and not any(word in name for word in only):
            continue
        with requests_counted() as counted:
            first = await act()
            requests = len(counted)
            seconds = [first]
            for _ in range(REPEATS - 1 if first < 2 else 1):
                seconds.append(await act())
        rows.append((name, requests, 1000 * statistics.median(seconds), 1000 * max(seconds)))
        print(
            f"  {name:36} {rows[-1][2]:8.0f} ms  worst {rows[-1][3]:8.0f} ms  {requests} requests", flush=True
        )
    return rows


def main(kinds=("sqlite", "postgresql"), only=()):
    from many_runs import write_month
    from own_postgres import own_database
    from prefect_settings import prefect_settings
    from stage import Server, deploy_jobs

    from flows.registry import INTERNAL_FLOWS

    worst = {}
    for kind in kinds:
        with (
            tempfile.TemporaryDirectory() as name,
            own_database() if kind == "postgresql" else nullcontext() as database,
        ):
            server = Server(Path(name), database)
            server.start()
            try:
                deploy_jobs(server)
                with server.client() as client:
                    for flow in INTERNAL_FLOWS:
                        client.create_flow_from_name(flow)
                address = (database or f"sqlite:///{server.home}/prefect.db").replace("+asyncpg", "")
                began = time.perf_counter()
                month = write_month(address, COUNT)
                print(f"{kind}: {COUNT} runs written in {time.perf_counter() - began:.0f} s", flush=True)
                with prefect_settings(api={"url": server.url}):
                    for row in asyncio.run(measure(month, only)):
                        worst[kind, row[0]] = row[2]
            finally:
                server.kill()
    record(**{f"{kind}_{_figure_name(name)}_ms": value for (kind, name), value in worst.items()})
    print(f"slowest: {max(worst.values(), default=0):.0f} ms (bar: 300)")
    return worst


if __name__ == "__main__":
    main()
