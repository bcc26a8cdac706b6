"""The body of POST /whisper, as the older C3 Render API documented it, and its transcribe job."""

from typing import Annotated, get_args

from pydantic import BeforeValidator, Field

from api.seed_c3 import SeedJob, media_url, one_of
from flows.schemas import TranscribeJob, WhisperSize

MODELS = tuple(size for size in get_args(WhisperSize) if size != "tiny.en")
"""The seven that the older service knew."""


def _language(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError("language must be a string")  # noqa: TRY004  pydantic takes a ValueError
    return value


class SeedWhisper(SeedJob):
    """What the older service took to transcribe."""

    audio_url: Annotated[str | None, media_url("audio_url")] = Field(
        default=None,
        validate_default=True,
        description="Required: s3://, https://, asset:// or job://.",
        examples=["https://example.org/hello.wav"],
    )
    model: Annotated[str, one_of(MODELS, "model")] = Field(
        default="medium",
        description=f"{', '.join(MODELS)}. A smaller one stands in for one that is missing, with a warning.",
    )
    task: Annotated[str, one_of(("transcribe", "translate"), "task")] = Field(
        default="transcribe", description="transcribe, or translate into English."
    )
    language: Annotated[str, BeforeValidator(_language)] = Field(
        default="", description="That is spoken; empty: as it sounds."
    )


def to_job(body: SeedWhisper) -> TranscribeJob:
    """
    Turn a body into a job.

    Raises:
        ValidationError: a language that is none.
    """
    asked = body.model if "model" in body.model_fields_set else None
    return TranscribeJob.model_validate(
        {
            "audio": body.audio_url,
            "model": asked,
            "if_missing": "substitute",
            "task": body.task,
            "language": body.language,
        }
    )
