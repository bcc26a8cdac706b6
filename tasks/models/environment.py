"""The device and libraries that compute a result, for cache keys of results that depend on rounding."""

from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from tasks.models.engines import runtime_config


def computing_environment(*distributions: str) -> dict[str, Any]:
    """
    Return device, precision and library versions of this machine as JSON values.

    Decoding a text turns a different rounding into different words, so that each of them decides the result.

    Args:
        distributions: names of the Python packages that compute the result.

    Raises:
        InputError: the machine has no device as the settings name it.
    """
    from musetalk_core.runtime.device import choose_device

    runtime = runtime_config()
    device = choose_device(runtime.device, runtime.precision)
    return {"device": device.name, "libraries": library_versions(*distributions)}


def library_versions(*distributions: str) -> dict[str, str | None]:
    """Return the versions of Python packages, whose models are part of them; None: not installed."""
    return {name: _version(name) for name in distributions}


@cache
def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
