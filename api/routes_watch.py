"""Routes to follow a job: server-sent events and log lines."""

from collections.abc import AsyncGenerator
from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import BaseModel, Field

from api import job_events, views
from api.doors import JobsDep
from api.job_events import EventPosition
from api.keys import READ
from api.runs import FINAL_STATUSES, Job, LogLine

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

_MAX_CHANGE_WAIT_S = 5.0
_RECONNECT_DELAY_MS = 2000
_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
Level = Literal["debug", "info", "warning", "error"]


async def _require_job(jobs: JobsDep, job_id: UUID) -> Job:
    """Return the job; as a dependency, so that an unknown job is rejected before the stream starts."""
    return await jobs.read(job_id)


async def _last_position(last: Annotated[str | None, Header(alias="Last-Event-ID")] = None) -> EventPosition:
    return EventPosition.parse(last)


@router.get("/{job_id}/events", response_class=EventSourceResponse, dependencies=[READ])
async def watch_job(
    request: Request,
    jobs: JobsDep,
    job: Annotated[Job, Depends(_require_job)],
    position: Annotated[EventPosition, Depends(_last_position)],
) -> AsyncGenerator[ServerSentEvent]:
    """
    Stream a job's events (SSE): `queued`, `started`, `progress` and its final status. The data is the job.

    The stream ends with the job. A client that reconnects with `Last-Event-ID` receives the missed events.
    """
    while True:
        for event in job_events.events_after(job, position):
            position = event.position
            yield ServerSentEvent(
                event=event.name,
                id=str(position),
                data=views.job_view(request, job),
                retry=_RECONNECT_DELAY_MS,
            )
        if job.status in FINAL_STATUSES:
            return
        await jobs.wait_for_change(job.id, _MAX_CHANGE_WAIT_S)
        job = await jobs.read(job.id)


class LogLineView(BaseModel):
    """A log line of a job."""

    time: datetime
    level: str
    message: str


class LogView(BaseModel):
    """A page of a job's log, oldest line first."""

    lines: list[LogLineView]
    next: str = Field(description="Send it as `after` to get the next lines.")


@router.get("/{job_id}/logs", dependencies=[READ])
async def read_logs(
    jobs: JobsDep,
    job_id: UUID,
    after: Annotated[str | None, Query(description="`next` of an earlier response.")] = None,
    level: Annotated[Level, Query(description="Minimum level.")] = "info",
    limit: Annotated[int, Query(ge=1, le=200)] = 100,
) -> LogView:
    """Return a page of a job's log; `lines` is empty at the end."""
    page = await jobs.logs(job_id, after, _LEVELS[level], limit)
    return LogView(lines=[_line(line) for line in page.lines], next=page.next)


def _line(line: LogLine) -> LogLineView:
    return LogLineView(time=line.time, level=_level_name(line.level), message=line.message)


def _level_name(number: int) -> str:
    names = [name for name, least in _LEVELS.items() if number >= least]
    return names[-1] if names else "debug"
