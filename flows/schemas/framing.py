"""Crop and size of a still image. Pure pydantic."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Crop = Literal["none", "face", "square", "portrait", "landscape"]


class Framing(BaseModel):
    """Crop and maximum size of a still image. Images are never enlarged."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    crop: Crop = Field(
        default="none",
        title="Crop",
        description="face: head and shoulders; square, portrait (9:16), landscape (16:9): the largest crop of"
        " that shape around the face; none: the whole image.",
    )
    max_width: int | None = Field(
        default=None,
        ge=64,
        le=4096,
        title="Maximum width",
        description="Pixels; a wider image is scaled down. Empty: no limit.",
        examples=[1280],
    )
    max_height: int | None = Field(
        default=None,
        ge=64,
        le=4096,
        title="Maximum height",
        description="Pixels; a taller image is scaled down. Empty: no limit.",
        examples=[720],
    )


FRAMING_FIELD: Any = Field(
    default=Framing(), title="Crop and size", description="Crop of the image, and its maximum size."
)
