"""
Request schemas of job submissions on /v1, and the address check of webhooks.

A submission has the job's parameters and `control`: priority, time limits, webhook, tags and metadata. The
compatibility routes use the address check, too.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any, Final, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, create_model

from api.errors import Problem
from api.jobs.model import SubmitOptions
from flows.registry import JobType
from flows.schemas.base import JobParameters
from flows.schemas.control import Control, Notify, Priority
from tasks.outbound.downloads import is_allowed_url
from tasks.settings import get_settings

Tag = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/@-]{0,63}$")]
MetadataKey = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
MetadataText = Annotated[str, StringConstraints(max_length=500)]
_DURATION_PATTERN = re.compile(r"(\d{1,7})\s*(s|m|h|d)?")
_UNIT_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class JobControl(BaseModel):
    """Priority, time limits, webhook, tags and metadata of a job."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    priority: Priority = Field(default="normal", description="Jobs of higher priority start first.")
    max_time: int | None = Field(
        default=None, ge=1, le=604_800, description="Maximum run time in seconds, after which it is stopped."
    )
    complete_in: int | None = Field(
        default=None,
        ge=1,
        le=2_592_000,
        description="Deadline in seconds from now, after which it is not started or is stopped.",
    )
    gpu_id: int | None = Field(default=None, ge=0, le=255, description="Preferred GPU; a hint.")
    notify: Notify | None = Field(
        default=None, description="Signed webhook, sent when the job ends (docs/how-to/webhooks.md)."
    )
    tags: tuple[Tag, ...] = Field(
        default=(), max_length=50, description="Tags to filter lists by.", examples=[["campaign:spring"]]
    )
    metadata: dict[MetadataKey, MetadataText] = Field(
        default_factory=dict, max_length=50, description="Metadata returned with the job; no secrets."
    )


class Submission(JobParameters):
    """The body of a submission: job parameters and `control`."""

    control: JobControl = Field(
        default=JobControl(), description="Priority, time limits, webhook, tags and metadata."
    )


@lru_cache
def request_model(job_type: JobType, *, named: bool = False) -> type[Submission]:
    """
    Return the pydantic model of a submission's body for a job type.

    Args:
        job_type: its entry in the registry.
        named:    add the field `type` with the name of the job type.
    """
    fields: dict[str, Any] = {"type": (Literal[job_type.name], ...)} if named else {}
    name = job_type.job.__name__ + ("OfType" if named else "Request")
    model = create_model(name, __base__=(Submission, job_type.job), __doc__=job_type.job.__doc__, **fields)
    return cast(type[Submission], model)


def request_schema(job_type: JobType) -> Mapping[str, Any]:
    """Return the JSON Schema (2020-12) of a job type's request."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **request_model(job_type).model_json_schema(),
    }


def to_job_parameters(job_type: JobType, submission: Submission) -> JobParameters:
    """Return the job parameters of a submission, with only the fields that were sent."""
    sent_fields = {
        name: value
        for name, value in submission.model_dump(exclude_unset=True).items()
        if name not in {"control", "type"}
    }
    return job_type.job.model_validate(sent_fields)


def to_submit_options(job_control: JobControl, key: str | None, cancel_after: str | None) -> SubmitOptions:
    """
    Return the submit options of a request.

    Args:
        job_control:  `control` of the body.
        key:          idempotency key, from `scoped_key`.
        cancel_after: value of the header Cancel-After: `90`, `90s`, `5m`, `2h`, `1d`; `complete_in` of the
            body takes precedence.

    Raises:
        Problem: `malformed_request` for an invalid header; `invalid_input` for a webhook address that is
            not allowed.
    """
    complete_in = job_control.complete_in
    if cancel_after is not None:
        seconds = _parse_duration(cancel_after)
        complete_in = complete_in or seconds
    control = Control(
        priority=job_control.priority,
        max_time=job_control.max_time,
        complete_in=complete_in,
        gpu_id=job_control.gpu_id,
        notify=validate_notify(job_control.notify) if job_control.notify else None,
    )
    return SubmitOptions(key=key, control=control, tags=job_control.tags, metadata=dict(job_control.metadata))


def _parse_duration(text: str) -> int:
    match = _DURATION_PATTERN.fullmatch(text.strip())
    seconds = int(match[1]) * _UNIT_SECONDS[match[2] or "s"] if match else 0
    if not 1 <= seconds <= 2_592_000:
        raise Problem(
            "malformed_request", "Cancel-After must be a duration of 1 s to 30 d, for example 90, 5m or 2h."
        )
    return seconds


def validate_notify(notify: Notify) -> Notify:
    """
    Return a webhook after checking that its address is allowed.

    Args:
        notify: the webhook of a submission.

    Raises:
        Problem: `invalid_input` if the scheme, host or port of the address is not allowed.
    """
    if not _is_allowed_address(notify):
        raise Problem(
            "invalid_input",
            "Webhooks cannot be sent to this address.",
            errors=[
                {
                    "pointer": "#/control/notify/url",
                    "code": "invalid_input",
                    "detail": "The scheme, host or port of this address is not allowed.",
                }
            ],
        )
    return notify


def parse_notify_url(url: str) -> Notify | None:
    """
    Parse `notify_url` of the compatibility routes.

    Args:
        url: value of the field.

    Returns:
        The webhook, with links that need no API key, as the older service sent them; None if webhooks may
        not be sent to this address.
    """
    try:
        notify = Notify(url=url, signed_links=True)
    except ValidationError:
        return None
    return notify if _is_allowed_address(notify) else None


def _is_allowed_address(notify: Notify) -> bool:
    return is_allowed_url(notify.url, get_settings().egress)
