"""Fields of a provenance manifest that describe the flow run: times, parameters, version and links."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final
from uuid import UUID

from prefect.context import FlowRunContext
from prefect.runtime import flow_run
from prefect.utilities.urls import url_for

from flows.prefect_state.labels import PARENT_TAG
from flows.schemas.lineage import LineageLinks, ParentJob, Program
from musetalk_core import CORE_VERSION
from tasks.settings import get_settings
from tasks.storage.redaction import redact_secrets

PROGRAM_NAME: Final = "musetalk-flows"
"""Name of this program in manifests."""


def describe_run(request: Mapping[str, Any], tenant: str | None) -> dict[str, Any]:
    """
    Return the fields of a provenance manifest that describe the current flow run.

    Args:
        request: request of the job as JSON.
        tenant:  tenant of the job.
    """
    context = FlowRunContext.get()
    run = context.flow_run if context else None
    run_id = UUID(str(flow_run.id))
    return {
        "job": run_id,
        "type": str(flow_run.flow_name),
        "tenant": tenant,
        "created": run.created if run else None,
        "started": run.start_time if run else None,
        "finished": datetime.now(UTC),
        "program": Program(name=PROGRAM_NAME, version=program_version(), core=CORE_VERSION),
        "parameters": redact_secrets(dict(request)),
        "links": _run_links(run_id),
    }


def parent_jobs() -> Iterator[ParentJob]:
    """Yield the batch or pipeline that the current run is a child job of."""
    for tag in sorted(flow_run.tags):
        with suppress(ValueError):  # tags may be set by users
            if tag.startswith(PARENT_TAG):
                yield ParentJob(job=UUID(tag.removeprefix(PARENT_TAG)), how="part-of")


def program_version() -> str:
    """Return the version of this program."""
    try:
        return version(PROGRAM_NAME)
    except PackageNotFoundError:  # run from a source folder, not installed
        return "unknown"


def _run_links(run_id: UUID) -> LineageLinks:
    public_url = get_settings().api.public_url
    run_url = url_for("flow-run", obj_id=str(run_id))
    return LineageLinks(
        job=f"{public_url.rstrip('/')}/v1/jobs/{run_id}" if public_url else None,
        prefect=redact_secrets(run_url) if run_url else None,
    )
