"""How a run is to be treated, beside what it is to do: whose it is, how urgent, how long it may take."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from tasks.event_names import NOTIFY_PROGRESS_TAG
from tasks.tenancy import TENANT_TAG

__all__ = ["TENANT_TAG"]

Priority = Literal["high", "normal", "low"]
PRIORITIES: Final[tuple[Priority, ...]] = ("high", "normal", "low")
"""Names of a pool's work queues too, most urgent first."""

Tenant = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]

ENDED_AS: Final = "musetalk.ended_as"
"""Label of a stopped run: why. One of the words below, or the owner's."""
MAX_TIME: Final = "max_time"
COMPLETE_IN: Final = "complete_in"
ABORTED: Final = "aborted"
CANCELLED: Final = "cancelled"
EXPIRED: Final = "Job expired before processing could begin"

Event = Literal["started", "progress", "completed", "failed", "canceled"]
"""What webhooks tell of a job."""
AT_THE_END: Final[tuple[Event, ...]] = ("completed", "failed", "canceled")
NOTIFY_TAG: Final = "notify"
"""Tag of runs of whose end, or start, somebody is to be told."""
NOTIFY_START_TAG: Final = "notify-start"
"""Tag of those whose start is to be told too: the others' starts set nothing going."""
_UNSAFE = re.compile(r"[\x00-\x20\x7f\\#]")


def _web_address(text: str) -> str:
    """Check the spelling only: whether it may be used is judged whenever something is sent there."""
    try:
        parts = urlsplit(text)
        host = parts.hostname
        _ = parts.port  # raises on what is no port
    except ValueError:
        raise ValueError("this is not a web address") from None
    if parts.scheme not in {"http", "https"} or not host or _UNSAFE.search(text):
        raise ValueError("a web address is https://host/path, without spaces, backslashes and fragments")
    if "@" in parts.netloc:
        raise ValueError("a web address cannot have a user name or a password")
    return text


class Notify(BaseModel):
    """Who is told what of a job, by webhook."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: Annotated[str, StringConstraints(max_length=2000), AfterValidator(_web_address)] = Field(
        title="Address",
        description="Where a signed POST goes. Everybody who sees Prefect's pages sees it: no secrets.",
        examples=["https://example.org/hooks/render"],
    )
    events: tuple[Event, ...] = Field(
        default=AT_THE_END,
        min_length=1,
        max_length=5,
        title="Events",
        description="started, progress, completed, failed, canceled; the last three are usual.",
        examples=[["started", "completed", "failed", "canceled"]],
    )


class Control(BaseModel):
    """The `control` parameter of every job's flow."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tenant: Tenant | None = Field(
        default=None,
        title="Tenant",
        description="Whose job it is: jobs of different tenants take turns. Empty: nobody's in particular.",
        examples=["acme"],
    )
    priority: Priority = Field(
        default="normal", title="Priority", description="Higher ones start first; nothing running is stopped."
    )
    max_time: int | None = Field(
        default=None,
        ge=1,
        le=604_800,
        title="Longest running time",
        description="Seconds from its start after which it is stopped. Empty: what the work pool says.",
        examples=[1200],
    )
    complete_in: int | None = Field(
        default=None,
        ge=1,
        le=2_592_000,
        title="Deadline",
        description="Seconds from its creation after which it is not started any more, or is stopped.",
        examples=[3600],
    )
    gpu_id: int | None = Field(
        default=None,
        ge=0,
        le=255,
        title="Card",
        description="A card it would like; a hint, another one will do.",
        examples=[1],
    )
    notify: Notify | None = Field(
        default=None, title="Webhook", description="Whom to tell how it went. Empty: nobody."
    )


USUAL: Final = Control()
"""Nobody's in particular, neither urgent nor limited."""


def read_control(parameters: Mapping[str, Any]) -> Control:
    """
    Read the control part of a run's parameters.

    Args:
        parameters: of any flow, ours or not.

    Returns:
        What it says; the defaults where it says nothing or nothing valid (the flow itself will complain).
    """
    try:
        return Control.model_validate(parameters.get("control") or {})
    except ValidationError:
        return USUAL


def deadline(control: Control, created: datetime) -> datetime | None:
    """
    Return when a job must be finished, None for no limit.

    Args:
        control: its control.
        created: when it was made.
    """
    return created + timedelta(seconds=control.complete_in) if control.complete_in else None


def is_past(control: Control, created: datetime) -> bool:
    """Tell whether a job's deadline has passed."""
    due = deadline(control, created)
    return due is not None and due <= datetime.now(UTC)


_EXTRA_TAGS: Final[Mapping[Event, str]] = {
    "started": NOTIFY_START_TAG,
    "progress": NOTIFY_PROGRESS_TAG,
}


def tags(control: Control) -> list[str]:
    """Return the tags that a run with this control carries."""
    found = [f"{TENANT_TAG}{control.tenant}"] if control.tenant else []
    if control.notify:
        found.append(NOTIFY_TAG)
        found += [tag for event, tag in _EXTRA_TAGS.items() if event in control.notify.events]
    return found
