"""
Limits of concurrent jobs per tenant, by Prefect's global concurrency limits named `tenant:NAME`.

A worker renews a lease for each concurrency slot; the lease of a dead worker expires within `LEASE_S`. If a
lease expires because the server is unavailable, the job continues, and a new lease is acquired later.
"""

import asyncio
import time
from typing import TYPE_CHECKING, Final
from uuid import UUID

import httpx
from prefect.exceptions import ObjectNotFound

from deployments.warm.settle import is_outage
from flows.control import TENANT_TAG

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient

LEASE_S: Final = 60.0
_LOOK_AGAIN_S: Final = 10.0


class TenantLimits:
    """The concurrency leases of one worker's runs."""

    def __init__(self, client: "PrefectClient") -> None:
        self._client = client
        self._limited: dict[str, tuple[float, bool]] = {}
        self._leases: dict[UUID, tuple[str, UUID]] = {}

    async def admit(self, run_id: UUID, tenant: str | None) -> bool:
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
            answer = await self._client.increment_concurrency_slots_with_lease(
                [name], slots=1, mode="concurrency", lease_duration=LEASE_S
            )
        except httpx.HTTPStatusError as error:
            if error.response.status_code == 423:
                return False
            raise
        self._leases[run_id] = (name, UUID(answer.json()["lease_id"]))
        return True

    async def _is_limited(self, name: str) -> bool:
        known = self._limited.get(name)
        if known is None or time.monotonic() - known[0] > _LOOK_AGAIN_S:
            try:
                limit = await self._client.read_global_concurrency_limit_by_name(name)
            except ObjectNotFound:
                known = (time.monotonic(), False)
            else:
                known = (time.monotonic(), limit.active)
            self._limited[name] = known
        return known[1]

    async def release(self, run_id: UUID) -> None:
        """Release a run's concurrency slot; if the server is unavailable, the lease expires."""
        held = self._leases.pop(run_id, None)
        if held is None:
            return
        try:
            await self._client.release_concurrency_slots_with_lease(held[1])
        except (httpx.HTTPError, OSError):
            return

    async def keep(self) -> None:
        """Renew all leases, until cancelled; replace one that expired during an outage if a slot is free."""
        while True:
            await asyncio.sleep(LEASE_S / 4)
            for run_id, (name, lease) in list(self._leases.items()):
                try:
                    await self._client.renew_concurrency_lease(lease, LEASE_S)
                except (httpx.HTTPError, OSError) as error:
                    if not is_outage(error) and self._leases.get(run_id) == (name, lease):
                        del self._leases[run_id]
                        await self._again(run_id, name)

    async def _again(self, run_id: UUID, name: str) -> None:
        try:
            await self.admit(run_id, name.removeprefix(TENANT_TAG))
        except (httpx.HTTPError, OSError):
            return
