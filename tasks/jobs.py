"""`job://id`: another job's finished output as an input."""

import json
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId, ArtifactFilterKey

from musetalk_core.errors import InputError

_SPOKEN = "artefact://speech/"


@dataclass(frozen=True, slots=True)
class Found:
    """Where an input really is."""

    uri: str
    speech: str | None = None


def resolve(uri: str) -> Found:
    """
    Follow a `job://` reference; every other reference is returned as it is, a spoken text known as such.

    Raises:
        InputError: the job is unknown, unfinished, or has no file to give.
    """
    if uri.startswith(_SPOKEN):
        return Found(uri, uri.removeprefix(_SPOKEN).split("/", 1)[0])
    if not uri.startswith("job://"):
        return Found(uri)
    job = uri.removeprefix("job://").split("/", 1)[0]
    result = _result(job)
    output = result.get("video") or result.get("audio")
    if not output:
        raise InputError(f"job {job} has no audio or video output")
    speech = result.get("speech")
    return Found(output["uri"], speech["key"] if speech else None)


def _result(job: str) -> dict[str, Any]:
    try:
        run = UUID(job)
    except ValueError:
        raise InputError(f"job://{job} does not name a job: its id should be a UUID") from None
    wanted = ArtifactFilter(
        flow_run_id=ArtifactFilterFlowRunId(any_=[run]), key=ArtifactFilterKey(any_=["result"])
    )
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(artifact_filter=wanted, limit=1)
    if not found:
        raise InputError(f"job {job} is unknown or has not finished")
    data: Any = found[0].data
    return json.loads(data) if isinstance(data, str) else data  # Prefect stores JSON artifacts as text
