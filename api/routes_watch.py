"""Following a job: what happens to it as it happens, and what it says."""

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
    """Refuse an unknown job before the stream begins."""
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
    Follow a job as server-sent events: `queued`, `started`, `progress`, how it ended; their data is the job.

    The stream ends with the job. A reader that comes back with `Last-Event-ID` gets what it has missed, once.
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
    """Something that a job said."""

    time: datetime
    level: str
    message: str


class LogView(BaseModel):
    """What a job said, oldest first."""

    lines: list[LogLineView]
    next: str = Field(description="Send it as `after` to read on.")


@router.get("/{job_id}/logs", dependencies=[READ])
async def read_logs(
    runs: RunsDep,
    job_id: UUID,
    after: Annotated[str | None, Query(description="`next` of an earlier answer.")] = None,
    level: Annotated[Level, Query(description="This and what is graver.")] = "info",
    limit: Annotated[int, Query(ge=1, le=200)] = 100,
) -> LogView:
    """Read what a job said, a part at a time; the end is where `lines` is empty."""
    page = await runs.logs(job_id, after, _LEVELS[level], limit)
    return LogView(lines=[_line(line) for line in page.lines], next=page.next)


def _line(line: LogLine) -> LogLineView:
    return LogLineView(time=line.time, level=_level_name(line.level), message=line.message)


def _level_name(number: int) -> str:
    fitting = [name for name, least in _LEVELS.items() if number >= least]
    return fitting[-1] if fitting else "debug"
