"""MuseTalk options of a job, their defaults per version (v1, v1.5) and validation."""

from dataclasses import dataclass
from typing import Final, Literal, get_args

from musetalk_core.errors import InputError

Version = Literal["v15", "v1"]
MaskMode = Literal["raw", "neck", "jaw"]
LatentMode = Literal["mode", "sample"]
AudioWindow = Literal["exact", "upstream"]
FaceRule = Literal["tracked", "upstream"]
SilenceMode = Literal["closed", "as_heard"]
RestoreMode = Literal["none", "detail", "gfpgan", "codeformer"]
"""
How the rendered face, 256 pixels wide, is sharpened:

* none: not at all.
* detail: fine detail of skin and beard comes from the source frame; needs no model.
* gfpgan: a network draws fine detail.
* codeformer: the same; its weights may not be used commercially.
"""


@dataclass(frozen=True, slots=True)
class MuseTalkEngineOptions:
    """
    MuseTalk options of a job. None means the version's default.

    Attributes:
        version:       which weights, with the box geometry and mask they were trained with.
        bbox_shift:    v1 only: pixels by which the middle of the face box moves down.
        extra_margin:  v1.5 only: pixels added under the chin, 0..40.
        mask_mode:     which part of the face is replaced.
        left_cheek_width, right_cheek_width: `jaw` only: how much of the cheeks stays unchanged, in pixels of
                       the 512-pixel class map, 20..160.
        blur_share:    width of the mask's soft edge over its side: 0.05, or 0.1 as in the real-time program.
        audio_padding_left, audio_padding_right: audio context before and after a frame in steps of 40 ms,
                       0..10.
        audio_window:  `exact` stays in sync at every frame rate; `upstream` uses the whole-numbered rate and
                       is 40 ms and more early below 25 fps, as the original does.
        audio_overlap_s: seconds that neighbouring 30-second segments of speech share and cross-fade, 0..15;
                       0 as in the original, whose features jump where segments meet.
        latents:       `mode` is deterministic; `sample` draws noise, as the original does, but seeded.
        seed:          seed of the noise that `sample` draws.
        face_rule:     `tracked` estimates landmarks around the chosen face and smooths them over time;
                       `upstream` estimates them in the whole frame, rounds to whole pixels and does not
                       smooth.
        silence:       `closed` mutes non-speech before the audio encoder, so that noise does not move the
                       mouth; `as_heard` leaves the audio unchanged.
        restore:       how the rendered face, 256 pixels, is sharpened; see `RestoreMode`.
        fidelity:      `codeformer` only: 0 draws the most detail and changes the person most, 1 stays
                       closest to the rendered face.
    """

    version: Version = "v15"
    bbox_shift: int | None = None
    extra_margin: int | None = None
    mask_mode: MaskMode | None = None
    left_cheek_width: int = 90
    right_cheek_width: int = 90
    blur_share: float = 0.05
    audio_padding_left: int = 2
    audio_padding_right: int = 2
    audio_window: AudioWindow = "exact"
    audio_overlap_s: float = 0.0
    latents: LatentMode = "mode"
    seed: int = 0
    face_rule: FaceRule = "tracked"
    silence: SilenceMode = "closed"
    restore: RestoreMode = "none"
    fidelity: float = 0.7


@dataclass(frozen=True, slots=True)
class Preset:
    """The defaults of a version: its weights and the geometry they were trained with."""

    model: str
    accepts_bbox_shift: bool
    extra_margin: int
    mask_mode: MaskMode


PRESETS: Final[dict[Version, Preset]] = {
    "v15": Preset("musetalk-v15", accepts_bbox_shift=False, extra_margin=10, mask_mode="jaw"),
    "v1": Preset("musetalk-v1", accepts_bbox_shift=True, extra_margin=0, mask_mode="raw"),
}


@dataclass(frozen=True, slots=True)
class ResolvedOptions:
    """Options with all defaults filled in."""

    preset: Preset
    options: MuseTalkEngineOptions
    bbox_shift: int
    extra_margin: int
    mask_mode: MaskMode


def resolve_options(options: MuseTalkEngineOptions) -> ResolvedOptions:
    """
    Validate options and fill in the version's defaults.

    Raises:
        InputError: an option is out of range or belongs to the other version.
    """
    preset = PRESETS.get(options.version)
    if preset is None:
        raise InputError(f"no MuseTalk version {options.version!r}; expected one of {', '.join(PRESETS)}")
    _check_values(options)
    if options.bbox_shift and not preset.accepts_bbox_shift:
        raise InputError("bbox_shift belongs to MuseTalk v1; version v15 uses extra_margin instead")
    if options.extra_margin and not preset.extra_margin:
        raise InputError("extra_margin belongs to MuseTalk v1.5; version v1 uses bbox_shift instead")
    return ResolvedOptions(
        preset=preset,
        options=options,
        bbox_shift=options.bbox_shift or 0,
        extra_margin=preset.extra_margin if options.extra_margin is None else options.extra_margin,
        mask_mode=options.mask_mode or preset.mask_mode,
    )


_RANGES: Final = {
    "bbox_shift": (-100, 100),
    "extra_margin": (0, 40),
    "left_cheek_width": (20, 160),
    "right_cheek_width": (20, 160),
    "blur_share": (0.0, 0.2),
    "audio_padding_left": (0, 10),
    "audio_padding_right": (0, 10),
    "audio_overlap_s": (0.0, 15.0),
    "fidelity": (0.0, 1.0),
    "seed": (0, 2**31 - 1),
}
_ALLOWED_VALUES: Final = {
    "mask_mode": get_args(MaskMode),
    "audio_window": get_args(AudioWindow),
    "latents": get_args(LatentMode),
    "face_rule": get_args(FaceRule),
    "silence": get_args(SilenceMode),
    "restore": get_args(RestoreMode),
}


def _check_values(options: MuseTalkEngineOptions) -> None:
    for name, (low, high) in _RANGES.items():
        value = getattr(options, name)
        if value is not None and not low <= value <= high:
            raise InputError(f"{name} must be between {low} and {high}, not {value}")
    for name, allowed_values in _ALLOWED_VALUES.items():
        value = getattr(options, name)
        if value is not None and value not in allowed_values:
            raise InputError(f"{name} must be one of {', '.join(allowed_values)}, not {value!r}")
