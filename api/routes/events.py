"""
Routes to follow a job: server-sent events and log lines.

The id of an event is its position in the stream (`EventPosition`), computed from the job alone. The server
stores no events; a client that reconnects gets those after its last id.
"""

import re
from asyncio import sleep
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import datetime
from time import monotonic
from typing import Annotated, Final, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import BaseModel, Field

from api.auth.api_keys import READ
from api.dependencies import JobsDep
from api.errors import Problem
from api.jobs.model import FINAL_STATUSES, Job, LogLine
from api.schemas import job_views

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])
_STAGE_STARTED: Final = 1
_STAGE_ENDED: Final = 2
_EVENT_ID: Final = re.compile(r"([0-9])-([0-9]{1,6})(?:-([0-9]{1,9}))?")
_MAX_CHANGE_WAIT_S = 5.0
_RECONNECT_DELAY_MS = 2000
_OUTAGE_POLL_S: Final = 1.0
_MAX_OUTAGE_S: Final = 300.0
"""Time without an answer of the job system after which a stream ends."""
_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
Level = Literal["debug", "info", "warning", "error"]


@dataclass(frozen=True, slots=True, order=True)
class EventPosition:
    """A position in the event stream of a job; its text form is the `id` of an event."""

    stage: int
    """0 queued, 1 started, 2 ended; -1 before the first event."""
    permille: int = 0
    """Progress in thousandths, 0 to 999."""
    preview: int = 0
    """Number of the newest preview frame; 0 for none."""

    def __str__(self) -> str:
        """Return the event id: stage, progress and, if there is one, preview frame, joined by hyphens."""
        return f"{self.stage}-{self.permille}" + (f"-{self.preview}" if self.preview else "")

    @classmethod
    def parse(cls, text: str | None) -> "EventPosition":
        """
        Parse a Last-Event-ID header; an empty one is the position before the first event.

        Raises:
            Problem: `malformed_request` if it is not an id of this stream.
        """
        if not text:
            return BEFORE_FIRST_EVENT
        match = _EVENT_ID.fullmatch(text)
        if match is None:
            raise Problem("malformed_request", "Last-Event-ID is not an event id of this stream.")
        return cls(int(match[1]), int(match[2]), int(match[3] or 0))


BEFORE_FIRST_EVENT: Final = EventPosition(-1)


@dataclass(frozen=True, slots=True)
class JobEvent:
    """An event of a job."""

    position: EventPosition
    name: str


def events_after(job: Job, last_seen: EventPosition) -> list[JobEvent]:
    """
    Return the events of a job after a position.

    Args:
        job:       the job's current state.
        last_seen: position of the newest event that the client has received.

    Returns:
        In order: `queued`, `started`, `progress` (only the latest), and the final status. A retry after a
        crash repeats no event.
    """
    events = [JobEvent(EventPosition(0), "queued")]
    if job.started is not None or job.status == "running":
        events.append(JobEvent(EventPosition(_STAGE_STARTED), "started"))
    if job.status == "running" and job.progress.percent > 0:
        permille = min(999, int(job.progress.percent * 10))
        events.append(JobEvent(EventPosition(_STAGE_STARTED, permille, job.progress.preview), "progress"))
    if job.status in FINAL_STATUSES:
        events.append(JobEvent(EventPosition(_STAGE_ENDED), job.status))
    return [event for event in events if event.position > last_seen]


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

    `progress` is also sent for each new preview frame, whose number is `progress.preview`.

    The stream ends with the job, or when the job is deleted. A client that reconnects with `Last-Event-ID`
    receives the missed events. An outage of the job system delays events.
    """
    last_read_at = monotonic()
    while True:
        for event in events_after(job, position):
            position = event.position
            yield ServerSentEvent(
                event=event.name,
                id=str(position),
                data=job_views.job_view(request, job),
                retry=_RECONNECT_DELAY_MS,
            )
        if job.status in FINAL_STATUSES:
            return
        await jobs.wait_for_change(job.id, _MAX_CHANGE_WAIT_S)
        try:
            job, last_read_at = await jobs.read(job.id), monotonic()
        except Problem as problem:
            # the status has been sent: the stream continues or ends, and an EventSource then connects again
            if problem.code != "orchestrator_unavailable" or monotonic() - last_read_at > _MAX_OUTAGE_S:
                return
            await sleep(_OUTAGE_POLL_S)


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
