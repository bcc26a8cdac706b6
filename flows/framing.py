"""What of a still picture is shown, and how large. Pure pydantic, as `flows.schemas`."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Crop = Literal["none", "face", "square", "portrait", "landscape"]


class Framing(BaseModel):
    """What of a still picture is shown, and how large. It is never enlarged."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    crop: Crop = Field(
        default="none",
        title="Crop",
        description="face: head and shoulders; square, portrait (9:16), landscape (16:9): the largest such"
        " part around the face; none: all of it.",
    )
    max_width: int | None = Field(
        default=None,
        ge=64,
        le=4096,
        title="Width at most",
        description="A wider picture is made smaller; empty: no limit.",
        examples=[1280],
    )
    max_height: int | None = Field(
        default=None,
        ge=64,
        le=4096,
        title="Height at most",
        description="A higher picture is made smaller; empty: no limit.",
        examples=[720],
    )


FRAMING: Any = Field(
    default=Framing(), title="Crop and size", description="What of the picture is shown, and how large."
)
