"""What job routes of the older C3 Render API have in common: fields, faults in its words, answers."""

import re
from typing import Annotated, Any, TypeVar
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from api import views
from api.notifying import notify_by
from api.problems import Problem
from api.runs import Run
from flows.control import Control
from tasks.refs import checked_media_uri
from tasks.settings import get_settings

_SHARED = ("notify_url", "max_time", "complete_in")
_WHOLE = re.compile(r"[+-]?\d{1,9}")


def media_url(name: str) -> BeforeValidator:
    """Check a required media reference."""

    def check(value: object) -> str:
        if value is None or value == "":
            raise ValueError(f"Missing required field: {name}")
        if not isinstance(value, str) or not _is_url(value):
            raise ValueError(f"{name} must be a valid URL")
        return checked_media_uri(value)

    return BeforeValidator(check)


def whole_number(name: str, low: int, high: int) -> BeforeValidator:
    """Check a number of seconds; numbers written as text do, fractions do not."""

    def check(value: object) -> int:
        text = str(value) if isinstance(value, int | str) else ""  # of true and false: words
        if not _WHOLE.fullmatch(text) or not low <= int(text) <= high:
            raise ValueError(f"{name} must be an integer between {low} and {high} seconds")
        return int(text)

    return BeforeValidator(check)


def one_of(choices: tuple[str, ...], what: str) -> BeforeValidator:
    """Check a word."""

    def check(value: object) -> object:
        if value not in choices:
            raise ValueError(f"Invalid {what}. Must be one of: {', '.join(choices)}")
        return value

    return BeforeValidator(check)


def _notify_url(value: object) -> object:
    if value is not None and (not isinstance(value, str) or notify_by(value) is None):
        raise ValueError("notify_url must be a valid URL")
    return value


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return bool(parts.scheme and parts.netloc)


class SeedJob(BaseModel):
    """Fields of every job of the older service. Fields it does not know are ignored, with a warning."""

    model_config = ConfigDict(extra="allow")

    notify_url: Annotated[str | None, BeforeValidator(_notify_url)] = Field(
        default=None,
        description="Where a POST goes when the job has ended: docs/how-to/webhooks.md.",
        examples=["https://example.org/hooks/render"],
    )
    max_time: Annotated[int, whole_number("max_time", 60, 7200)] = Field(
        default=1200, description="Seconds it may run."
    )
    complete_in: Annotated[int, whole_number("complete_in", 60, 86400)] = Field(
        default=3600, description="Seconds from now by which it must be finished."
    )

    def control(self) -> Control:
        """Say how long the job may take, and who is told of its end."""
        notify = notify_by(self.notify_url) if self.notify_url is not None else None
        given, usual = self.model_fields_set, get_settings().compat
        return Control(
            max_time=self.max_time if "max_time" in given else usual.max_time,
            complete_in=self.complete_in if "complete_in" in given else usual.complete_in,
            notify=notify,
        )

    def warnings(self) -> list[str]:
        """Say what was given and has no effect."""
        return [f"unknown_field: {name[:64]}" for name in self.model_extra or {}]


Body = TypeVar("Body", bound=SeedJob)


def read(model: type[Body], body: object) -> Body:
    """
    Read a body.

    Raises:
        Problem: with the older service's sentence for the first fault, and all faults in `errors`.
    """
    try:
        return model.model_validate(body if isinstance(body, dict) else {})
    except ValidationError as error:
        ours = sorted(
            error.errors(), key=lambda fault: fault["loc"][0] in _SHARED
        )  # the job's own come first
        errors = [_fault(fault) for fault in ours]
        raise Problem(errors[0]["code"], errors[0]["detail"], errors=errors) from error


def _fault(fault: Any) -> dict[str, str]:
    code = "local_path_disabled" if fault["type"] == "local_path_disabled" else "invalid_input"
    place = "/".join(str(part) for part in fault["loc"])
    return {"pointer": f"#/{place}", "code": code, "detail": fault["msg"].removeprefix("Value error, ")}


def documented(model: type[BaseModel]) -> dict[str, Any]:
    """Describe a body that is read by hand, for the page of routes."""
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def queued(run: Run, warnings: list[str]) -> dict[str, Any]:
    """Answer that a job waits, as the older service did; with warnings where there are some."""
    body: dict[str, Any] = {"id": str(run.id), "status": views.seed_word(run)}
    return body | ({"warnings": warnings} if warnings else {})
