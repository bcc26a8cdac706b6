"""What the transcribe job takes and gives. Pure pydantic, as `flows.schemas`."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from flows.job import OUTPUT, Job, Output
from tasks.refs import MediaUri, ObjectRef

WhisperSize = Literal["tiny.en", "tiny", "base", "small", "medium", "large", "large-v2", "large-v3"]
Language = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z -]{0,30}$|^$")]


class TranscribeJob(Job):
    """Write down what is said in a sound or video file."""

    audio: MediaUri = Field(
        title="Speech",
        description="Any sound file, or a video whose sound is taken.",
        examples=["s3://media/speech/hello.wav"],
    )
    model: WhisperSize | None = Field(
        default=None,
        title="Model",
        description="Whisper's size. Empty: the largest that is installed, up to medium.",
        examples=["medium"],
    )
    if_missing: Literal["fail", "substitute"] = Field(
        default="fail",
        title="If that model is missing",
        description="fail: with model_not_installed; substitute: the largest up to medium, and a warning.",
    )
    task: Literal["transcribe", "translate"] = Field(
        default="transcribe",
        title="Task",
        description="transcribe: in the language that is spoken; translate: into English.",
    )
    language: Language = Field(
        default="",
        title="Language",
        description="That is spoken: a code or an English name. Empty: as it sounds.",
        examples=["en", "german"],
    )
    word_timestamps: bool = Field(
        default=True, title="Times of words", description="Also say when each word is spoken, and how surely."
    )
    beam_size: int = Field(
        default=5,
        ge=1,
        le=10,
        title="Beams",
        description="Ways that are followed at once; more are slower and a little better.",
        examples=[5],
    )
    skip_silence: bool = Field(
        default=True,
        title="Skip silence and music",
        description="Listen to no more than two seconds in which nobody speaks; off: to everything.",
    )
    output: Output = OUTPUT


class TranscriptSegment(BaseModel):
    """A line of a transcript; words with times are in the JSON file."""

    model_config = ConfigDict(extra="ignore")

    start: float = Field(description="Seconds.")
    end: float
    text: str
    confidence: float = Field(description="0 to 1: mean probability of its words.")
    avg_logprob: float
    no_speech_prob: float
    compression_ratio: float


class TranscribeResult(BaseModel):
    """What was said."""

    text: str = Field(description="One line a segment.")
    segments: list[TranscriptSegment]
    language: str | None = Field(description="Code; null when nobody speaks and none was given.")
    language_probability: float | None = Field(
        description="Null when it was given, or is the model's only one."
    )
    model: str = Field(description="Whisper's size.")
    task: Literal["transcribe", "translate"]
    duration_s: float
    speech_s: float = Field(description="What was listened to.")
    confidence: float | None = Field(description="0 to 1, over all lines; null without any.")
    name: str = Field(description="Of the plain text among the files.")
    files: dict[str, ObjectRef] = Field(description="Text, JSON, SRT, VTT and TSV by name.")
    cached: list[str] = Field(description="Steps that were taken from the cache.")
    timings_s: dict[str, float] = Field(description="Seconds per phase.")
    warnings: list[str] = []
