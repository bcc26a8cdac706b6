"""How a job looks from outside: status, links, files, and the older services' words."""

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
    """The file a job made."""

    name: str
    ref: ObjectRef

    @property
    def uri(self) -> str:
        """Return where it is stored."""
        return self.ref.uri

    @property
    def size(self) -> int:
        """Return its bytes."""
        return self.ref.size


class ProgressView(BaseModel):
    """How far a job is."""

    percent: float = Field(description="0 to 100; 100 only once the result is there.")
    done: int = Field(description="Parts of the phase that are done: frames while rendering.")
    total: int


class ErrorView(BaseModel):
    """Why a job failed."""

    code: str
    message: str
    retryable: bool


class LinksView(BaseModel):
    """Where to go from here."""

    self: str
    cancel: str | None = None
    result: str | None = None


class EtaView(BaseModel):
    """When it will be done, from how long others took: seconds from now."""

    p50_s: float = Field(description="As likely earlier as later.")
    p90_s: float = Field(description="Nine of ten are done by then.")


class ControlView(BaseModel):
    """How a job was to be taken."""

    priority: Priority
    max_time: int | None
    complete_in: int | None
    notify: Notify | None


class JobView(BaseModel):
    """A job."""

    id: str
    type: str
    status: Status
    phase: str | None = Field(
        description="fetch, speak, prepare, features, render, encode, join, upload or steps."
    )
    progress: ProgressView
    created_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    cancel_requested: bool
    paused: bool = Field(description="It makes no more jobs until it is resumed; of batches.")
    error: ErrorView | None
    result: dict[str, Any] | None
    queue_position: int | None = Field(description="1 is the next to start; null when it does not wait.")
    eta: EtaView | None
    tags: list[str]
    metadata: dict[str, str]
    control: ControlView
    retry_of: str | None = Field(description="The job that this one does again.")
    part_of: str | None = Field(description="The batch or pipeline that made it.")
    part: str | None = Field(description="Its row or step there.")
    status_url: str
    result_url: str | None
    cancel_url: str | None
    links: LinksView


class JobPage(BaseModel):
    """A part of a list."""

    jobs: list[JobView]
    next_cursor: str | None = Field(description="Send it as `cursor` for the next part; null at the end.")


def etag(view: BaseModel) -> str:
    """Name what an answer says; that time goes by is no change."""
    said = view.model_dump_json(exclude={"eta"})
    return '"' + hashlib.sha256(said.encode()).hexdigest()[:32] + '"'


def is_known(header: str | None, view: BaseModel) -> bool:
    """Tell whether an If-None-Match names what would be answered."""
    known = [part.strip().removeprefix("W/") for part in (header or "").split(",")]
    return "*" in known or etag(view) in known


def job_view(request: Request, run: Run) -> JobView:
    """Describe a job to its caller."""
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
    """Round times for people; None is not known."""
    return EtaView(p50_s=round(times.p50, 1), p90_s=round(times.p90, 1)) if times else None


def _links(request: Request, run: Run) -> LinksView:
    own = str(request.url_for("read_job", job_id=run.id))
    return LinksView(
        self=own,
        cancel=None if run.status in FINAL else str(request.url_for("cancel_job", job_id=run.id)),
        result=file_url(request, run),
    )


def standing(request: Request, run: Run) -> dict[str, Any]:
    """Return what /status adds to the older service's fields."""
    view = job_view(request, run)
    return {
        "type": view.type,
        "phase": view.phase,
        "progress": view.progress.model_dump(),
        "links": view.links.model_dump(exclude_none=True),
    }


def media_of(run: Run) -> Mapping[str, Any] | None:
    """Return where the sound or picture that a job made is stored; None for a job that makes neither."""
    return outcome.media_of(run.result or {})


def finished_files(run: Run) -> list[FinishedFile]:
    """Return the files that a succeeded job made, the one that stands for all first; none for others."""
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
    """Return the file that a succeeded job made, or that stands for all; None for a job that makes none."""
    return next(iter(finished_files(run)), None)


def file_url(request: Request, run: Run) -> str | None:
    """Return the address of a job's file, None when it has none (yet)."""
    file = finished_file(run)
    return named_url(request, run, file) if file else None


def named_url(request: Request, run: Run, file: FinishedFile) -> str:
    """Return the address of one of a job's files."""
    return str(request.url_for("read_file", job_id=run.id, name=quote(file.name, safe="")))


def polling_headers(run: Run) -> dict[str, str]:
    """Return the headers of an answer that says: not yet."""
    return {"Location": f"/v1/jobs/{run.id}", "Retry-After": RETRY_AFTER_S}


def seed_word(run: Run) -> str:
    """Translate a status into the older services' words."""
    return outcome.seed_word(run.status, run.ended_as, overdue=run.error is not None)


def now_text() -> str:
    """Return the time as the older service wrote it."""
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
