"""Request and result schemas of jobs that render or prepare video. Pure pydantic: used by Prefect's forms."""

import re
from fractions import Fraction
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from flows.schemas.base import FALLBACK_FIELD, OUTPUT_FIELD, JobParameters, Output, Usage, Warnings
from flows.schemas.framing import FRAMING_FIELD, Framing
from flows.schemas.label import LABEL_FIELD, MARK_FIELD, MarkChoice, MediaLabel
from flows.schemas.musetalk import MUSETALK_FIELD, VERSION_FIELD, MuseTalkOptions, Version
from flows.schemas.provenance import PROVENANCE_FIELD, Provenance
from flows.schemas.speech import VOICE_FIELD, VoiceOptions
from tasks.refs import Artefact, MediaUri, ObjectRef

FaceChoice = Literal["largest", "left", "right", "most_central"] | Annotated[int, Field(ge=0, le=99)]
"""The face to use if there are several; a number counts from 0 = largest. Left and right are the viewer's."""
FACE_HELP = "Face whose lips are moved, or its number; 0 is the largest."
NoFacePolicy = Literal["passthrough", "hold", "fail"]
Engine = Literal["auto", "musetalk", "viseme", "fake"]
Preset = Literal["ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower"]

_FRAME_RATE_PATTERN = re.compile(r"[0-9]{1,6}(\.[0-9]{1,20})?|[0-9]{1,9}/[0-9]{1,9}")
"""Checked before any arithmetic: 1e9999999999 has twelve characters and would exhaust the memory."""
_NTSC_RATES = {24: "24000/1001", 30: "30000/1001", 60: "60000/1001", 48: "48000/1001", 120: "120000/1001"}
"""Exact NTSC rates by nominal rate in frames per second."""


def _parse_frame_rate(value: Any) -> Any:
    """Parse 25, 29.97, "25" or "30000/1001" into an exact fraction as text; 29.97 becomes 30000/1001."""
    if value is None or isinstance(value, bool):
        return value
    try:
        text = str(value).strip()
        if not _FRAME_RATE_PATTERN.fullmatch(text):
            raise ValueError(text)  # noqa: TRY301  one message
        rate = Fraction(text)
    except (ValueError, ZeroDivisionError):
        raise ValueError(
            'expected a frame rate as a number or a fraction, for example 25 or "30000/1001"'
        ) from None
    for whole, exact in _NTSC_RATES.items():
        if rate.denominator != 1001 and abs(rate - Fraction(exact)) < Fraction(1, 200) and rate != whole:
            return exact
    if not 1 <= rate <= 120:
        raise ValueError("the frame rate must be between 1 and 120 frames per second")
    return str(rate.limit_denominator(1001))


FrameRate = Annotated[str, BeforeValidator(_parse_frame_rate)]
"""Frames per second as an exact fraction in text form: "25", "30000/1001"."""


class VideoOptions(BaseModel):
    """Encoder settings of the output video."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    crf: int = Field(
        default=18,
        ge=0,
        le=40,
        title="Quality (CRF)",
        description="H.264 constant rate factor; a lower value gives better quality and a larger file.",
        examples=[18, 23],
    )
    preset: Preset = Field(
        default="fast",
        title="x264 preset",
        description="A faster preset encodes in less time, a slower one gives a smaller file.",
    )


_ENCODE_FIELD: Any = Field(
    default=VideoOptions(), title="Encoding", description="Quality and size of the output video."
)


QualityChoice = Literal["off", "card", "gate"]

QUALITY_FIELD: Any = Field(
    default=None,
    title="Quality card",
    description="Measure mouth and lip movement in the finished video, at most 3 s of it. card: show the"
    " figures in the result; gate: fail the job with quality_below_threshold before anything is stored if the"
    " score is below fail_below; off: measure nothing. Empty: the setting MUSETALK_RENDER__QUALITY.",
    examples=["card", "gate"],
)
FAIL_BELOW_FIELD: Any = Field(
    default=0.5,
    ge=0,
    le=1,
    title="Least score",
    description="With quality gate: lowest score of an accepted video. The score is the lowest grade of all"
    " figures; 0.5 is the limit of each.",
    examples=[0.5, 0.3],
)


class QualityFigure(BaseModel):
    """One measured figure."""

    model_config = ConfigDict(frozen=True)

    value: float = Field(description="Value in the unit.")
    unit: str = Field(description="Unit; H is the face height.")
    limit: float | None = Field(description="Value beyond which it is a defect; null: not judged.")
    grade: float | None = Field(
        description="1: as on good material, 0.5: at the limit, 0: far beyond it; null: not judged."
    )


class QualityCard(BaseModel):
    """Figures of the rendered mouth, its movement and its surroundings."""

    model_config = ConfigDict(frozen=True)

    score: float | None = Field(
        description="The lowest grade, 0 to 1; null if no face was visible in the measured frames."
    )
    defects: list[str] = Field(description="Names of the figures beyond their limits.")
    figures: dict[str, QualityFigure] = Field(
        description="Figures by name, see [Quality figures](../reference/quality.md). A figure that the"
        " measured frames do not show is left out."
    )
    frames: int = Field(description="Number of measured frames.")
    with_face: int = Field(description="Number of those that show the face.")
    speech: Literal["phonemes", "loudness", "silence"] = Field(
        description="Source of the expected mouth movement. loudness: without rounding"
        " and p, b, m; correlation and lag are not judged."
    )


QUALITY_RESULT_FIELD: Any = Field(
    default=None, description="Quality card; null if it was off or could not be measured."
)


class LipSyncJob(JobParameters):
    """Lip-sync the person in a video to the given speech."""

    video: MediaUri = Field(
        title="Video",
        description="A video, or an image, which is then shown without motion: s3://, https://,"
        " asset:// or job://.",
        examples=["s3://media/avatars/anna.mp4"],
    )
    audio: MediaUri = Field(
        title="Speech",
        description="Audio file with the speech, or a video whose audio track is used.",
        examples=["s3://media/speech/hello.wav"],
    )
    text: str | None = Field(
        default=None,
        max_length=100_000,
        title="Transcript",
        description="Words of the speech (English), if known; improves the lip movements.",
        examples=["My mother bought five big blue balloons."],
    )
    fps: FrameRate | None = Field(
        default=None,
        title="Frame rate",
        description="Frames per second of the output. Empty: those of the source.",
        examples=["25", "30000/1001"],
    )
    engine: Engine = Field(
        default="auto",
        title="Engine",
        description="Rendering engine. auto: the best installed engine; fake: for tests.",
    )
    fallback: bool = FALLBACK_FIELD
    version: Version = VERSION_FIELD
    musetalk: MuseTalkOptions = MUSETALK_FIELD
    face: FaceChoice = Field(
        default="largest",
        title="Face",
        description="Face whose lips are moved if several people are visible; a number counts from 0, the"
        " largest.",
    )
    no_face: NoFacePolicy = Field(
        default="passthrough",
        title="Frames without a face",
        description="passthrough: unchanged; hold: repeat the nearest frame with a face; fail: fail the job.",
    )
    preparation: bool = Field(
        default=True,
        title="Prepare if missing",
        description="Prepare the avatar if it is not cached. Off: fail with avatar_not_prepared.",
    )
    refresh: bool = Field(
        default=False, title="Prepare again", description="Prepare the avatar again even if it is cached."
    )
    encode: VideoOptions = _ENCODE_FIELD
    label: MediaLabel = LABEL_FIELD
    imperceptible_mark: MarkChoice | None = MARK_FIELD
    quality: QualityChoice | None = QUALITY_FIELD
    fail_below: float = FAIL_BELOW_FIELD
    output: Output = OUTPUT_FIELD


class PortraitJob(JobParameters):
    """Animate a portrait photo so that the person speaks the given speech, with subtle head motion."""

    image: MediaUri = Field(
        title="Image",
        description="Portrait photo: PNG, JPEG or WebP.",
        examples=["s3://media/portraits/anna.png"],
    )
    audio: MediaUri | None = Field(
        default=None,
        title="Speech",
        description="Audio file with the speech, or a video whose audio track is used. Empty: the"
        " text is synthesized.",
        examples=["s3://media/speech/hello.wav"],
    )
    text: str | None = Field(
        default=None,
        max_length=100_000,
        title="Text",
        description="Without audio: the text to speak. With audio: its words (English), if known;"
        " improves the lip movements.",
        examples=["My mother bought five big blue balloons."],
    )
    voice: VoiceOptions = VOICE_FIELD
    framing: Framing = FRAMING_FIELD
    fps: FrameRate = Field(
        default="25",
        title="Frame rate",
        description="Frames per second of the output.",
        examples=["25", "30000/1001"],
    )
    idle_motion: bool = Field(
        default=True,
        title="Idle motion",
        description="Blinking and a slight head sway. Off: only the mouth moves.",
    )
    seed: int = Field(
        default=0,
        ge=0,
        le=2**31 - 1,
        title="Seed",
        description="Random seed of blinking and sway; the same seed gives the same motion.",
        examples=[7],
    )
    engine: Engine = Field(default="auto", title="Engine", description="Rendering engine.")
    fallback: bool = FALLBACK_FIELD
    version: Version = VERSION_FIELD
    musetalk: MuseTalkOptions = MUSETALK_FIELD
    face: FaceChoice = Field(default="largest", title="Face", description=FACE_HELP)
    refresh: bool = Field(
        default=False, title="Prepare again", description="Prepare the avatar again even if it is cached."
    )
    encode: VideoOptions = _ENCODE_FIELD
    label: MediaLabel = LABEL_FIELD
    imperceptible_mark: MarkChoice | None = MARK_FIELD
    quality: QualityChoice | None = QUALITY_FIELD
    fail_below: float = FAIL_BELOW_FIELD
    output: Output = OUTPUT_FIELD

    @model_validator(mode="after")
    def _require_audio_or_text(self) -> Self:
        if self.audio is None and not (self.text or "").strip():
            raise ValueError("a portrait needs audio or a text to speak")
        return self


class FaceCoverage(BaseModel):
    """The number of source frames that show the chosen face."""

    frames: int = Field(description="Number of source frames.")
    with_face: int = Field(description="Number of frames in which the face was detected.")
    gaps: list[tuple[int, int]] = Field(description="Ranges of frames without the face, half-open.")


class Rendering(BaseModel):
    """Device and batch statistics of a rendering."""

    model_config = ConfigDict(from_attributes=True)

    device: str = Field(description="Device and precision; empty if the engine uses no device.")
    batch_size: int = Field(description="Frames per batch; 0 if the engine uses no batches.")
    out_of_memory: int = Field(
        description="Number of times the device ran out of memory and the batch size was halved."
    )
    fp32_retries: int = Field(description="Number of batches that were rendered again in full precision.")


class VideoResult(BaseModel):
    """A finished talking-head video."""

    video: ObjectRef
    name: str
    engine: str
    version: Version | None = Field(description="MuseTalk version, if MuseTalk was the engine.")
    width: int
    height: int
    fps: str
    frames: int
    duration_s: float
    speech_s: float
    phones: Literal["given", "aligned", "recognised", "energy", "none"] = Field(
        description="Source of the phonemes and their times."
    )
    avatar: str = Field(description="Key of the avatar.")
    faces: FaceCoverage
    rendering: Rendering | None = Field(description="Rendering statistics; null if nothing was rendered.")
    cached: list[str] = Field(description="Steps whose results came from the cache.")
    timings_s: dict[str, float] = Field(description="Seconds per phase.")
    usage: Usage = {}
    speech: Artefact | None = Field(default=None, description="Synthesized speech, if the job spoke a text.")
    provenance: Provenance = PROVENANCE_FIELD
    quality: QualityCard | None = QUALITY_RESULT_FIELD
    warnings: Warnings = []


class PrepareAvatarJob(JobParameters):
    """Prepare an avatar ahead of time, so that later jobs start without that delay."""

    video: MediaUri = Field(
        title="Video or image",
        description="Video or image of the person.",
        examples=["s3://media/avatars/anna.mp4"],
    )
    engine: Engine = Field(default="auto", title="Engine", description="Rendering engine to prepare for.")
    fallback: bool = FALLBACK_FIELD
    version: Version = VERSION_FIELD
    musetalk: MuseTalkOptions = MUSETALK_FIELD
    face: FaceChoice = Field(default="largest", title="Face", description=FACE_HELP)
    refresh: bool = Field(
        default=False, title="Prepare again", description="Prepare the avatar again even if it is cached."
    )


class PrepareAvatarResult(BaseModel):
    """A prepared avatar."""

    avatar: str = Field(description="Key of the avatar.")
    engine: str
    width: int
    height: int
    fps: str
    frames: int
    faces: FaceCoverage
    cached: list[str]
    timings_s: dict[str, float]
    usage: Usage = {}
    warnings: Warnings = []
