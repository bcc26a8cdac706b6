"""Artifacts of a single flow run."""

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId


def artifacts_of(state):
    """Artifacts of the run that ended in this state, by key."""
    wanted = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[state.state_details.flow_run_id]))
    with get_client(sync_client=True) as client:
        return {note.key: note for note in client.read_artifacts(artifact_filter=wanted)}
