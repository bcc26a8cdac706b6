"""Options of the MuseTalk engine in job requests. Pure pydantic."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from musetalk_core.engines.musetalk.options import (
    AudioWindow,
    FaceRule,
    LatentMode,
    MaskMode,
    RestoreMode,
    SilenceMode,
    Version,
)

__all__ = ["MaskMode", "MuseTalkOptions", "Version"]


class MuseTalkOptions(BaseModel):
    """Options of the MuseTalk engine; other engines ignore them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bbox_shift: int | None = Field(
        default=None,
        ge=-100,
        le=100,
        title="Bounding box shift",
        description="v1 only: pixels by which the face box is moved down; opens or closes the mouth.",
        examples=[-7],
    )
    extra_margin: int | None = Field(
        default=None,
        ge=0,
        le=40,
        title="Chin margin",
        examples=[15],
        description="v15 only: pixels added below the chin. Empty: 10.",
    )
    mask_mode: MaskMode | None = Field(
        default=None,
        title="Mask",
        description="Part of the face that is replaced: jaw (default of v15), raw (default of"
        " v1), or neck, which includes the neck.",
    )
    left_cheek_width: int = Field(
        default=90,
        ge=20,
        le=160,
        title="Left cheek width",
        examples=[110],
        description="Mask jaw only: a smaller value keeps more of the original cheek.",
    )
    right_cheek_width: int = Field(
        default=90,
        ge=20,
        le=160,
        title="Right cheek width",
        examples=[110],
        description="Mask jaw only: a smaller value keeps more of the original cheek.",
    )
    blur_share: float = Field(
        default=0.05,
        ge=0,
        le=0.2,
        title="Mask blur",
        description="Width of the mask's blurred edge, as a share of the mask's side length.",
        examples=[0.1],
    )
    audio_padding_left: int = Field(
        default=2,
        ge=0,
        le=10,
        title="Audio context before",
        description="In steps of 40 ms; the model was trained with 2.",
        examples=[2],
    )
    audio_padding_right: int = Field(
        default=2,
        ge=0,
        le=10,
        title="Audio context after",
        description="In steps of 40 ms; the model was trained with 2.",
        examples=[2],
    )
    audio_window: AudioWindow = Field(
        default="exact",
        title="Audio window",
        description="exact: in sync at every frame rate; upstream: frame arithmetic of the original program.",
    )
    audio_overlap_s: float = Field(
        default=0.0,
        ge=0,
        le=15,
        title="Overlap (s)",
        description="Overlap of adjacent 30-second audio windows in seconds; the original program uses 0.",
        examples=[2],
    )
    latents: LatentMode = Field(
        default="mode", title="Latents", description="mode: deterministic; sample: adds seeded noise."
    )
    seed: int = Field(
        default=0,
        ge=0,
        le=2**31 - 1,
        title="Seed",
        description="Seed of the noise of latents sample.",
        examples=[7],
    )
    face_rule: FaceRule = Field(
        default="tracked",
        title="Face tracking",
        description="tracked: follows one person with smoothing; upstream: pose estimation on the"
        " whole frame, without smoothing.",
    )
    silence: SilenceMode = Field(
        default="closed",
        title="Silence",
        description="closed: mutes pauses first, so that noise does not move the mouth; as_heard:"
        " leaves pauses unchanged.",
    )
    restore: RestoreMode = Field(
        default="none",
        title="Restore",
        description="How the rendered face, which has 256 pixels, is sharpened. none: not at all; detail:"
        " fine detail of skin and beard comes from the source; gfpgan, codeformer: a network draws it.",
    )
    fidelity: float = Field(
        default=0.7,
        ge=0,
        le=1,
        title="Fidelity",
        description="Restore codeformer only: 0 draws the most detail and changes the person most, 1 stays"
        " closest to the rendered face.",
        examples=[0.5],
    )


VERSION_FIELD: Any = Field(
    default="v15",
    title="MuseTalk version",
    description="MuseTalk weights, and the face geometry that belongs to them.",
)
MUSETALK_FIELD: Any = Field(
    default=MuseTalkOptions(), title="MuseTalk options", description="Used by the MuseTalk engine only."
)
