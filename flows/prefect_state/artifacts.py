"""
Artifacts of flow runs by key: the newest result, error, progress or other report of each run.

Nothing of Prefect is imported with this module, so the API may use it.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING
from uuid import UUID

from flows.prefect_state.queries import read_any_of, read_any_of_async
from tasks.run.retry import RETRY_LIMIT_S, retry_while_unavailable

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient, SyncPrefectClient
    from prefect.client.schemas.filters import ArtifactFilter
    from prefect.client.schemas.objects import Artifact

    ArtifactsByRun = Mapping[UUID, Mapping[str, Artifact]]


def read_latest_artifacts(
    client: "SyncPrefectClient", run_ids: Iterable[UUID], keys: Iterable[str], limit_s: float = RETRY_LIMIT_S
) -> "ArtifactsByRun":
    """
    Return the newest artifact per run and key.

    Args:
        client:  client of the Prefect server.
        run_ids: any number of flow runs.
        keys:    artifact keys, for example `RESULT_KEYS`.
        limit_s: seconds for which a request is retried while the server is unavailable; 0: it is not retried.

    Returns:
        Artifacts by flow run and key. Runs that have none are left out.
    """
    names = list(keys)

    def read(chunk: list[UUID], limit: int, offset: int) -> "list[Artifact]":
        wanted = _filter(chunk, names)
        return retry_while_unavailable(
            lambda: client.read_artifacts(artifact_filter=wanted, limit=limit, offset=offset), limit_s
        )

    return _by_run(read_any_of(run_ids, read, order=_updated))


async def read_latest_artifacts_async(
    client: "PrefectClient", run_ids: Iterable[UUID], keys: Iterable[str]
) -> "ArtifactsByRun":
    """Return the newest artifact per run and key; see `read_latest_artifacts`. Requests are not retried."""
    names = list(keys)

    async def read(chunk: list[UUID], limit: int, offset: int) -> "list[Artifact]":
        return await client.read_artifacts(artifact_filter=_filter(chunk, names), limit=limit, offset=offset)

    return _by_run(await read_any_of_async(run_ids, read, order=_updated))


def _filter(chunk: list[UUID], keys: list[str]) -> "ArtifactFilter":
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId, ArtifactFilterKey

    return ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=chunk), key=ArtifactFilterKey(any_=keys))


def _updated(artifact: "Artifact") -> str:
    return str(artifact.updated)


def _by_run(artifacts: "Iterable[Artifact]") -> "ArtifactsByRun":
    by_run: dict[UUID, dict[str, Artifact]] = {}
    for artifact in artifacts:  # in the order of their last change: the newest per key comes last
        if artifact.flow_run_id:
            by_run.setdefault(artifact.flow_run_id, {})[str(artifact.key)] = artifact
    return by_run
