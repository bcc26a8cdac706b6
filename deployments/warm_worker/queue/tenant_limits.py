"""
Limits of concurrent jobs per tenant, by Prefect's global concurrency limits named `tenant:NAME`.

A worker renews a lease for each concurrency slot and labels the run with it. A reaper that requeues a run of
a dead worker releases its lease, and `StrayLeases` those of workers that died before they claimed a run.
Other leases of dead workers expire after `LEASE_S`, and Prefect's repossessor frees their slots within its
interval. If a lease expires because the server is unavailable, the
job continues, and a new lease is acquired later.
"""

import asyncio
import time
from typing import TYPE_CHECKING, Final
from uuid import UUID

import httpx
from prefect.exceptions import ObjectNotFound

from deployments.warm_worker.ownership import LEASE_LABEL, lease_of
from tasks.run.retry import is_outage
from tasks.run.tenancy import TENANT_TAG

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import ConcurrencyLeaseHolder, FlowRun

LEASE_S: Final = 60.0
_RENEW_INTERVAL_S: Final = LEASE_S / 4
_LIMIT_CACHE_S: Final = 10.0


class TenantLimits:
    """The concurrency leases of one worker's runs."""

    def __init__(self, client: "PrefectClient") -> None:
        self._client = client
        self._limit_cache: dict[str, tuple[float, bool]] = {}
        self._leases: dict[UUID, tuple[str, UUID]] = {}
        self._unreleased: list[UUID] = []
        """Leases of ended runs that could not be released because the server was unavailable."""

    async def acquire(self, run_id: UUID, tenant: str | None) -> bool:
        """
        Acquire a concurrency slot of a tenant for a run.

        Returns:
            False if all slots of the tenant are in use. True if one was acquired, and for runs without a
            tenant or of a tenant without a limit.
        """
        if tenant is None or run_id in self._leases:
            return True
        name = f"{TENANT_TAG}{tenant}"
        if not await self._is_limited(name):
            return True
        try:
            response = await self._client.increment_concurrency_slots_with_lease(
                [name], slots=1, mode="concurrency", lease_duration=LEASE_S, holder=_holder(run_id)
            )
        except httpx.HTTPStatusError as error:
            if error.response.status_code == 423:
                return False
            raise
        self._leases[run_id] = (name, UUID(response.json()["lease_id"]))
        return True

    async def _is_limited(self, name: str) -> bool:
        cached = self._limit_cache.get(name)
        if cached is None or time.monotonic() - cached[0] > _LIMIT_CACHE_S:
            try:
                limit = await self._client.read_global_concurrency_limit_by_name(name)
            except ObjectNotFound:
                cached = (time.monotonic(), False)
            else:
                cached = (time.monotonic(), limit.active)
            self._limit_cache[name] = cached
        return cached[1]

    def lease_of(self, run_id: UUID) -> UUID | None:
        """Return the lease of a run of this worker; None if its tenant has no limit."""
        lease = self._leases.get(run_id)
        return lease[1] if lease else None

    async def release(self, run_id: UUID) -> None:
        """Release a run's concurrency slot; if the server is unavailable, `renew_leases` does it later."""
        lease = self._leases.pop(run_id, None)
        if lease is None:
            return
        await self._release_lease(lease[1])

    async def _release_lease(self, lease: UUID) -> None:
        """Release the lease of an ended run; if the server is unavailable, keep it for `renew_leases`."""
        try:
            await self._client.release_concurrency_slots_with_lease(lease)
        except (httpx.HTTPError, OSError):
            self._unreleased.append(lease)

    async def renew_leases(self) -> None:
        """Renew all leases, until cancelled. One that expired in an outage is replaced if a slot is free."""
        while True:
            await asyncio.sleep(_RENEW_INTERVAL_S)
            unreleased, self._unreleased = self._unreleased, []
            for lease in unreleased:
                await self._release_lease(lease)
            for run_id, (name, lease) in list(self._leases.items()):
                try:
                    await self._client.renew_concurrency_lease(lease, LEASE_S)
                except (httpx.HTTPError, OSError) as error:
                    if not is_outage(error) and self._leases.get(run_id) == (name, lease):
                        del self._leases[run_id]
                        await self._reacquire(run_id, name)

    async def _reacquire(self, run_id: UUID, name: str) -> None:
        try:
            if await self.acquire(run_id, name.removeprefix(TENANT_TAG)):
                lease = self.lease_of(run_id)
                await self._client.update_flow_run_labels(run_id, {LEASE_LABEL: str(lease or "")})
        except (httpx.HTTPError, OSError, ObjectNotFound):
            return


def _holder(run_id: UUID) -> "ConcurrencyLeaseHolder":
    """Return the holder with which a lease names its run in the server's lease storage."""
    from prefect.client.schemas.objects import ConcurrencyLeaseHolder

    return ConcurrencyLeaseHolder(type="flow_run", id=run_id)


async def release_lost_lease(client: "PrefectClient", run: "FlowRun") -> None:
    """
    Release the lease of a run whose worker has died; without effect if it has expired or was released.

    Args:
        client: client of the server. If the server is unavailable, the lease expires.
        run:    the run as it was when its worker was found dead.
    """
    lease = lease_of(run)
    if lease is None:
        return
    try:
        await client.release_concurrency_slots_with_lease(lease)
    except (httpx.HTTPError, OSError):
        return
