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

from flows.family import PART_OF
from flows.lineage_schemas import LineageLinks, ParentJob, Program
from musetalk_core import CORE_VERSION
from tasks.redaction import without_secrets
from tasks.settings import get_settings

_PROGRAM: Final = "musetalk-flows"


def about_run(asked: Mapping[str, Any], tenant: str | None) -> dict[str, Any]:
    """
    Return the fields of a provenance manifest that describe the current flow run.

    Args:
        request: request of the job as JSON.
        tenant:  tenant of the job.
    """
    context = FlowRunContext.get()
    run = context.flow_run if context else None
    own = UUID(str(flow_run.id))
    return {
        "job": own,
        "type": str(flow_run.flow_name),
        "tenant": tenant,
        "created": run.created if run else None,
        "started": run.start_time if run else None,
        "finished": datetime.now(UTC),
        "program": Program(name=_PROGRAM, version=_version(), core=CORE_VERSION),
        "parameters": without_secrets(dict(asked)),
        "links": _links(own),
    }


def wholes() -> Iterator[ParentJob]:
    """Yield the batch or pipeline that the current run is a child job of."""
    for tag in sorted(flow_run.tags):
        with suppress(ValueError):  # tags may be set by users
            if tag.startswith(PART_OF):
                yield ParentJob(job=UUID(tag.removeprefix(PART_OF)), how="part-of")


def _version() -> str:
    try:
        return version(_PROGRAM)
    except PackageNotFoundError:  # run from a source folder, not installed
        return "unknown"


def _links(own: UUID) -> LineageLinks:
    public = get_settings().api.public_url
    pages = url_for("flow-run", obj_id=str(own))
    return LineageLinks(
        job=f"{public.rstrip('/')}/v1/jobs/{own}" if public else None,
        prefect=without_secrets(pages) if pages else None,
    )
