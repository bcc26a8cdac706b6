"""The body of POST /analyze, as the C3 service took it and with what ours can do; and its analyze job."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from api.seed_fields import common_faults, control_of, media_fault, refusal, without_effect
from flows.control import Control
from flows.schemas import AnalyzeJob

_OURS = ("question", "prompt", "features", "length", "model")


class SeedAnalyze(BaseModel):
    """What the older service took, and what a job takes. Unknown fields are ignored, with a warning."""

    model_config = ConfigDict(extra="allow")

    image_url: Any = Field(
        default=None,
        description="The picture: https://, s3://, asset:// or job://.",
        examples=["https://example.org/desk.jpg"],
    )
    question: Any = Field(default=None, description="What to find out; `prompt` is another name.")
    features: Any = Field(default=None, description="Of caption, detailed, ocr, objects, tags, faces.")
    length: Any = Field(default=None, description="short, normal or long.")
    model: Any = Field(default=None, description="A model's name; auto takes the best installed.")
    notify_url: Any = Field(default=None, description="Checked, and without effect.")
    max_time: Any = Field(default=None, description="60 to 7200 seconds of running.")
    complete_in: Any = Field(default=None, description="60 to 86400 seconds from now.")


def to_job(body: SeedAnalyze) -> tuple[AnalyzeJob, Control, list[str]]:
    """
    Turn a body into a job.

    Returns:
        The job, how long it may take, and a warning for every field that was given and has no effect.

    Raises:
        Problem: fields of the older service that it would have refused, all of them at once.
        ValidationError: one of our own fields is wrong.
    """
    given: dict[str, Any] = body.model_dump(exclude_none=True)
    missing = media_fault(given, "image_url")
    faults = ({"image_url": missing} if missing else {}) | common_faults(given)
    if faults:
        raise refusal(faults)
    fields = {name: given[name] for name in _OURS if name in given}
    job = AnalyzeJob.model_validate({"image": given["image_url"]} | fields)
    return job, control_of(given), without_effect(given, ("image_url", *_OURS))
