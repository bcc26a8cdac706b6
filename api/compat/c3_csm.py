"""Compatibility: body of POST /csm (text to speech) of the C3 Render API, and its speech job."""

import math
from typing import Annotated, get_args

from pydantic import BeforeValidator, Field

from api.compat.c3 import LegacyJob, media_url, one_of
from api.errors import Problem
from flows.schemas.speech import SpeechJob, VoiceName

VOICES: tuple[str, ...] = get_args(VoiceName)
CLONE_CONSENT = "consent_assumed: who clones a voice on this route vouches that its speaker agreed"


def _text(value: object) -> object:
    if value is not None and not isinstance(value, str):
        raise ValueError("text must be a string")
    if isinstance(value, str) and not value.strip():
        raise ValueError("text cannot be empty")
    return value


def _monologue(value: object) -> object:
    """Validate `monologue`: a list in the service's final version, a text in the version before."""
    if value is None:
        return None
    if isinstance(value, str):
        if not value.strip():
            raise ValueError("Monologue cannot be empty")
        return value
    if not isinstance(value, list):
        raise ValueError("monologue must be an array of strings")  # noqa: TRY004  pydantic takes a ValueError
    if not value:
        raise ValueError("monologue array cannot be empty")
    items: list[object] = value
    if not all(isinstance(item, str) for item in items):
        raise ValueError("all items in monologue array must be strings")
    if not all(str(item).strip() for item in items):
        raise ValueError("monologue array cannot contain empty strings")
    return items


def _voice(value: object) -> object:
    return "random" if value == "random_voice" else value


def _reference(value: object) -> object:
    return media_url("reference_audio_url").func(value) if value else None  # type: ignore[call-arg]


def _number(name: str, low: int, high: int) -> BeforeValidator:
    """Return a validator for whole numbers; accepts numbers as text, rejects fractions."""

    def check(value: object) -> int:
        number = _float(value)
        if number is None or number != math.floor(number) or not low <= number <= high:
            raise ValueError(f"{name} must be an integer between {low} and {high}")
        return int(number)

    return BeforeValidator(check)


def _temperature(value: object) -> float:
    number = _float(value)
    if number is None or not 0 <= number <= 2:
        raise ValueError("temperature must be a float between 0 and 2")
    return number


def _float(value: object) -> float | None:
    """Return a finite number, also from text; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


class SeedSpeech(LegacyJob):
    """The body of POST /csm."""

    text: Annotated[str | None, BeforeValidator(_text)] = Field(
        default=None, description="Text to speak, of any length.", examples=["Hello from here."]
    )
    monologue: Annotated[str | list[str] | None, BeforeValidator(_monologue)] = Field(
        default=None, description="Text to speak, as one text or a list; send either this or `text`."
    )
    voice: Annotated[str, one_of(VOICES, "voice option"), BeforeValidator(_voice)] = Field(
        default="random", description=f"{', '.join(VOICES)}."
    )
    reference_audio_url: Annotated[str | None, BeforeValidator(_reference)] = Field(
        default=None, description="For `clone`: a recording of the voice."
    )
    reference_text: str | None = Field(
        default=None, description="For `clone`: verbatim transcript of the recording."
    )
    temperature: Annotated[float, BeforeValidator(_temperature)] = Field(default=0.9, description="0 to 2.")
    topk: Annotated[int, _number("topk", 1, 100)] = Field(default=50, description="1 to 100.")
    max_audio_length: Annotated[int, _number("max_audio_length", 1000, 30_000)] = Field(
        default=10_000, description="Maximum length of a segment in ms; longer text is split into segments."
    )
    pause_duration: Annotated[int, _number("pause_duration", 0, 500)] = Field(
        default=150, description="Pause between sentences in milliseconds."
    )

    @property
    def is_clone(self) -> bool:
        """Whether a voice is cloned."""
        return self.voice == "clone"

    def warnings(self) -> list[str]:
        """Return the warnings of all routes, and that consent is assumed for a cloned voice."""
        return super().warnings() + ([CLONE_CONSENT] if self.is_clone else [])


def to_job(body: SeedSpeech) -> SpeechJob:
    """
    Convert a body to speech job parameters.

    Raises:
        Problem: fields that cannot be combined, with the older service's message.
        ValidationError: an invalid media reference.
    """
    error = _combination_error(body)
    if error is not None:
        field, detail = error
        error_entry = {"pointer": f"#/{field}", "code": "invalid_input", "detail": detail}
        raise Problem("invalid_input", detail, errors=[error_entry])
    clone_fields = {
        "reference_audio": body.reference_audio_url,
        "reference_text": body.reference_text,
        "consent": True,
    }
    return SpeechJob.model_validate(
        {
            "text": body.text,
            "monologue": body.monologue,
            "voice": body.voice,
            "temperature": body.temperature,
            "topk": body.topk,
            "max_audio_length": body.max_audio_length,
            "pause_duration": body.pause_duration,
            "fallback": True,
            **(clone_fields if body.is_clone else {}),
        }
    )


def _combination_error(body: SeedSpeech) -> tuple[str, str] | None:
    """Return field and message of the first invalid combination of fields; None if all are valid."""
    if body.text is None and body.monologue is None:
        return "text", "Missing required field: either text or monologue must be provided"
    if body.text is not None and body.monologue is not None:
        return "monologue", "Cannot provide both text and monologue parameters. Use only one."
    if not body.is_clone:
        return None
    if not body.reference_audio_url:
        return "reference_audio_url", "reference_audio_url is required for voice cloning"
    if body.reference_text is None:
        return "reference_text", "reference_text is required for voice cloning"
    return None if body.reference_text.strip() else ("reference_text", "reference_text cannot be empty")
