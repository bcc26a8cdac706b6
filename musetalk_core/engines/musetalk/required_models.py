"""Names of the models that the MuseTalk engine requires. Imports no library, so that checks are cheap."""

from collections.abc import Collection
from typing import Final, Literal

from musetalk_core.engines.musetalk.options import PRESETS, RestoreMode, Version

VAE, WHISPER, PARSER, POSE, FACE_DETECTOR = "sd-vae", "whisper-tiny", "face-parse", "dwpose", "s3fd"
_POSE_MODELS: Final = (POSE, FACE_DETECTOR)
RESTORATION_MODELS: Final[dict[RestoreMode, str]] = {"gfpgan": "gfpgan-1.4", "codeformer": "codeformer"}
"""The model of each restoration that needs one."""


def resolve_landmark_model(
    requested: Literal["auto", "dwpose", "mesh"], installed: Collection[str]
) -> Literal["dwpose", "mesh"]:
    """
    Return the landmark model to use.

    Args:
        requested: setting `models.landmarks`; `auto` is dwpose if it is installed, else the bundled mesh.
        installed: names of the installed models.
    """
    if requested != "auto":
        return requested
    return "dwpose" if set(_POSE_MODELS) <= set(installed) else "mesh"


def required_models(
    version: Version, landmarks: Literal["auto", "dwpose", "mesh"], installed: Collection[str]
) -> tuple[str, ...]:
    """
    Return the names of the models without which the engine cannot render.

    Args:
        version:   MuseTalk version.
        landmarks: setting `models.landmarks`.
        installed: names of the installed models.
    """
    # with pose landmarks there is no face mesh, so the face masks need the parser
    with_pose = (*_POSE_MODELS, PARSER) if resolve_landmark_model(landmarks, installed) == "dwpose" else ()
    return (PRESETS[version].model, VAE, WHISPER, *with_pose)
