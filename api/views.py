"""JSON views of a job: status, progress, links and output files; statuses of the compatibility routes."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from fastapi import Request
from pydantic import BaseModel, Field

from api.forecast import Eta, Took
from api.runs import FINAL, Run, Status
from flows import outcome
from flows.control import Notify, Priority
from flows.output_uris import public_result
from tasks.refs import ObjectRef

__all__ = ["FINAL"]

RETRY_AFTER_S = "2"


@dataclass(frozen=True, slots=True)
class FinishedFile:
    """An output file of a job."""

    name: str
    ref: ObjectRef

    @property
    def uri(self) -> str:
        """Location in the store."""
        return self.ref.uri

    @property
    def size(self) -> int:
        """Size in bytes."""
        return self.ref.size


class ProgressView(BaseModel):
    """Progress of a job."""

    percent: float = Field(description="0 to 100; 100 only when the job has succeeded.")
    done: int = Field(description="Completed units of the current phase, for example rendered frames.")
    total: int


class ErrorView(BaseModel):
    """The error of a failed job."""

    code: str
    message: str
    retryable: bool


class LinksView(BaseModel):
    """Links to the job, its cancellation and its result."""

    self: str
    cancel: str | None = None
    result: str | None = None


class EtaView(BaseModel):
    """An estimated duration in seconds, from finished jobs of the same type."""

    p50_s: float = Field(description="Median.")
    p90_s: float = Field(description="90th percentile.")


class ControlView(BaseModel):
    """Priority, time limits and webhook of a job."""

    priority: Priority
    max_time: int | None
    complete_in: int | None
    notify: Notify | None


class JobView(BaseModel):
    """A job and its current state."""

    id: str
    type: str
    status: Status
    phase: str | None = Field(
        description="Current phase: fetch, speak, prepare, features, render, encode, join, upload or steps."
    )
    progress: ProgressView
    created_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    cancel_requested: bool
    paused: bool = Field(description="Whether a batch creates no more jobs until it is resumed.")
    error: ErrorView | None
    result: dict[str, Any] | None
    queue_position: int | None = Field(description="1 is the next to start; null if it is not queued.")
    eta: EtaView | None
    tags: list[str]
    metadata: dict[str, str]
    control: ControlView
    retry_of: str | None = Field(description="The job that this job retries.")
    part_of: str | None = Field(description="The batch or pipeline that created it.")
    part: str | None = Field(description="Its row or step in the batch or pipeline.")
    status_url: str
    result_url: str | None
    cancel_url: str | None
    links: LinksView


class JobPage(BaseModel):
    """A page of a list of jobs."""

    jobs: list[JobView]
    next_cursor: str | None = Field(description="Send it as `cursor` for the next page; null at the end.")


def etag(view: BaseModel) -> str:
    """Return the ETag of a view: a hash of its content without `eta`, which changes with time alone."""
    said = view.model_dump_json(exclude={"eta"})
    return '"' + hashlib.sha256(said.encode()).hexdigest()[:32] + '"'


def is_known(header: str | None, view: BaseModel) -> bool:
    """Return whether an If-None-Match header matches the view's ETag."""
    known = [part.strip().removeprefix("W/") for part in (header or "").split(",")]
    return "*" in known or etag(view) in known


def job_view(request: Request, run: Run) -> JobView:
    """Return the JSON view of a job."""
    links = _links(request, run)
    shown = run.progress
    done = run.status == "succeeded"
    return JobView(
        id=str(run.id),
        type=run.type,
        status=run.status,
        phase=shown.phase if run.status == "running" else None,
        progress=ProgressView(
            percent=100.0 if done else min(shown.percent, 99.0), done=shown.done, total=shown.total
        ),
        created_at=run.created,
        started_at=run.started,
        ended_at=run.ended,
        cancel_requested=run.cancel_requested,
        paused=run.paused,
        error=ErrorView(code=run.error.code, message=run.error.message, retryable=run.error.retryable)
        if run.error
        else None,
        result=None if run.result is None else public_result(run.result, run.id),
        queue_position=run.position,
        eta=eta_view(run.eta),
        tags=list(run.tags),
        metadata=dict(run.metadata),
        control=ControlView(
            priority=run.control.priority,
            max_time=run.control.max_time,
            complete_in=run.control.complete_in,
            notify=run.control.notify,
        ),
        retry_of=str(run.retry_of) if run.retry_of else None,
        part_of=str(run.part_of) if run.part_of else None,
        part=run.part,
        status_url=links.self,
        result_url=links.result,
        cancel_url=links.cancel,
        links=links,
    )


def eta_view(times: Eta | Took | None) -> EtaView | None:
    """Return the view of an ETA or of run times, rounded to 0.1 s; None if unknown."""
    return EtaView(p50_s=round(times.p50, 1), p90_s=round(times.p90, 1)) if times else None


def _links(request: Request, run: Run) -> LinksView:
    own = str(request.url_for("read_job", job_id=run.id))
    return LinksView(
        self=own,
        cancel=None if run.status in FINAL else str(request.url_for("cancel_job", job_id=run.id)),
        result=file_url(request, run),
    )


def standing(request: Request, run: Run) -> dict[str, Any]:
    """Return the fields that /status has in addition to those of the older service."""
    view = job_view(request, run)
    return {
        "type": view.type,
        "phase": view.phase,
        "progress": view.progress.model_dump(),
        "links": view.links.model_dump(exclude_none=True),
    }


def media_of(run: Run) -> Mapping[str, Any] | None:
    """Return the stored audio, video or image of a result; None for a job without media output."""
    return outcome.media_of(run.result or {})


def finished_files(run: Run) -> list[FinishedFile]:
    """Return the output files of a succeeded job, the main file first; empty for other jobs."""
    result = run.result or {}
    main = str(result.get("name", ""))
    stored: dict[str, Any] = dict(result.get("files") or {})
    media = media_of(run)
    if media is not None:
        stored[main] = media
    names = sorted(stored, key=lambda name: name != main)
    return [FinishedFile(name, _ref(stored[name])) for name in names]


def _ref(stored: Mapping[str, Any]) -> ObjectRef:
    fields = {field: stored[field] for field in ObjectRef.model_fields if field in stored}
    return ObjectRef.model_validate({"version": "", **fields})


def finished_file(run: Run) -> FinishedFile | None:
    """Return the main output file of a succeeded job; None for a job without files."""
    return next(iter(finished_files(run)), None)


def file_url(request: Request, run: Run) -> str | None:
    """Return the URL of a job's main output file; None if it has none (yet)."""
    file = finished_file(run)
    return named_url(request, run, file) if file else None


def named_url(request: Request, run: Run, file: FinishedFile) -> str:
    """Return the URL of one of a job's output files."""
    return str(request.url_for("read_file", job_id=run.id, name=quote(file.name, safe="")))


def polling_headers(run: Run) -> dict[str, str]:
    """Return the Location and Retry-After headers of a response for an unfinished job."""
    return {"Location": f"/v1/jobs/{run.id}", "Retry-After": RETRY_AFTER_S}


def seed_word(run: Run) -> str:
    """Return a job's status as named by the older services."""
    return outcome.seed_word(run.status, run.ended_as, overdue=run.error is not None)


def now_text() -> str:
    """Return the current time in the format of the older service."""
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
