"""What the caption job takes and gives. Pure pydantic, as `flows.schemas`."""

from typing import Literal

from pydantic import BaseModel, Field

from flows.job import OUTPUT, Job, Output
from tasks.refs import MediaUri, ObjectRef


class CaptionJob(Job):
    """Put captions into a video: drawn into the picture, or as a track that players can switch on."""

    video: MediaUri = Field(
        title="Video", description="What gets captions.", examples=["s3://media/talks/anna.mp4"]
    )
    captions: MediaUri = Field(
        title="Captions",
        description="SubRip (.srt) or WebVTT (.vtt); job://ID/srt takes those of a transcribe job.",
        examples=["s3://media/talks/anna.srt"],
    )
    how: Literal["burned", "track"] = Field(
        default="burned",
        title="How",
        description="burned: drawn into the picture, which is encoded again; track: beside it, untouched.",
    )
    size: float = Field(
        default=5.0,
        ge=2,
        le=15,
        title="Size",
        description="Height of a burned line, in percent of the picture's height.",
        examples=[5.0],
    )
    place: Literal["bottom", "top"] = Field(
        default="bottom", title="Place", description="Of burned captions."
    )
    crf: int = Field(
        default=18,
        ge=0,
        le=40,
        title="Quality (CRF)",
        description="H.264 constant rate factor of a picture with burned captions; lower is better.",
        examples=[18],
    )
    output: Output = OUTPUT


class CaptionResult(BaseModel):
    """A video with captions."""

    video: ObjectRef
    name: str
    how: Literal["burned", "track"]
    lines: int = Field(description="Captions that are shown.")
    duration_s: float
    cached: list[str] = Field(description="Steps that were taken from the cache.")
    timings_s: dict[str, float] = Field(description="Seconds per phase.")
    warnings: list[str] = []
