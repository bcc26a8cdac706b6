"""Routes to follow a job: server-sent events and log lines."""

from collections.abc import AsyncGenerator
from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import BaseModel, Field

from api import job_events, views
from api.doors import RunsDep
from api.job_events import Mark
from api.keys import READ
from api.runs import FINAL, LogLine, Run

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

_LOOK_S = 5.0
_RETRY_MS = 2000
_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
Level = Literal["debug", "info", "warning", "error"]


async def _known_run(runs: RunsDep, job_id: UUID) -> Run:
    """Return the job; as a dependency, so that an unknown job is rejected before the stream starts."""
    return await runs.read(job_id)


async def _last_mark(last: Annotated[str | None, Header(alias="Last-Event-ID")] = None) -> Mark:
    return Mark.read(last)


@router.get("/{job_id}/events", response_class=EventSourceResponse, dependencies=[READ])
async def watch_job(
    request: Request,
    runs: RunsDep,
    run: Annotated[Run, Depends(_known_run)],
    mark: Annotated[Mark, Depends(_last_mark)],
) -> AsyncGenerator[ServerSentEvent]:
    """
    Stream a job's events (SSE): `queued`, `started`, `progress` and its final status. The data is the job.

    The stream ends with the job. A client that reconnects with `Last-Event-ID` receives the missed events.
    """
    while True:
        for event in job_events.since(run, mark):
            mark = event.mark
            yield ServerSentEvent(
                event=event.name, id=str(mark), data=views.job_view(request, run), retry=_RETRY_MS
            )
        if run.status in FINAL:
            return
        await runs.changed(run.id, _LOOK_S)
        run = await runs.read(run.id)


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
    runs: RunsDep,
    job_id: UUID,
    after: Annotated[str | None, Query(description="`next` of an earlier response.")] = None,
    level: Annotated[Level, Query(description="Minimum level.")] = "info",
    limit: Annotated[int, Query(ge=1, le=200)] = 100,
) -> LogView:
    """Return a page of a job's log; `lines` is empty at the end."""
    page = await runs.logs(job_id, after, _LEVELS[level], limit)
    return LogView(lines=[_line(line) for line in page.lines], next=page.next)


def _line(line: LogLine) -> LogLineView:
    return LogLineView(time=line.time, level=_level_name(line.level), message=line.message)


def _level_name(number: int) -> str:
    fitting = [name for name, least in _LEVELS.items() if number >= least]
    return fitting[-1] if fitting else "debug"
