"""What callers send and get back, one pair per job type. Pure pydantic: the API and the UI forms use this."""

import re
from fractions import Fraction
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from flows.analyze_schemas import AnalyzeJob, AnalyzeResult
from flows.caption_schemas import CaptionJob, CaptionResult
from flows.framing import FRAMING, Framing
from flows.janitor_schemas import EndPartsJob, EndPartsResult, JanitorJob, JanitorResult
from flows.job import OUTPUT, Job, Output
from flows.musetalk_options import OPTIONS, VERSION, MuseTalkOptions, Version
from flows.speech_schemas import VOICE, SpeechJob, SpeechResult, VoiceOptions
from flows.transcribe_schemas import TranscribeJob, TranscribeResult, WhisperSize
from flows.webhook_schemas import AnnounceJob, AnnounceResult, NotifyJob, NotifyResult
from tasks.refs import Artefact, MediaUri, ObjectRef

__all__ = [
    "AnalyzeJob",
    "AnalyzeResult",
    "AnnounceJob",
    "AnnounceResult",
    "CaptionJob",
    "CaptionResult",
    "EndPartsJob",
    "EndPartsResult",
    "JanitorJob",
    "JanitorResult",
    "Job",
    "NotifyJob",
    "NotifyResult",
    "Output",
    "SpeechJob",
    "SpeechResult",
    "TranscribeJob",
    "TranscribeResult",
    "VoiceOptions",
    "WhisperSize",
]

FaceChoice = Literal["largest", "left", "right", "most_central"]
NoFacePolicy = Literal["passthrough", "hold", "fail"]
Engine = Literal["auto", "musetalk", "viseme", "fake"]
Preset = Literal["ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower"]

_RATE = re.compile(r"[0-9]{1,6}(\.[0-9]{1,20})?|[0-9]{1,9}/[0-9]{1,9}")
"""Before anything reckons with it: the twelve characters of 1e9999999999 are a number nobody can hold."""
_NTSC = {24: "24000/1001", 30: "30000/1001", 60: "60000/1001", 48: "48000/1001", 120: "120000/1001"}


def _rational(value: Any) -> Any:
    """Accept 25, 29.97, "25" and "30000/1001"; give back a fraction as text, 29.97 meaning 30000/1001."""
    if value is None or isinstance(value, bool):
        return value
    try:
        text = str(value).strip()
        if not _RATE.fullmatch(text):
            raise ValueError(text)  # noqa: TRY301  one message
        rate = Fraction(text)
    except (ValueError, ZeroDivisionError):
        raise ValueError('a frame rate is a number or a fraction, such as 25 or "30000/1001"') from None
    for whole, exact in _NTSC.items():
        if rate.denominator != 1001 and abs(rate - Fraction(exact)) < Fraction(1, 200) and rate != whole:
            return exact
    if not 1 <= rate <= 120:
        raise ValueError("a frame rate lies between 1 and 120 frames per second")
    return str(rate.limit_denominator(1001))


FrameRate = Annotated[str, BeforeValidator(_rational)]
"""Frames per second as an exact fraction in text form: "25", "30000/1001"."""


class VideoOptions(BaseModel):
    """How a finished video is encoded."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    crf: int = Field(
        default=18,
        ge=0,
        le=40,
        title="Quality (CRF)",
        description="H.264 constant rate factor; lower is better.",
        examples=[18, 23],
    )
    preset: Preset = Field(
        default="fast", title="x264 preset", description="Faster ones take less time, slower ones less space."
    )


_ENCODE: Any = Field(
    default=VideoOptions(), title="Encoding", description="Quality and size of the finished video."
)


class LipSyncJob(Job):
    """Make the person in a video say the given speech."""

    video: MediaUri = Field(
        title="Video",
        description="A video, or a picture that holds still: s3://, https://, asset:// or job://.",
        examples=["s3://media/avatars/anna.mp4"],
    )
    audio: MediaUri = Field(
        title="Speech",
        description="What they shall say: any audio file, or a video whose sound is taken.",
        examples=["s3://media/speech/hello.wav"],
    )
    text: str | None = Field(
        default=None,
        max_length=100_000,
        title="Transcript",
        description="The words of the speech, if known (English): better lips.",
        examples=["My mother bought five big blue balloons."],
    )
    fps: FrameRate | None = Field(
        default=None,
        title="Frame rate",
        description="Frames per second of the result; empty keeps the source's own.",
        examples=["25", "30000/1001"],
    )
    engine: Engine = Field(
        default="auto",
        title="Engine",
        description="What makes the mouth; auto takes the best that is installed; fake is for tests.",
    )
    version: Version = VERSION
    musetalk: MuseTalkOptions = OPTIONS
    face: FaceChoice = Field(
        default="largest", title="Face", description="Whose lips move when several people are in the picture."
    )
    no_face: NoFacePolicy = Field(
        default="passthrough",
        title="Frames without a face",
        description="passthrough: unchanged; hold: show the nearest frame with a face; fail: end the job.",
    )
    preparation: bool = Field(
        default=True,
        title="Prepare if missing",
        description="Prepare the avatar when it is not cached; off: fail with avatar_not_prepared.",
    )
    refresh: bool = Field(
        default=False, title="Prepare again", description="Rebuild the avatar even if it is in the cache."
    )
    encode: VideoOptions = _ENCODE
    output: Output = OUTPUT


class PortraitJob(Job):
    """Make the person in a still picture say the given speech, with a little life in the head."""

    image: MediaUri = Field(
        title="Picture",
        description="A portrait: png, jpeg or webp.",
        examples=["s3://media/portraits/anna.png"],
    )
    audio: MediaUri | None = Field(
        default=None,
        title="Speech",
        description="What they shall say: any audio file, or a video whose sound is taken. Empty: the text is"
        " spoken.",
        examples=["s3://media/speech/hello.wav"],
    )
    text: str | None = Field(
        default=None,
        max_length=100_000,
        title="Text",
        description="Without speech: what to say. With speech: its words, if known (English): better lips.",
        examples=["My mother bought five big blue balloons."],
    )
    voice: VoiceOptions = VOICE
    framing: Framing = FRAMING
    fps: FrameRate = Field(
        default="25",
        title="Frame rate",
        description="Frames per second of the result.",
        examples=["25", "30000/1001"],
    )
    idle_motion: bool = Field(
        default=True,
        title="Idle motion",
        description="Blinks and a slight sway of the head; off: only the mouth moves.",
    )
    seed: int = Field(
        default=0,
        ge=0,
        le=2**31 - 1,
        title="Seed",
        description="Chooses the blinks and the sway; same seed, same motion.",
        examples=[7],
    )
    engine: Engine = Field(default="auto", title="Engine", description="What makes the mouth.")
    version: Version = VERSION
    musetalk: MuseTalkOptions = OPTIONS
    face: FaceChoice = Field(default="largest", title="Face", description="Whose lips move.")
    refresh: bool = Field(
        default=False, title="Prepare again", description="Rebuild the avatar even if cached."
    )
    encode: VideoOptions = _ENCODE
    output: Output = OUTPUT

    @model_validator(mode="after")
    def _something_to_say(self) -> Self:
        if self.audio is None and not (self.text or "").strip():
            raise ValueError("a portrait needs audio, or a text to speak")
        return self


class FaceCoverage(BaseModel):
    """How much of the avatar shows the chosen face."""

    frames: int = Field(description="Frames of the source.")
    with_face: int = Field(description="Frames in which the face was found.")
    gaps: list[tuple[int, int]] = Field(description="Runs of frames without it, half-open.")


class Rendering(BaseModel):
    """How an engine rendered."""

    model_config = ConfigDict(from_attributes=True)

    device: str = Field(description="Device and precision; empty for engines that know no devices.")
    batch_size: int = Field(description="Frames rendered at once; 0 for engines without batches.")
    out_of_memory: int = Field(description="How often the device's memory ended and the batch was halved.")
    fp32_retries: int = Field(description="Batches rendered again in full precision.")


class VideoResult(BaseModel):
    """A finished talking video."""

    video: ObjectRef
    name: str
    engine: str
    version: Version | None = Field(description="Of MuseTalk, when that was the engine.")
    width: int
    height: int
    fps: str
    frames: int
    duration_s: float
    speech_s: float
    phones: Literal["given", "aligned", "recognised", "energy", "none"] = Field(
        description="Where the sounds and their times came from."
    )
    avatar: str = Field(description="Key of the prepared avatar.")
    faces: FaceCoverage
    rendering: Rendering | None = Field(
        description="How the engine rendered; null when nothing was rendered."
    )
    cached: list[str] = Field(description="Steps that were taken from the cache.")
    timings_s: dict[str, float] = Field(description="Seconds per phase.")
    speech: Artefact | None = Field(default=None, description="The spoken text, when one was spoken for it.")
    warnings: list[str] = []


class PrepareAvatarJob(Job):
    """Prepare a face ahead of time, so that later jobs on it start at once."""

    video: MediaUri = Field(
        title="Video or picture", description="The person.", examples=["s3://media/avatars/anna.mp4"]
    )
    engine: Engine = Field(default="auto", title="Engine", description="The engine to prepare for.")
    version: Version = VERSION
    musetalk: MuseTalkOptions = OPTIONS
    face: FaceChoice = Field(default="largest", title="Face", description="Whose lips will move.")
    refresh: bool = Field(default=False, title="Prepare again", description="Rebuild even if cached.")


class PrepareAvatarResult(BaseModel):
    """A prepared avatar."""

    avatar: str = Field(description="Key of the prepared avatar.")
    engine: str
    width: int
    height: int
    fps: str
    frames: int
    faces: FaceCoverage
    cached: list[str]
    timings_s: dict[str, float]
