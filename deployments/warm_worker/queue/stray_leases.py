"""
Leases on slots of tenants that no run names: a worker was killed after it took a slot, before its claim.

A run names its lease once it is claimed, so that a reaper can release it. Before that, only the server's
lease storage knows the lease, with the run as its holder. Workers that share this storage, on the server's
computer or in Redis, release such leases; elsewhere they expire after `tenant_limits.LEASE_S`.
"""

import asyncio
from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import ConcurrencyLeaseHolder, StateType

from deployments.warm_worker.ownership import lease_of
from flows.prefect_state.queries import read_any_of_async
from tasks.run.tenancy import TENANT_TAG

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import FlowRun
    from prefect.server.concurrency.lease_storage import ConcurrencyLeaseStorage

POLL_INTERVAL_S: Final = 10.0
CLAIM_TAKES: Final = timedelta(seconds=10)
"""A younger lease may belong to a claim that is being made."""
_CLAIMED: Final = frozenset({StateType.PENDING, StateType.RUNNING, StateType.CANCELLING})
_PAGE: Final = 200


class StrayLeases:
    """Finds and releases the leases of workers that were killed before they claimed their runs."""

    def __init__(
        self,
        client: "PrefectClient",
        open_storage: "Callable[[], ConcurrencyLeaseStorage]",
        log: Callable[[str], None],
    ) -> None:
        """
        Configure the search; `run_forever` starts it.

        Args:
            client:       client of the server.
            open_storage: opens the server's lease storage.
            log:          called with each log line.
        """
        self._client, self._open_storage, self._log = client, open_storage, log

    async def run_forever(self) -> None:
        """Release stray leases every POLL_INTERVAL_S, until cancelled; an error is logged once."""
        last_error = ""
        while True:
            await asyncio.sleep(POLL_INTERVAL_S)
            try:
                await self.release()
            except Exception as error:  # of the server, of Redis or of a file: no lease is worth a worker
                text = f"{type(error).__name__}: {error}"
                if text != last_error:
                    self._log(f"leases of killed workers could not be read: {text}")
                last_error = text
            else:
                last_error = ""

    async def release(self) -> list[UUID]:
        """
        Release the leases that no claimed run names.

        A lease that a living worker holds for a claim in an outage looks the same. That worker notices it
        when it renews the lease, and takes another slot.

        Returns:
            The ids of the released leases.
        """
        holders = await self._read_holders(self._open_storage())
        if not holders:
            return []
        runs = {run.id: run for run in await self._read_runs(set(holders.values()))}
        stray = [lease for lease, run_id in holders.items() if not _is_named(lease, runs.get(run_id))]
        for lease in stray:
            await self._client.release_concurrency_slots_with_lease(lease)
            self._log(f"released the slot of run {holders[lease]}, which no worker has claimed with it")
        return stray

    async def _read_holders(self, storage: "ConcurrencyLeaseStorage") -> dict[UUID, UUID]:
        """Return the runs for which slots of tenants were taken at least `CLAIM_TAKES` ago, by lease."""
        leases: list[UUID] = []
        while page := await storage.read_active_lease_ids(limit=_PAGE, offset=len(leases)):
            leases += page
        if not leases:
            return {}
        tenants = await self._read_limits()
        latest = datetime.now(UTC) - CLAIM_TAKES
        holders: dict[UUID, UUID] = {}
        for lease_id in leases:
            lease = await storage.read_lease(lease_id)
            run_id = _run_of(lease.metadata.holder) if lease and lease.metadata else None
            if lease is None or run_id is None or lease.created_at > latest:
                continue
            if tenants.issuperset(lease.resource_ids):
                holders[lease_id] = run_id
        return holders

    async def _read_limits(self) -> set[UUID]:
        """Return the ids of the tenants' limits."""
        limits = []
        while page := await self._client.read_global_concurrency_limits(limit=_PAGE, offset=len(limits)):
            limits += page
        return {limit.id for limit in limits if limit.name.startswith(TENANT_TAG)}

    async def _read_runs(self, ids: Collection[UUID]) -> "list[FlowRun]":
        async def read(chunk: list[UUID], limit: int, offset: int) -> "list[FlowRun]":
            chosen = FlowRunFilter(id=FlowRunFilterId(any_=chunk))
            return await self._client.read_flow_runs(flow_run_filter=chosen, limit=limit, offset=offset)

        return await read_any_of_async(ids, read)


def _run_of(holder: Any) -> UUID | None:
    """Return the run that holds a lease; the storage in Redis gives holders as JSON objects."""
    if isinstance(holder, dict):
        holder = ConcurrencyLeaseHolder.model_validate(holder)
    return holder.id if holder is not None and holder.type == "flow_run" else None


def _is_named(lease: UUID, run: "FlowRun | None") -> bool:
    """Return whether a run is claimed with a lease."""
    return run is not None and run.state_type in _CLAIMED and lease_of(run) == lease
