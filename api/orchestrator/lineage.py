"""TODO."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING
from uuid import UUID

from pydantic import ValidationError

from flows.prefect_state.queries import read_any_of_async
from flows.prefect_state.status import read_data
from flows.schemas.lineage import LINEAGE_KEY, Lineage

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import Artifact


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
        from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId, ArtifactFilterKey

        if not job_ids:
            return {}
        client = await self._connection()

        async def read_page(chunk: list[UUID], limit: int, offset: int) -> "list[Artifact]":
            artifact_filter = ArtifactFilter(
                flow_run_id=ArtifactFilterFlowRunId(any_=chunk), key=ArtifactFilterKey(any_=[LINEAGE_KEY])
            )
            return await client.read_artifacts(artifact_filter=artifact_filter, limit=limit, offset=offset)

        lineages: dict[UUID, Lineage] = {}
        artifacts = await read_any_of_async(job_ids, read_page, order=lambda note: str(note.updated))
        for artifact in artifacts:  # a restarted run has several; the newest comes last
            try:
                lineage = Lineage.model_validate(read_data(artifact))
            except ValidationError:  # an artifact with this key that the flow did not write
                continue
            if artifact.flow_run_id == lineage.job:
                lineages[lineage.job] = lineage
        return lineages
