"""Leases of tenants' concurrency slots: renewed by their worker, released when it is killed."""

import asyncio
import contextlib
from uuid import uuid4

import httpx
import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import (
    GlobalConcurrencyLimitCreate,
    GlobalConcurrencyLimitUpdate,
    WorkPoolCreate,
)
from prefect.exceptions import ObjectAlreadyExists

from deployments.warm_worker import worker as worker_module
from deployments.warm_worker.queue import tenant_limits
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
