"""JSON views of a job: status, progress, links and ETag; fields and times of the compatibility routes."""

import hashlib
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from fastapi import Request
from pydantic import BaseModel, Field

from api.http.urls import route_url
from api.jobs.eta import DurationStats, Eta
from api.jobs.model import FINAL_STATUSES, Job, Status
from api.jobs.outputs import OutputFile, main_output_file
from flows.schemas.control import Notify, Priority
from flows.storage.output_uris import public_result
from tasks.catalog.download_links import link_expiry, sign_link

__all__ = ["FINAL_STATUSES"]

RETRY_AFTER_S = "2"


class ProgressView(BaseModel):
    """Progress of a job."""

    percent: float = Field(description="0 to 100; 100 only when the job has succeeded.")
    done: int = Field(description="Completed units of the current phase, for example rendered frames.")
    total: int
    preview: int = Field(
        description="Number of the newest preview frame, which GET /v1/jobs/{id}/preview returns; 0"
        " without one."
    )


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
        description="Current phase: fetch, speak, prepare, features, render, encode, join, sign, upload,"
        " verify or steps."
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
    name: str = Field(
        description="Name of its run: type, step or row, names of the input files, and a short id. `search`"
        " of the job list finds parts of it.",
        examples=["lip_sync: anna.mp4, hello.wav (1f0c9d2e)"],
    )
    part_of: str | None = Field(description="The batch or pipeline that created it.")
    part: str | None = Field(description="Its row or step in the batch or pipeline.")
    status_url: str
    result_url: str | None
    cancel_url: str | None
    prefect_url: str | None = Field(
        default=None, description="Page of the job's flow run in Prefect; null if its address is not known."
    )
    links: LinksView


class JobPage(BaseModel):
    """A page of a list of jobs."""

    jobs: list[JobView]
    next_cursor: str | None = Field(description="Send it as `cursor` for the next page; null at the end.")


def etag(view: BaseModel) -> str:
    """Return the ETag of a view: a hash of its content without `eta`, which changes with time alone."""
    content = view.model_dump_json(exclude={"eta"})
    return '"' + hashlib.sha256(content.encode()).hexdigest()[:32] + '"'


def matches_etag(header: str | None, view: BaseModel) -> bool:
    """Return whether an If-None-Match header matches the view's ETag."""
    if not header:
        return False
    known_etags = [part.strip().removeprefix("W/") for part in header.split(",")]
    return "*" in known_etags or etag(view) in known_etags


def job_view(request: Request, job: Job) -> JobView:
    """Return the JSON view of a job."""
    links = _links(request, job)
    progress = job.progress
    has_succeeded = job.status == "succeeded"
    return JobView(
        id=str(job.id),
        type=job.type,
        status=job.status,
        phase=progress.phase if job.status == "running" else None,
        progress=ProgressView(
            percent=100.0 if has_succeeded else min(progress.percent, 99.0),
            done=progress.done,
            total=progress.total,
            preview=progress.preview if job.status == "running" else 0,
        ),
        created_at=job.created,
        started_at=job.started,
        ended_at=job.ended,
        cancel_requested=job.cancel_requested,
        paused=job.paused,
        error=ErrorView(code=job.error.code, message=job.error.message, retryable=job.error.retryable)
        if job.error
        else None,
        result=None if job.result is None else public_result(job.result, job.id),
        queue_position=job.position,
        eta=eta_view(job.eta),
        tags=list(job.tags),
        metadata=dict(job.metadata),
        control=ControlView(
            priority=job.control.priority,
            max_time=job.control.max_time,
            complete_in=job.control.complete_in,
            notify=job.control.notify,
        ),
        retry_of=str(job.retry_of) if job.retry_of else None,
        name=job.name,
        part_of=str(job.part_of) if job.part_of else None,
        part=job.part,
        status_url=links.self,
        result_url=links.result,
        cancel_url=links.cancel,
        prefect_url=job.run_url,
        links=links,
    )


def eta_view(times: Eta | DurationStats | None) -> EtaView | None:
    """Return the JSON view of an ETA or of run times, in seconds rounded to 0.1; None if unknown."""
    return EtaView(p50_s=round(times.p50, 1), p90_s=round(times.p90, 1)) if times else None


def _links(request: Request, job: Job) -> LinksView:
    job_url = str(route_url(request, "read_job", job_id=job.id))
    return LinksView(
        self=job_url,
        cancel=None if job.status in FINAL_STATUSES else str(route_url(request, "cancel_job", job_id=job.id)),
        result=file_url(request, job),
    )


def legacy_status_fields(request: Request, job: Job) -> dict[str, Any]:
    """Return the fields that /status has in addition to those of the older service."""
    view = job_view(request, job)
    return {
        "type": view.type,
        "phase": view.phase,
        "progress": view.progress.model_dump(),
        "links": view.links.model_dump(exclude_none=True),
    }


def file_url(request: Request, job: Job) -> str | None:
    """Return the URL of a job's main output file; None if it has none (yet)."""
    file = main_output_file(job)
    return output_file_url(request, job, file) if file else None


def output_file_url(request: Request, job: Job, file: OutputFile) -> str:
    """Return the URL of one of a job's output files."""
    return str(route_url(request, "read_file", job_id=job.id, name=quote(file.name, safe="")))


def signed_file_url(request: Request, job: Job, file: OutputFile, expires: int | None = None) -> str:
    """
    Return a URL of one of a job's output files that needs no API key and expires.

    Args:
        request: the request, for the address of the server.
        job:     the job.
        file:    the file.
        expires: Unix time; None for the lifetime of the settings.
    """
    url = route_url(request, "read_signed_file", job_id=job.id, name=quote(file.name, safe=""))
    expires = link_expiry(datetime.now(UTC)) if expires is None else expires
    return str(url.include_query_params(expires=expires, signature=sign_link(job.id, file.name, expires)))


def polling_headers(job: Job) -> dict[str, str]:
    """Return the Location and Retry-After headers of a response for an unfinished job."""
    return {"Location": f"/v1/jobs/{job.id}", "Retry-After": RETRY_AFTER_S}


def legacy_timestamp() -> str:
    """Return the current time in the format of the older service."""
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
