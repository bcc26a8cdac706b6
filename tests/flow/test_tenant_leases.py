"""Leases of tenants' concurrency slots: renewed by their worker, released when it is killed."""

import asyncio
import contextlib
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import httpx
import pytest
from own_redis import HOST, own_redis
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import (
    GlobalConcurrencyLimitCreate,
    GlobalConcurrencyLimitUpdate,
    WorkPoolCreate,
)
from prefect.exceptions import ObjectAlreadyExists
from prefect.server.concurrency.lease_storage import ConcurrencyLeaseHolder, ConcurrencyLimitLeaseMetadata
from prefect.server.utilities.leasing import ResourceLease
from prefect.states import Pending

from deployments.warm_worker import worker as worker_module
from deployments.warm_worker.ownership import RunOwner, claim_message
from deployments.warm_worker.queue import stray_leases, tenant_limits
from deployments.warm_worker.queue.stray_leases import StrayLeases
from deployments.warm_worker.worker import WarmWorker

POOL = "tenant-leases"
RUN, OTHER = uuid4(), uuid4()


@pytest.fixture
def limited_pool(home):
    """A work pool, and a tenant that may run one job at a time."""
    with get_client(sync_client=True) as client:
        with contextlib.suppress(ObjectAlreadyExists):
            client.create_work_pool(WorkPoolCreate(name=POOL, type="warm-process"))
        client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name="tenant:leased", limit=1))
        yield POOL
        client.delete_global_concurrency_limit_by_name("tenant:leased")


def test_a_lease_is_renewed_while_its_job_runs(limited_pool, monkeypatch):
    monkeypatch.setattr(tenant_limits, "_RENEW_INTERVAL_S", 0.1)
    monkeypatch.setattr(worker_module, "child_environments", lambda *_: [])  # no child processes
    renewed = asyncio.Event()

    async def story():
        async with WarmWorker(work_pool_name=limited_pool) as worker:
            limits = worker._tenant_limits
            renew = worker.client.renew_concurrency_lease

            async def renew_and_tell(*args):
                await renew(*args)
                renewed.set()

            monkeypatch.setattr(worker.client, "renew_concurrency_lease", renew_and_tell)
            assert await limits.acquire(RUN, "leased") and not await limits.acquire(OTHER, "leased")
            await asyncio.wait_for(renewed.wait(), 20)
            await limits.release(RUN)

    asyncio.run(story())


def test_runs_that_end_at_the_same_time_release_their_slots(limited_pool):
    async def story():
        async with get_client() as client:
            await client.update_global_concurrency_limit(
                "tenant:leased", GlobalConcurrencyLimitUpdate(limit=5)
            )
            limits = tenant_limits.TenantLimits(client)
            runs = [uuid4() for _ in range(5)]
            for run in runs:
                assert await limits.acquire(run, "leased")
            await asyncio.gather(*map(limits.release, runs))
            current = await client.read_global_concurrency_limit_by_name("tenant:leased")
            assert current.active_slots == 0

    asyncio.run(story())


def test_a_slot_that_could_not_be_released_in_an_outage_is_released_later(limited_pool, monkeypatch):
    monkeypatch.setattr(tenant_limits, "_RENEW_INTERVAL_S", 0.05)

    async def story():
        async with get_client() as client:
            limits = tenant_limits.TenantLimits(client)
            assert await limits.acquire(RUN, "leased")
            release = client.release_concurrency_slots_with_lease
            outages = iter([httpx.ConnectError("away"), httpx.ConnectError("away")])

            async def release_after_outages(lease):
                for error in outages:
                    raise error
                return await release(lease)

            monkeypatch.setattr(client, "release_concurrency_slots_with_lease", release_after_outages)
            await limits.release(RUN)
            assert not await limits.acquire(OTHER, "leased")
            renewing = asyncio.create_task(limits.renew_leases())
            for _ in range(100):
                if await limits.acquire(OTHER, "leased"):
                    break
                await asyncio.sleep(0.05)
            renewing.cancel()
            assert limits.lease_of(OTHER)
            await limits.release(OTHER)

    asyncio.run(story())


def test_a_lease_storage_that_cannot_be_opened_is_logged_once_and_tried_again(monkeypatch):
    monkeypatch.setattr(stray_leases, "POLL_INTERVAL_S", 0.01)
    opened, lines = [], []

    def open_storage():
        opened.append(1)
        raise ModuleNotFoundError("No module named 'prefect_redis'")

    async def story():
        searching = asyncio.create_task(StrayLeases(None, open_storage, lines.append).run_forever())
        while len(opened) < 3:
            await asyncio.sleep(0.01)
        assert not searching.done()
        searching.cancel()

    asyncio.run(story())
    assert len(lines) == 1 and "prefect_redis" in lines[0]


class Leases:
    """A storage of leases, made so many seconds ago for runs: (run, age)."""

    def __init__(self, limit, *held):
        self.held = {
            uuid4(): ResourceLease(
                resource_ids=[limit],
                metadata=ConcurrencyLimitLeaseMetadata(
                    slots=1, holder=run and ConcurrencyLeaseHolder(type="flow_run", id=run)
                ),
                expiration=datetime.now(UTC) + timedelta(seconds=60),
                created_at=datetime.now(UTC) - timedelta(seconds=age),
            )
            for run, age in held
        }

    async def read_active_lease_ids(self, limit, offset):
        return list(self.held)[offset : offset + limit]

    async def read_lease(self, lease):
        return self.held.get(lease)


def test_leases_in_redis_are_found_with_their_runs(limited_pool, monkeypatch):
    with get_client(sync_client=True) as client:
        tenant = client.read_global_concurrency_limit_by_name("tenant:leased").id
    monkeypatch.setattr(stray_leases, "CLAIM_TAKES", timedelta(0))
    with own_redis() as number:
        monkeypatch.setenv("PREFECT_REDIS_MESSAGING_HOST", HOST)
        monkeypatch.setenv("PREFECT_REDIS_MESSAGING_DB", str(number))
        from prefect_redis.lease_storage import ConcurrencyLeaseStorage

        async def story():
            storage, holder = ConcurrencyLeaseStorage(), ConcurrencyLeaseHolder(type="flow_run", id=uuid4())
            about = ConcurrencyLimitLeaseMetadata(slots=1, holder=holder)
            lease = await storage.create_lease([tenant], timedelta(seconds=60), about)
            async with get_client() as client:
                client.release_concurrency_slots_with_lease = storage.revoke_lease
                assert await StrayLeases(client, lambda: storage, lambda _: None).release() == [lease.id]
                assert await StrayLeases(client, lambda: storage, lambda _: None).release() == []

        asyncio.run(story())


def test_only_leases_that_no_claim_names_are_released(limited_pool):
    with get_client(sync_client=True) as client:
        tenant = client.read_global_concurrency_limit_by_name("tenant:leased").id
        flow = client.create_flow_from_name("leased")
        deployment = client.create_deployment(flow_id=flow, name="leased", work_pool_name=limited_pool)
        waiting, claimed = (client.create_flow_run_from_deployment(deployment).id for _ in range(2))
        storage = Leases(tenant, (waiting, 30), (claimed, 30), (waiting, 1), (None, 30), (uuid4(), 30))
        stray, named, _, _, gone = storage.held
        owner = RunOwner("worker", "process")
        client.set_flow_run_state(claimed, Pending(message=claim_message(owner, "0a", named)), force=True)
    released = []

    async def story():
        async with get_client() as client:

            async def release(lease):
                released.append(lease)

            client.release_concurrency_slots_with_lease = release
            await StrayLeases(client, lambda: storage, lambda _: None).release()
            assert released == [stray, gone]
            foreign = Leases(uuid4(), (waiting, 30))  # a limit of somebody else
            assert await StrayLeases(client, lambda: foreign, lambda _: None).release() == []

    asyncio.run(story())
