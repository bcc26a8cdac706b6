"""Choice of a job's rendering engine from the installed models. Light imports: the REST API uses it too."""

from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal

from musetalk_core.engines.musetalk.options import RestoreMode, Version
from musetalk_core.engines.musetalk.required_models import RESTORATION_MODELS, required_models
from musetalk_core.errors import ModelNotInstalled
from musetalk_core.installation import setup_command
from musetalk_core.warning_codes import WarningCode
from tasks.models.install import open_local_models
from tasks.settings import get_settings

if TYPE_CHECKING:
    from musetalk_core.engine_registry import EngineName


def choose_engine_name(
    requested: "Literal['auto'] | EngineName", version: Version, *, fallback: bool = False
) -> "tuple[EngineName, list[str]]":
    """
    Choose the engine of a job.

    Args:
        requested: the engine that the job names; `auto` is the engine of the settings, or else the best
            installed one.
        version:   MuseTalk version.
        fallback:  use the best installed engine, with a warning, if the requested one is not installed.

    Returns:
        The engine, and a warning if it is a substitute.

    Raises:
        ModelNotInstalled: the requested engine is not installed and `fallback` is off.
    """
    preference = get_settings().render.engine if requested == "auto" else requested
    if preference not in ("auto", "musetalk"):
        return preference, []
    error = _musetalk_error(version)
    if error is None:
        return "musetalk", []
    if preference == "auto":
        return "viseme", []
    if not fallback:
        raise ModelNotInstalled(
            f"{error}. Or set `fallback: true` to use the engine viseme.", **error.details
        )
    return "viseme", [
        WarningCode.MODEL_SUBSTITUTED(f"the engine musetalk is not installed; viseme was used. {error}")
    ]


def choose_restoration(requested: RestoreMode, *, fallback: bool = False) -> tuple[RestoreMode, list[str]]:
    """
    Choose how the faces of a job with the engine `musetalk` are restored.

    Args:
        requested: the restoration that the job names.
        fallback:  use `detail`, with a warning, if the requested one is not installed.

    Returns:
        The restoration, and a warning if it is a substitute.

    Raises:
        ModelNotInstalled: the requested restoration is not installed and `fallback` is off.
    """
    model = RESTORATION_MODELS.get(requested)
    if model is None:
        return requested, []
    try:
        open_local_models().find(model)
    except ModelNotInstalled as error:
        if not fallback:
            raise ModelNotInstalled(
                f"{error}. Or set `fallback: true` to use the restoration detail.", **error.details
            ) from error
        text = f"the restoration {requested} is not installed; detail was used. {error}"
        return "detail", [WarningCode.MODEL_SUBSTITUTED(text)]
    return requested, []


def _musetalk_error(version: Version) -> ModelNotInstalled | None:
    """Return why the engine musetalk cannot run here; None if it can."""
    local_models = open_local_models()
    if find_spec("torch") is None or find_spec("diffusers") is None:
        return ModelNotInstalled(
            f"The engine musetalk requires the packages of the extra neural. Run: {setup_command()}"
        )
    try:
        for name in required_models(
            version, get_settings().models.landmarks, local_models.installed_models()
        ):
            local_models.find(name)
    except ModelNotInstalled as error:
        return error
    return None
