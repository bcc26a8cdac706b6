"""Compatibility: body of POST /analyze of the C3 Render API, with newer fields, and its analyze job."""

from typing import Annotated, Any

from pydantic import Field

from api.compat.c3 import LegacyJob, media_url
from flows.schemas.analyze import AnalyzeJob

_JOB_FIELDS = ("question", "prompt", "features", "length", "model")


class SeedAnalyze(LegacyJob):
    """The body of POST /analyze; the newer fields are validated by the job's schema."""

    image_url: Annotated[str | None, media_url("image_url")] = Field(
        default=None,
        validate_default=True,
        description="The image: https://, s3://, asset:// or job://.",
        examples=["https://example.org/desk.jpg"],
    )
    question: Any = Field(default=None, description="A question about the image; `prompt` is an alias.")
    prompt: Any = Field(default=None, description="Alias of `question`.")
    features: Any = Field(
        default=None, description="List of features: caption, detailed, ocr, objects, tags, faces."
    )
    length: Any = Field(default=None, description="Length of the caption: short, normal or long.")
    model: Any = Field(default=None, description="Name of a model; auto selects the best installed one.")


def to_job(body: SeedAnalyze) -> AnalyzeJob:
    """
    Convert a body to analyze job parameters.

    Raises:
        ValidationError: a field that the older service did not have is invalid.
    """
    values = {name: getattr(body, name) for name in _JOB_FIELDS}
    parameters = {name: value for name, value in values.items() if value is not None}
    return AnalyzeJob.model_validate({"image": body.image_url, "fallback": True} | parameters)
