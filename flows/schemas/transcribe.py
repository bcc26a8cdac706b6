"""Request and result schemas of the transcribe job. Pure pydantic."""

from typing import Annotated, Any, Literal, cast

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from flows.schemas.base import FALLBACK_FIELD, OUTPUT_FIELD, JobParameters, Output, Usage, Warnings
from flows.schemas.provenance import PROVENANCE_FIELD, Provenance
from flows.schemas.whisper_languages import LANGUAGES
from tasks.refs import MediaUri, ObjectRef

WhisperSize = Literal["tiny.en", "tiny", "base", "small", "medium", "large", "large-v2", "large-v3"]
TranscriptionEngine = Literal["auto", "openai-whisper", "ctranslate2"]


def _known_language(language: str) -> str:
    if language and language.strip().lower() not in LANGUAGES:
        raise ValueError(
            f"unknown language {language!r}; use a code such as en or de, an English name such as german, or"
            " nothing to detect it"
        )
    return language


Language = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z -]{0,30}$|^$"), AfterValidator(_known_language)
]


class TranscribeJob(JobParameters):
    """Transcribe or translate the speech in an audio or video file."""

    audio: MediaUri = Field(
        title="Speech",
        description="Audio file, or a video whose audio track is used.",
        examples=["s3://media/speech/hello.wav"],
    )
    model: WhisperSize | None = Field(
        default=None,
        title="Model",
        description="Whisper model size. Empty: the largest installed one up to medium.",
        examples=["medium"],
    )
    engine: TranscriptionEngine = Field(
        default="auto",
        title="Engine",
        description="Implementation of Whisper. auto: the one of the settings, or the fastest for the"
        " installed files of the model.",
        examples=["ctranslate2"],
    )
    fallback: bool = FALLBACK_FIELD
    task: Literal["transcribe", "translate"] = Field(
        default="transcribe",
        title="Task",
        description="transcribe: in the spoken language; translate: into English.",
    )
    language: Language = Field(
        default="",
        title="Language",
        description="Spoken language as a code or an English name. Empty: detected.",
        examples=["en", "german"],
    )
    word_timestamps: bool = Field(
        default=True, title="Word timestamps", description="Add the time and the probability of each word."
    )
    beam_size: int = Field(
        default=5,
        ge=1,
        le=10,
        title="Beam size",
        description="Number of hypotheses in the beam search; more are slower and slightly more accurate.",
        examples=[5],
    )
    skip_silence: bool = Field(
        default=True,
        title="Skip silence and music",
        description="Skip passages longer than two seconds without speech. Off: transcribe everything.",
    )
    output: Output = OUTPUT_FIELD

    @model_validator(mode="before")
    @classmethod
    def _accept_former_name(cls, values: Any) -> Any:
        """Accept `if_missing`, the former name of `fallback`, with the values fail and substitute."""
        if not isinstance(values, dict) or "if_missing" not in values:
            return values
        fields: dict[str, Any] = {**cast(dict[str, Any], values)}
        if_missing = fields.pop("if_missing")
        if if_missing not in ("fail", "substitute"):
            raise ValueError(
                "if_missing must be fail or substitute; fallback is the present name of this field"
            )
        return {"fallback": if_missing == "substitute"} | fields


class TranscriptSegment(BaseModel):
    """A segment of a transcript. Word timestamps are in the JSON file."""

    model_config = ConfigDict(extra="ignore")

    start: float = Field(description="Start in seconds.")
    end: float
    text: str
    confidence: float = Field(description="0 to 1: mean probability of its words.")
    avg_logprob: float
    no_speech_prob: float
    compression_ratio: float


class TranscribeResult(BaseModel):
    """A transcript."""

    text: str = Field(description="Text, one line per segment.")
    segments: list[TranscriptSegment]
    language: str | None = Field(
        description="Language code; null if there is no speech and the request sets none."
    )
    language_probability: float | None = Field(
        description="Null if the request sets the language, or the model supports one language only."
    )
    model: str = Field(description="Whisper model size.")
    engine: Literal["openai-whisper", "ctranslate2"] = Field(
        default="openai-whisper", description="Implementation of Whisper that was used."
    )
    task: Literal["transcribe", "translate"]
    duration_s: float
    speech_s: float = Field(description="Seconds of audio that were transcribed.")
    confidence: float | None = Field(description="0 to 1, over all segments; null without segments.")
    name: str = Field(description="Name of the plain-text file.")
    files: dict[str, ObjectRef] = Field(description="Text, JSON, SRT, VTT and TSV files by name.")
    cached: list[str] = Field(description="Steps whose results came from the cache.")
    timings_s: dict[str, float] = Field(description="Seconds per phase.")
    usage: Usage = {}
    provenance: Provenance = PROVENANCE_FIELD
    warnings: Warnings = []
