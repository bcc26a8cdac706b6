"""Provenance manifests of jobs, read from their artifacts on the Prefect server."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING
from uuid import UUID

from pydantic import ValidationError

from flows.prefect_state.artifacts import read_latest_artifacts_async
from flows.prefect_state.status import read_data
from flows.schemas.lineage import LINEAGE_KEY, Lineage

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient


class PrefectLineageStore:
    """Provenance manifests stored as artifacts on a Prefect server."""

    def __init__(self, connection: "Callable[[], Awaitable[PrefectClient]]") -> None:
        """
        Use a shared connection.

        Args:
            connection: returns the Prefect client, opening it on first use.
        """
        self._connection = connection

    async def read_many(self, job_ids: Sequence[UUID]) -> dict[UUID, Lineage]:
        """Return the manifests of jobs."""
        if not job_ids:
            return {}
        artifacts = await read_latest_artifacts_async(await self._connection(), job_ids, [LINEAGE_KEY])
        lineages: dict[UUID, Lineage] = {}
        for job_id, by_key in artifacts.items():
            try:
                lineage = Lineage.model_validate(read_data(by_key[LINEAGE_KEY]))
            except ValidationError:  # an artifact with this key that the flow did not write
                continue
            if job_id == lineage.job:
                lineages[lineage.job] = lineage
        return lineages
