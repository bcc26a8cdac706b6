"""Request and result schemas of the caption job. Pure pydantic."""

from typing import Literal

from pydantic import BaseModel, Field

from flows.schemas.base import OUTPUT_FIELD, JobParameters, Output, Usage, Warnings
from flows.schemas.provenance import PROVENANCE_FIELD, Provenance
from tasks.refs import MediaUri, ObjectRef


class CaptionJob(JobParameters):
    """Caption a video: burn captions into the picture, or add a subtitle track."""

    video: MediaUri = Field(
        title="Video", description="Video to caption.", examples=["s3://media/talks/anna.mp4"]
    )
    captions: MediaUri = Field(
        title="Captions",
        description="SubRip (.srt) or WebVTT (.vtt) file; job://ID/srt uses the output of a transcribe job.",
        examples=["s3://media/talks/anna.srt"],
    )
    encoding: str | None = Field(
        default=None,
        max_length=40,
        title="Encoding",
        description="Encoding of the captions file. Empty: by its byte order mark, else UTF-8, else detected,"
        " with a warning.",
        examples=["cp1252"],
    )
    how: Literal["burned", "track"] = Field(
        default="burned",
        title="Method",
        description="burned: drawn into the picture, which is re-encoded; track: a subtitle"
        " track, the picture is not re-encoded.",
    )
    size: float = Field(
        default=5.0,
        ge=2,
        le=15,
        title="Text size",
        description="Line height of burned captions, in percent of the picture height.",
        examples=[5.0],
    )
    place: Literal["bottom", "top"] = Field(
        default="bottom", title="Position", description="Position of burned captions."
    )
    crf: int = Field(
        default=18,
        ge=0,
        le=40,
        title="Quality (CRF)",
        description="H.264 constant rate factor for burned captions; a lower value gives better quality and a"
        " larger file.",
        examples=[18],
    )
    output: Output = OUTPUT_FIELD


class CaptionResult(BaseModel):
    """A captioned video."""

    video: ObjectRef
    name: str
    how: Literal["burned", "track"]
    lines: int = Field(description="Number of captions.")
    duration_s: float
    cached: list[str] = Field(description="Steps whose results came from the cache.")
    timings_s: dict[str, float] = Field(description="Seconds per phase.")
    usage: Usage = {}
    provenance: Provenance = PROVENANCE_FIELD
    warnings: Warnings = []
