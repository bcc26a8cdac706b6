"""Compatibility: body of POST /whisper of the C3 Render API, and its transcribe job."""

from typing import Annotated, get_args

from pydantic import BeforeValidator, Field

from api.compat.c3 import LegacyJob, media_url, one_of
from flows.schemas.transcribe import TranscribeJob, WhisperSize

MODELS = tuple(size for size in get_args(WhisperSize) if size != "tiny.en")
"""The seven Whisper models of the older service."""


def _language(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError("language must be a string")  # noqa: TRY004  pydantic takes a ValueError
    return value


class SeedWhisper(LegacyJob):
    """The body of POST /whisper."""

    audio_url: Annotated[str | None, media_url("audio_url")] = Field(
        default=None,
        validate_default=True,
        description="Required: s3://, https://, asset:// or job://.",
        examples=["https://example.org/hello.wav"],
    )
    model: Annotated[str, one_of(MODELS, "model")] = Field(
        default="medium",
        description=f"{', '.join(MODELS)}. If it is not installed, a smaller one is used, with a warning.",
    )
    task: Annotated[str, one_of(("transcribe", "translate"), "task")] = Field(
        default="transcribe", description="transcribe, or translate to English."
    )
    language: Annotated[str, BeforeValidator(_language)] = Field(
        default="", description="Spoken language; empty: detected."
    )


def to_job(body: SeedWhisper) -> TranscribeJob:
    """
    Convert a body to transcribe job parameters.

    Raises:
        ValidationError: an unknown language.
    """
    model = body.model if "model" in body.model_fields_set else None
    return TranscribeJob.model_validate(
        {
            "audio": body.audio_url,
            "model": model,
            "fallback": True,
            "task": body.task,
            "language": body.language,
        }
    )
