"""Scheduling options of a run: tenant, priority, time limits, preferred GPU and webhook."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from tasks.run.event_names import NOTIFY_PROGRESS_TAG
from tasks.run.tenancy import TENANT_TAG

__all__ = ["TENANT_TAG"]

Priority = Literal["high", "normal", "low"]
PRIORITIES: Final[tuple[Priority, ...]] = ("high", "normal", "low")
"""Priorities from highest to lowest; they are also the names of a work pool's queues."""

Tenant = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]

ENDED_AS_LABEL: Final = "musetalk.ended_as"
"""Label of a stopped run: the reason. One of the constants below, or a reason given by the caller."""
REASON_MAX_TIME: Final = "max_time"
REASON_COMPLETE_IN: Final = "complete_in"
REASON_ABORTED: Final = "aborted"
REASON_CANCELLED: Final = "cancelled"
MARKED_AS_LABEL: Final = "musetalk.marked_as"
MARK_MESSAGE_LABEL: Final = "musetalk.mark_message"
"""Labels of a job that its client ended on a compatibility route: the client's status and error message."""
EXPIRED_MESSAGE: Final = "Job expired before processing could begin"

Event = Literal["started", "progress", "completed", "failed", "canceled"]
"""Webhook events of a job."""
END_EVENTS: Final[tuple[Event, ...]] = ("completed", "failed", "canceled")
"""Default webhook events: all that end a job."""
NOTIFY_TAG: Final = "notify"
"""Tag of runs that have a webhook."""
NOTIFY_START_TAG: Final = "notify-start"
"""Tag of runs whose webhook includes the `started` event; other starts trigger no automation."""
_UNSAFE_URL_CHARACTERS = re.compile(r"[\x00-\x20\x7f\\#]")


def _check_url(text: str) -> str:
    """Check the syntax only; whether the address is allowed is checked at every delivery."""
    try:
        parts = urlsplit(text)
        host = parts.hostname
        _ = parts.port  # raises for an invalid port
    except ValueError:
        raise ValueError("not a valid URL") from None
    if parts.scheme not in {"http", "https"} or not host or _UNSAFE_URL_CHARACTERS.search(text):
        raise ValueError("expected http(s)://host/path without spaces, backslashes and fragments")
    if "@" in parts.netloc:
        raise ValueError("the URL must not contain a user name or a password")
    return text


class Notify(BaseModel):
    """A webhook: where to send which events of a job."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: Annotated[str, StringConstraints(max_length=2000), AfterValidator(_check_url)] = Field(
        title="URL",
        description="Receives a signed POST request. The URL is visible in Prefect's pages: do"
        " not put secrets into it.",
        examples=["https://example.org/hooks/render"],
    )
    events: tuple[Event, ...] = Field(
        default=END_EVENTS,
        min_length=1,
        max_length=5,
        title="Events",
        description="started, progress, completed, failed, canceled. Default: the last three.",
        examples=[["started", "completed", "failed", "canceled"]],
    )
    signed_links: bool = Field(
        default=False,
        title="Signed links",
        description="Make result_url a link that needs no API key and expires. Every reader of the message"
        " can download the output.",
    )


class Control(BaseModel):
    """The `control` parameter of every job flow."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tenant: Tenant | None = Field(
        default=None,
        title="Tenant",
        description="Tenant of the job; tenants share the workers in turns. Empty: no tenant.",
        examples=["acme"],
    )
    priority: Priority = Field(
        default="normal",
        title="Priority",
        description="Jobs of a higher priority start first; running jobs are not interrupted.",
    )
    max_time: int | None = Field(
        default=None,
        ge=1,
        le=604_800,
        title="Maximum running time",
        description="Seconds after its start at which the job is stopped. Empty: the limit of the work pool.",
        examples=[1200],
    )
    complete_in: int | None = Field(
        default=None,
        ge=1,
        le=2_592_000,
        title="Deadline",
        description="Seconds after its creation at which the job is stopped, or no longer started.",
        examples=[3600],
    )
    gpu_id: int | None = Field(
        default=None,
        ge=0,
        le=255,
        title="GPU",
        description="Preferred GPU index; a hint, another GPU may be used.",
        examples=[1],
    )
    notify: Notify | None = Field(
        default=None,
        title="Webhook",
        description="Sent when the job ends, or at the chosen events. Empty: no webhook.",
    )


DEFAULT_CONTROL: Final = Control()
"""Defaults: no tenant, normal priority, no limits, no webhook."""


def read_control(parameters: Mapping[str, Any]) -> Control:
    """
    Read the control part of a run's parameters.

    Args:
        parameters: parameters of any flow, including flows of other projects.

    Returns:
        The control part, or the defaults if it is missing or invalid; the flow itself then reports the error.
    """
    try:
        return Control.model_validate(parameters.get("control") or {})
    except ValidationError:
        return DEFAULT_CONTROL


def deadline(control: Control, created: datetime) -> datetime | None:
    """
    Return the time by which a job must be finished; None if it has no deadline.

    Args:
        control: control part of the job.
        created: creation time of the job.
    """
    return created + timedelta(seconds=control.complete_in) if control.complete_in else None


def is_deadline_passed(control: Control, created: datetime) -> bool:
    """Return whether the deadline of a job has passed."""
    deadline_time = deadline(control, created)
    return deadline_time is not None and deadline_time <= datetime.now(UTC)


_TAG_BY_EVENT: Final[Mapping[Event, str]] = {
    "started": NOTIFY_START_TAG,
    "progress": NOTIFY_PROGRESS_TAG,
}


def tags_for(control: Control) -> list[str]:
    """Return the tags of a run with this control."""
    run_tags = [f"{TENANT_TAG}{control.tenant}"] if control.tenant else []
    if control.notify:
        run_tags.append(NOTIFY_TAG)
        run_tags += [tag for event, tag in _TAG_BY_EVENT.items() if event in control.notify.events]
    return run_tags
