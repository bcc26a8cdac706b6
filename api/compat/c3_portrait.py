"""Compatibility: body of POST /portrait of the C3 Render API, and its portrait job."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from api.compat.c3 import LegacyJob, media_url, parse_body
from api.errors import Problem
from flows.schemas.video import PortraitJob


def _portrait_url(name: str) -> BeforeValidator:
    """Return a validator for a required reference; this route's message differs from the other routes'."""
    validate_url = media_url(name).func

    def check(value: object) -> object:
        try:
            return validate_url(value)  # type: ignore[call-arg]
        except ValueError as error:
            if str(error) != f"{name} must be a valid URL":
                raise
            raise ValueError(f"Invalid URL format for {name}") from error

    return BeforeValidator(check)


class SeedPortrait(LegacyJob):
    """The body of POST /portrait."""

    image_url: Annotated[str | None, _portrait_url("image_url")] = Field(
        default=None,
        validate_default=True,
        description="Required: the image.",
        examples=["https://example.org/anna.png"],
    )
    audio_url: Annotated[str | None, _portrait_url("audio_url")] = Field(
        default=None,
        validate_default=True,
        description="Required: the speech, an audio file or a video with sound.",
        examples=["https://example.org/hello.mp3"],
    )


_TIMING = ("max_time", "complete_in")


def read_portrait(body: object) -> SeedPortrait:
    """
    Validate a body; this route reports its errors by field.

    Raises:
        Problem: its `errors` maps field names to messages; max_time and complete_in appear as `timing`.
    """
    if body == {}:
        raise Problem("invalid_input", "Missing request body")
    try:
        return parse_body(SeedPortrait, body)
    except Problem as problem:
        messages_by_field = {_field_name(fault): fault["detail"] for fault in reversed(problem.errors)}
        raise Problem(problem.code, problem.detail, extra={"errors": messages_by_field}) from problem


def _field_name(fault: Mapping[str, Any]) -> str:
    field = str(fault["pointer"]).removeprefix("#/")
    return "timing" if field in _TIMING else field


def to_job(body: SeedPortrait) -> PortraitJob:
    """
    Convert a body to portrait job parameters.

    Raises:
        ValidationError: an invalid media reference.
    """
    return PortraitJob.model_validate({"image": body.image_url, "audio": body.audio_url, "fallback": True})
