"""Provenance manifests of jobs, read from their artifacts on the Prefect server."""

from collections.abc import Sequence
from uuid import UUID

from pydantic import ValidationError

from api.orchestrator.connection import PrefectConnection
from flows.prefect_state.artifacts import read_latest_artifacts_async
from flows.prefect_state.status import read_data
from flows.schemas.lineage import LINEAGE_KEY, Lineage


class PrefectLineageStore:
    """Provenance manifests stored as artifacts on a Prefect server."""

    def __init__(self, connection: PrefectConnection) -> None:
        """Use a shared connection."""
        self._connection = connection

    async def read_many(self, job_ids: Sequence[UUID]) -> dict[UUID, Lineage]:
        """Return the manifests of jobs."""
        if not job_ids:
            return {}
        artifacts = await self._connection.read(
            lambda client: read_latest_artifacts_async(client, job_ids, [LINEAGE_KEY])
        )
        lineages: dict[UUID, Lineage] = {}
        for job_id, by_key in artifacts.items():
            try:
                lineage = Lineage.model_validate(read_data(by_key[LINEAGE_KEY]))
            except ValidationError:  # an artifact with this key that the flow did not write
                continue
            if job_id == lineage.job:
                lineages[lineage.job] = lineage
        return lineages
