"""Compatibility: MuseTalk version and options of a POST /inference body."""

from collections.abc import Mapping
from typing import Literal, Protocol

from api.problems import Problem
from flows.schemas import MuseTalkOptions, Version

KNOWN_MODELS: Mapping[str, Mapping[str, Version | None]] = {
    "vae_type": {"sd-vae": None, "sd-vae-ft-mse": None},
    "unet_config": {
        "./models/musetalk/musetalk.json": None,  # the documented default; the field `version` applies
        "./models/musetalkV15/musetalk.json": "v15",
        "musetalk-v1": "v1",
        "musetalk-v15": "v15",
    },
    "unet_model_path": {
        "./models/musetalk/pytorch_model.bin": None,
        "./models/musetalkV15/unet.pth": "v15",
        "musetalk-v1": "v1",
        "musetalk-v15": "v15",
    },
    "whisper_dir": {"./models/whisper": None, "whisper-tiny": None},
}
"""Accepted model paths per field and the MuseTalk version that each selects. The paths are not opened."""


class MuseTalkBody(Protocol):
    """The fields of a body that are used here, besides model paths."""

    @property
    def model_fields_set(self) -> set[str]:
        """Names of the fields that were sent."""
        ...

    version: Version
    bbox_shift: int
    extra_margin: int
    audio_padding_length_left: int
    audio_padding_length_right: int
    parsing_mode: Literal["jaw", "raw", "neck"]
    left_cheek_width: int
    right_cheek_width: int


def resolve_version(body: MuseTalkBody) -> Version:
    """
    Return the MuseTalk version of a body; a model path takes precedence over `version`.

    Raises:
        Problem: an unknown model path, or two paths of different versions.
    """
    requested: set[Version] = set()
    for field, versions in KNOWN_MODELS.items():
        value: str = getattr(body, field)
        if value not in versions:
            names = ", ".join(versions)
            raise Problem("unknown_model", f"{field} {value[:80]!r} is not a known model. Known: {names}.")
        path_version = versions[value]
        if path_version is not None:
            requested.add(path_version)
    if len(requested) > 1:
        raise Problem("invalid_input", "unet_config and unet_model_path name different versions of MuseTalk")
    return requested.pop() if requested else body.version


def to_options(
    body: MuseTalkBody, version: Version, avatar_shift: int | None
) -> tuple[MuseTalkOptions, list[str]]:
    """
    Return a body's MuseTalk options, and the fields that were sent but belong to the other version.

    Args:
        body:         the request's body.
        version:      result of `resolve_version`.
        avatar_shift: the avatar's own `bbox_shift`, which overrides the body's.
    """
    shift = body.bbox_shift if avatar_shift is None else avatar_shift
    left, right = body.audio_padding_length_left, body.audio_padding_length_right
    if version == "v1":
        v15_fields = {"extra_margin", "parsing_mode", "left_cheek_width", "right_cheek_width"}
        options = MuseTalkOptions(bbox_shift=shift, audio_padding_left=left, audio_padding_right=right)
        return options, sorted(v15_fields & body.model_fields_set)
    options = MuseTalkOptions(
        extra_margin=body.extra_margin,
        mask_mode=body.parsing_mode,
        left_cheek_width=body.left_cheek_width,
        right_cheek_width=body.right_cheek_width,
        audio_padding_left=left,
        audio_padding_right=right,
    )
    return options, ["bbox_shift"] if shift else []
