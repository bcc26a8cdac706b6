"""Compatibility with the C3 Render API: shared body fields, its error messages and its responses."""

import re
from typing import Annotated, Any, TypeVar
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from api.compat.status import legacy_status
from api.errors import MAX_ERRORS, Problem
from api.jobs.model import Job
from api.schemas.job_request import parse_notify_url
from flows.schemas.control import Control
from tasks.refs import validate_media_uri
from tasks.settings import get_settings

_SHARED_FIELDS = ("notify_url", "max_time", "complete_in")
_INTEGER = re.compile(r"[+-]?\d{1,9}")


def media_url(name: str) -> BeforeValidator:
    """Return a validator for a required media reference."""

    def check(value: object) -> str:
        if value is None or value == "":
            raise ValueError(f"Missing required field: {name}")
        if not isinstance(value, str) or not _is_url(value):
            raise ValueError(f"{name} must be a valid URL")
        return validate_media_uri(value)

    return BeforeValidator(check)


def whole_number(name: str, low: int, high: int) -> BeforeValidator:
    """Return a validator for whole seconds; accepts integers as text, rejects fractions."""

    def check(value: object) -> int:
        text = str(value) if isinstance(value, int | str) else ""  # booleans become words and are rejected
        if not _INTEGER.fullmatch(text) or not low <= int(text) <= high:
            raise ValueError(f"{name} must be an integer between {low} and {high} seconds")
        return int(text)

    return BeforeValidator(check)


def one_of(choices: tuple[str, ...], what: str) -> BeforeValidator:
    """Return a validator for a choice of strings."""

    def check(value: object) -> object:
        if value not in choices:
            raise ValueError(f"Invalid {what}. Must be one of: {', '.join(choices)}")
        return value

    return BeforeValidator(check)


def _notify_url(value: object) -> object:
    if value is not None and (not isinstance(value, str) or parse_notify_url(value) is None):
        raise ValueError("notify_url must be a valid URL")
    return value


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return bool(parts.scheme and parts.netloc)


class LegacyJob(BaseModel):
    """Body fields that all job routes of the C3 Render API share. Unknown fields give a warning."""

    model_config = ConfigDict(extra="allow")

    notify_url: Annotated[str | None, BeforeValidator(_notify_url)] = Field(
        default=None,
        description="Webhook address: receives a POST when the job ends; see docs/how-to/webhooks.md.",
        examples=["https://example.org/hooks/render"],
    )
    max_time: Annotated[int, whole_number("max_time", 60, 7200)] = Field(
        default=1200, description="Maximum run time in seconds."
    )
    complete_in: Annotated[int, whole_number("complete_in", 60, 86400)] = Field(
        default=3600, description="Deadline in seconds from now."
    )

    def control(self) -> Control:
        """Return the job's time limits and webhook; fields not sent take the defaults of the settings."""
        notify = parse_notify_url(self.notify_url) if self.notify_url is not None else None
        sent_fields, defaults = self.model_fields_set, get_settings().compat
        return Control(
            max_time=self.max_time if "max_time" in sent_fields else defaults.max_time,
            complete_in=self.complete_in if "complete_in" in sent_fields else defaults.complete_in,
            notify=notify,
        )

    def warnings(self) -> list[str]:
        """Return a warning for each field that was sent and has no effect."""
        return [f"unknown_field: {name[:64]}" for name in self.model_extra or {}]


Body = TypeVar("Body", bound=LegacyJob)


def parse_body(model: type[Body], body: object) -> Body:
    """
    Validate a body.

    Raises:
        Problem: with the older service's message for the first error, and all errors in `errors`.
    """
    try:
        return model.model_validate(body if isinstance(body, dict) else {})
    except ValidationError as error:
        sorted_errors = sorted(
            error.errors(), key=lambda fault: fault["loc"][0] in _SHARED_FIELDS
        )  # errors of the route's own fields first
        errors = [_to_error(fault) for fault in sorted_errors[:MAX_ERRORS]]
        raise Problem(errors[0]["code"], errors[0]["detail"], errors=errors) from error


def _to_error(fault: Any) -> dict[str, str]:
    code = "local_path_disabled" if fault["type"] == "local_path_disabled" else "invalid_input"
    location = "/".join(str(part) for part in fault["loc"])
    return {"pointer": f"#/{location}", "code": code, "detail": fault["msg"].removeprefix("Value error, ")}


def openapi_body(model: type[BaseModel]) -> dict[str, Any]:
    """Return the OpenAPI description of a body that the route validates itself."""
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def queued_response(job: Job, warnings: list[str]) -> dict[str, Any]:
    """Return the older service's response for a queued job, with warnings if there are any."""
    body: dict[str, Any] = {"id": str(job.id), "status": legacy_status(job)}
    return body | ({"warnings": warnings} if warnings else {})
