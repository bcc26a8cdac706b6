"""What a job may choose about MuseTalk, and what belongs to a version and may not be mixed."""

from dataclasses import dataclass
from typing import Final, Literal

from musetalk_core.errors import InputError

Version = Literal["v15", "v1"]
MaskMode = Literal["raw", "neck", "jaw"]
Latents = Literal["mode", "sample"]
AudioWindow = Literal["exact", "upstream"]
FaceRule = Literal["tracked", "upstream"]
Silence = Literal["closed", "as_heard"]


@dataclass(frozen=True, slots=True)
class Options:
    """
    The choices of a job; None takes the version's own.

    Attributes:
        version:       which weights, and all that was trained with them.
        bbox_shift:    v1 only: pixels by which the middle of the box moves down.
        extra_margin:  v1.5 only: pixels added under the chin, 0..40.
        mask_mode:     which part of the face is replaced.
        left_cheek_width, right_cheek_width: `jaw` only: how much of the cheeks is left alone, in
                       pixels of the 512 that the parser sees, 20..160.
        blur_share:    softness of the mask's edge over its side: 0.05, or the live program's 0.1.
        audio_padding_left, audio_padding_right: how far the mouth hears back and ahead, in steps of
                       40 ms, 0..10.
        audio_window:  `exact` keeps time at every frame rate; `upstream` counts with a whole-numbered
                       rate and looks 40 ms and more early below 25 fps, as the original does.
        audio_overlap_s: seconds that neighbouring 30-second pieces of speech share and fade over, 0..15;
                       0 as the original, whose features jump where pieces meet.
        latents:       `mode` is deterministic; `sample` draws noise, as the original does, but seeded.
        seed:          of `sample`.
        face_rule:     `tracked` poses the surroundings of the chosen face and smooths over time;
                       `upstream` poses the whole frame, rounds to whole pixels and does not smooth.
        silence:       `closed` mutes what is no speech before it is heard, so that noise does not move
                       the mouth.
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
    latents: Latents = "mode"
    seed: int = 0
    face_rule: FaceRule = "tracked"
    silence: Silence = "closed"


@dataclass(frozen=True, slots=True)
class Preset:
    """What belongs to a version: its weights, and the geometry they were trained with."""

    model: str
    takes_shift: bool
    extra_margin: int
    mask_mode: MaskMode


PRESETS: Final[dict[Version, Preset]] = {
    "v15": Preset("musetalk-v15", takes_shift=False, extra_margin=10, mask_mode="jaw"),
    "v1": Preset("musetalk-v1", takes_shift=True, extra_margin=0, mask_mode="raw"),
}


@dataclass(frozen=True, slots=True)
class Settled:
    """Options with nothing left open."""

    preset: Preset
    options: Options
    bbox_shift: int
    extra_margin: int
    mask_mode: MaskMode


def settled(options: Options) -> Settled:
    """
    Fill in what the version decides.

    Raises:
        InputError: an option is out of range or belongs to the other version.
    """
    preset = PRESETS.get(options.version)
    if preset is None:
        raise InputError(f"there is no MuseTalk version {options.version!r}; there are {', '.join(PRESETS)}")
    _check_ranges(options)
    if options.bbox_shift and not preset.takes_shift:
        raise InputError("bbox_shift belongs to MuseTalk v1; version v15 uses extra_margin instead")
    if options.extra_margin and not preset.extra_margin:
        raise InputError("extra_margin belongs to MuseTalk v1.5; version v1 uses bbox_shift instead")
    return Settled(
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
    "seed": (0, 2**31 - 1),
}
_WORDS: Final = {
    "mask_mode": ("raw", "neck", "jaw"),
    "audio_window": ("exact", "upstream"),
    "latents": ("mode", "sample"),
    "face_rule": ("tracked", "upstream"),
    "silence": ("closed", "as_heard"),
}


def _check_ranges(options: Options) -> None:
    for name, (low, high) in _RANGES.items():
        value = getattr(options, name)
        if value is not None and not low <= value <= high:
            raise InputError(f"{name} lies between {low} and {high}, not {value}")
    for name, words in _WORDS.items():
        value = getattr(options, name)
        if value is not None and value not in words:
            raise InputError(f"{name} is one of {', '.join(words)}, not {value!r}")
