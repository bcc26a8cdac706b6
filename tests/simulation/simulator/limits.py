"""Concurrency limits of the simulated server, their leases, and the service that frees expired ones."""

from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import httpx
from prefect.exceptions import ObjectNotFound

from simulator.world import World

REPOSSESS_INTERVAL_S = 15.0


class Limits:
    """Concurrency limits and leases."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.limits: dict[str, Any] = {}
        self.leases: dict[UUID, Any] = {}
        self.loses_next_lease = False
        """Whether the server dies after it has counted the next slot and before it stores the lease."""

    def limit(self, name: str, slots: int) -> None:
        """Create a limit."""
        self.limits[name] = SimpleNamespace(
            id=self.world.uuid(),
            name=name,
            limit=slots,
            active=True,
            active_slots=0,
            slot_decay_per_second=0.0,
        )

    def read_global_concurrency_limit_by_name(self, name: str) -> Any:
        if name not in self.limits:
            raise ObjectNotFound(LookupError(name))
        return self.limits[name]

    def read_global_concurrency_limits(self, limit: int = 10, offset: int = 0) -> list[Any]:
        return list(self.limits.values())[offset : offset + limit]

    def increment_concurrency_slots_with_lease(
        self, names: list[str], slots: int, mode: str, lease_duration: float, holder: Any = None
    ) -> httpx.Response:
        found = [self.limits[name] for name in names if name in self.limits]
        request = httpx.Request("POST", "http://simulated/increment")
        if any(one.active_slots + slots > one.limit for one in found):
            response = httpx.Response(423, request=request, headers={"Retry-After": "30"})
            raise httpx.HTTPStatusError("locked", request=request, response=response)
        for one in found:
            one.active_slots += slots
        if self.loses_next_lease:
            self.loses_next_lease = False
            raise httpx.ReadError("the server died", request=request)
        now = self.world.wall()
        lease = SimpleNamespace(
            id=self.world.uuid(),
            resource_ids=[one.id for one in found],
            created_at=now,
            expiration=now + timedelta(seconds=lease_duration),
            metadata=SimpleNamespace(slots=slots, holder=holder),
        )
        self.leases[lease.id] = lease
        return httpx.Response(200, request=request, json={"lease_id": str(lease.id)})

    def renew_concurrency_lease(self, lease_id: UUID, lease_duration: float) -> None:
        lease = self.leases.get(UUID(str(lease_id)))
        if lease is None:
            request = httpx.Request("POST", "http://simulated/renew")
            raise httpx.HTTPStatusError(
                "gone", request=request, response=httpx.Response(410, request=request)
            )
        lease.expiration = self.world.wall() + timedelta(seconds=lease_duration)

    def release_concurrency_slots_with_lease(self, lease_id: UUID) -> None:
        lease = self.leases.pop(UUID(str(lease_id)), None)
        if lease is not None:
            self._decrement(lease.resource_ids, lease.metadata.slots)

    def release_concurrency_slots(self, names: list[str], slots: int, occupancy_seconds: float) -> None:
        self._decrement([self.limits[name].id for name in names if name in self.limits], slots)

    def _decrement(self, ids: list[UUID], slots: int) -> None:
        for one in self.limits.values():
            if one.id in ids:
                one.active_slots = max(0, one.active_slots - slots)

    def free_expired_leases(self) -> None:
        """Free the slots of expired leases, as the server's repossessor does."""
        now = self.world.wall()
        for lease in [lease for lease in self.leases.values() if lease.expiration < now]:
            self.world.cover("lease expired")
            self.release_concurrency_slots_with_lease(lease.id)


class LeaseStorage:
    """The server's lease storage, as workers beside the server read it."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits

    async def read_active_lease_ids(self, limit: int = 100, offset: int = 0) -> list[UUID]:
        await self._limits.world.sleep(0.001)
        now: datetime = self._limits.world.wall()
        active = [lease.id for lease in self._limits.leases.values() if lease.expiration > now]
        return active[offset : offset + limit]

    async def read_lease(self, lease_id: UUID) -> Any:
        await self._limits.world.sleep(0.001)
        return self._limits.leases.get(lease_id)
