"""What a client of /v1 sends to have a job done: the job's own fields, and how it is to be taken."""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any, Final, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, create_model

from api.notifying import checked_notify
from api.problems import Problem
from api.runs import Terms
from flows.control import Control, Notify, Priority
from flows.registry import JobType
from flows.schemas import Job

Tag = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/@-]{0,63}$")]
MetadataKey = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
MetadataText = Annotated[str, StringConstraints(max_length=500)]

_DURATION = re.compile(r"(\d{1,7})\s*(s|m|h|d)?")
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class JobControl(BaseModel):
    """How urgent, how long, and what to remember with it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    priority: Priority = Field(default="normal", description="Higher ones start first.")
    max_time: int | None = Field(
        default=None, ge=1, le=604_800, description="Seconds from its start after which it is stopped."
    )
    complete_in: int | None = Field(
        default=None,
        ge=1,
        le=2_592_000,
        description="Seconds from now after which it is not started any more, or is stopped.",
    )
    gpu_id: int | None = Field(default=None, ge=0, le=255, description="A card it would like; a hint.")
    notify: Notify | None = Field(
        default=None, description="Who is told of its end, by a signed webhook (docs/how-to/webhooks.md)."
    )
    tags: tuple[Tag, ...] = Field(
        default=(), max_length=50, description="Words to find it by.", examples=[["campaign:spring"]]
    )
    metadata: dict[MetadataKey, MetadataText] = Field(
        default_factory=dict, max_length=50, description="Notes that come back with it; no secrets."
    )


class Submission(Job):
    """A job's fields and its control."""

    control: JobControl = Field(default=JobControl(), description="How it is to be taken.")


@lru_cache
def request_model(job_type: JobType, *, named: bool = False) -> type[Submission]:
    """
    Return the body of a request for a type of job.

    Args:
        job_type: its entry in the registry.
        named:    with a field `type` that says which it is.
    """
    fields: dict[str, Any] = {"type": (Literal[job_type.name], ...)} if named else {}
    name = job_type.job.__name__ + ("OfType" if named else "Request")
    made = create_model(name, __base__=(Submission, job_type.job), __doc__=job_type.job.__doc__, **fields)
    return cast(type[Submission], made)


def job_of(job_type: JobType, asked: Submission) -> Job:
    """Return the job alone, with the fields that were given and no others."""
    given = {
        name: value
        for name, value in asked.model_dump(exclude_unset=True).items()
        if name not in {"control", "type"}
    }
    return job_type.job.model_validate(given)


def terms_of(asked: JobControl, key: str | None, cancel_after: str | None) -> Terms:
    """
    Put together how a job is to be taken.

    Args:
        asked:        from the body.
        key:          Idempotency-Key, already scoped.
        cancel_after: the header of that name: `90`, `90s`, `5m`, `2h`, `1d`; the body's word counts more.

    Raises:
        Problem: `malformed_request`; `invalid_input` for an address that webhooks never go to.
    """
    complete_in = asked.complete_in
    if cancel_after is not None:
        seconds = _seconds(cancel_after)
        complete_in = complete_in or seconds
    control = Control(
        priority=asked.priority,
        max_time=asked.max_time,
        complete_in=complete_in,
        gpu_id=asked.gpu_id,
        notify=checked_notify(asked.notify) if asked.notify else None,
    )
    return Terms(key=key, control=control, tags=asked.tags, metadata=dict(asked.metadata))


def _seconds(text: str) -> int:
    found = _DURATION.fullmatch(text.strip())
    seconds = int(found[1]) * _UNITS[found[2] or "s"] if found else 0
    if not 1 <= seconds <= 2_592_000:
        raise Problem("malformed_request", "Cancel-After is a time of 1 s to 30 d, such as 90, 5m or 2h.")
    return seconds


def schema_of(job_type: JobType) -> Mapping[str, Any]:
    """Return the JSON Schema (2020-12) of a request."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **request_model(job_type).model_json_schema(),
    }
