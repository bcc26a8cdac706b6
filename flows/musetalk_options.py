"""What a job may choose about the MuseTalk engine. Pure pydantic, as `flows.schemas`."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Version = Literal["v15", "v1"]


class MuseTalkOptions(BaseModel):
    """What a job may choose about the MuseTalk engine; other engines ignore it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bbox_shift: int | None = Field(
        default=None,
        ge=-100,
        le=100,
        title="Box shift",
        description="v1 only: pixels by which the face box moves down; opens or closes the mouth.",
        examples=[-7],
    )
    extra_margin: int | None = Field(
        default=None,
        ge=0,
        le=40,
        title="Chin margin",
        examples=[15],
        description="v15 only: pixels added under the chin; empty means 10.",
    )
    mask_mode: Literal["raw", "neck", "jaw"] | None = Field(
        default=None,
        title="Mask",
        description="What of the face is replaced: jaw (as v15 does), raw (as v1 does), or neck as well.",
    )
    left_cheek_width: int = Field(
        default=90,
        ge=20,
        le=160,
        title="Left cheek",
        examples=[110],
        description="jaw: a smaller one keeps more of the cheek.",
    )
    right_cheek_width: int = Field(
        default=90,
        ge=20,
        le=160,
        title="Right cheek",
        examples=[110],
        description="jaw: a smaller one keeps more of the cheek.",
    )
    blur_share: float = Field(
        default=0.05,
        ge=0,
        le=0.2,
        title="Soft edge",
        description="Width of the mask's blur over its side.",
        examples=[0.1],
    )
    audio_padding_left: int = Field(
        default=2,
        ge=0,
        le=10,
        title="Hears back",
        description="In steps of 40 ms; trained with 2.",
        examples=[2],
    )
    audio_padding_right: int = Field(
        default=2,
        ge=0,
        le=10,
        title="Hears ahead",
        description="In steps of 40 ms; trained with 2.",
        examples=[2],
    )
    audio_window: Literal["exact", "upstream"] = Field(
        default="exact",
        title="Audio window",
        description="exact keeps time at every frame rate; upstream counts like the original program.",
    )
    audio_overlap_s: float = Field(
        default=0.0,
        ge=0,
        le=15,
        title="Overlap (s)",
        description="What neighbouring 30-second pieces of speech share; 0 as the original program.",
        examples=[2],
    )
    latents: Literal["mode", "sample"] = Field(
        default="mode", title="Latents", description="mode is deterministic; sample draws seeded noise."
    )
    seed: int = Field(
        default=0, ge=0, le=2**31 - 1, title="Seed", description="Of the noise of sample.", examples=[7]
    )
    face_rule: Literal["tracked", "upstream"] = Field(
        default="tracked",
        title="Face rule",
        description="tracked follows one person smoothly; upstream poses the whole frame, without smoothing.",
    )
    silence: Literal["closed", "as_heard"] = Field(
        default="closed",
        title="Silence",
        description="closed mutes pauses first, so that noise in them moves no mouth; as_heard leaves them.",
    )


VERSION: Any = Field(
    default="v15", title="MuseTalk version", description="Which weights, and the geometry they need."
)
OPTIONS: Any = Field(
    default=MuseTalkOptions(), title="MuseTalk", description="What only the MuseTalk engine takes."
)
