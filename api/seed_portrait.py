"""The body of POST /portrait, as the older C3 Render API documented it, and its portrait job."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from api.problems import Problem
from api.seed_c3 import SeedJob, media_url, read
from flows.schemas import PortraitJob


def _url(name: str) -> BeforeValidator:
    """Check a required reference; this route says it in other words than its siblings."""
    usual = media_url(name).func

    def check(value: object) -> object:
        try:
            return usual(value)  # type: ignore[call-arg]
        except ValueError as error:
            if str(error) != f"{name} must be a valid URL":
                raise
            raise ValueError(f"Invalid URL format for {name}") from error

    return BeforeValidator(check)


class SeedPortrait(SeedJob):
    """What the older service took to animate a picture."""

    image_url: Annotated[str | None, _url("image_url")] = Field(
        default=None,
        validate_default=True,
        description="Required: the picture.",
        examples=["https://example.org/anna.png"],
    )
    audio_url: Annotated[str | None, _url("audio_url")] = Field(
        default=None,
        validate_default=True,
        description="Required: the speech; a video's sound will do.",
        examples=["https://example.org/hello.mp3"],
    )


_TIMING = ("max_time", "complete_in")


def read_portrait(body: object) -> SeedPortrait:
    """
    Read a body; this route names its faults by field.

    Raises:
        Problem: whose `errors` maps fields to sentences, timing under `timing`.
    """
    if body == {}:
        raise Problem("invalid_input", "Missing request body")
    try:
        return read(SeedPortrait, body)
    except Problem as problem:
        named = {_named(fault): fault["detail"] for fault in reversed(problem.errors)}
        raise Problem(problem.code, problem.detail, extra={"errors": named}) from problem


def _named(fault: Mapping[str, Any]) -> str:
    field = str(fault["pointer"]).removeprefix("#/")
    return "timing" if field in _TIMING else field


def to_job(body: SeedPortrait) -> PortraitJob:
    """
    Turn a body into a job.

    Raises:
        ValidationError: a reference that is none.
    """
    return PortraitJob.model_validate({"image": body.image_url, "audio": body.audio_url})
