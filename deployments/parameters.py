"""Job parameters out of command line words."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from api.client import ApiError
from flows.registry import JOB_TYPES


def job_parameters(job_type: str, given: Mapping[str, str | None], more: Sequence[str]) -> dict[str, Any]:
    """
    Collect the parameters of a job.

    Args:
        job_type: its type.
        given:    parameters with an option of their own; None where it was not used.
        more:     `name=value`, where dots lead into groups and a value is JSON if it can be read as such.

    Raises:
        ApiError: the type is unknown, a parameter is not one of its, or `name=value` is not written so.
    """
    if job_type not in JOB_TYPES:
        raise ApiError(f"There is no job type {job_type}; there are {', '.join(JOB_TYPES)}.")
    parameters: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if str(parameters.get("text", "")).startswith("@"):
        parameters["text"] = _read_text(Path(parameters["text"][1:]))
    for item in more:
        name, separator, value = item.partition("=")
        if not separator or not name:
            raise ApiError(f"--set takes NAME=VALUE, not {item!r}.")
        _put(parameters, name, _value(value))
    known = JOB_TYPES[job_type].job.model_fields
    for name in parameters:
        if name not in known:
            raise ApiError(f"{job_type} has no parameter {name}; it has {', '.join(known)}.")
    return parameters


def _read_text(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ApiError(f"The words in {path} cannot be read ({type(error).__name__}).") from error


def _put(parameters: dict[str, Any], name: str, value: Any) -> None:
    *groups, last = name.split(".")
    inside: Any = parameters
    for part in groups:
        inside = inside.setdefault(part, {})
        if not isinstance(inside, dict):
            raise ApiError(f"--set {name}: {part} was given a value of its own before.")
    inside[last] = value


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
