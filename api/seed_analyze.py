"""The body of POST /analyze, as the C3 service took it and with what ours can do; and its analyze job."""

from typing import Annotated, Any

from pydantic import Field

from api.seed_c3 import SeedJob, media_url
from flows.schemas import AnalyzeJob

_OURS = ("question", "prompt", "features", "length", "model")


class SeedAnalyze(SeedJob):
    """What the older service took to analyse, and what a job takes; the job checks what is its own."""

    image_url: Annotated[str | None, media_url("image_url")] = Field(
        default=None,
        validate_default=True,
        description="The picture: https://, s3://, asset:// or job://.",
        examples=["https://example.org/desk.jpg"],
    )
    question: Any = Field(default=None, description="What to find out; `prompt` is another name.")
    prompt: Any = Field(default=None, description="The same as `question`.")
    features: Any = Field(default=None, description="Of caption, detailed, ocr, objects, tags, faces.")
    length: Any = Field(default=None, description="short, normal or long.")
    model: Any = Field(default=None, description="A model's name; auto takes the best installed.")


def to_job(body: SeedAnalyze) -> AnalyzeJob:
    """
    Turn a body into a job.

    Raises:
        ValidationError: one of our own fields is wrong.
    """
    given = {name: getattr(body, name) for name in _OURS}
    asked = {name: value for name, value in given.items() if value is not None}
    return AnalyzeJob.model_validate({"image": body.image_url} | asked)
