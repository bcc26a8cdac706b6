"""Build job parameters from command-line options and `--set NAME=VALUE` assignments."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from api.client import ApiError
from flows.registry import JOB_TYPES


def collect_job_parameters(
    job_type: str, option_values: Mapping[str, str | None], assignments: Sequence[str]
) -> dict[str, Any]:
    """
    Return the parameters of a job as a nested dictionary.

    Args:
        job_type:      job type.
        option_values: parameters with their own command-line option; None for options that were not used. A
                       `text` that starts with `@` is read from that file.
        assignments:   `name=value` items. Dots in the name address nested objects; a value that is valid JSON
                       is parsed, any other is a string.

    Raises:
        ApiError: the job type is unknown, it has no such parameter, or an assignment is not `name=value`.
    """
    if job_type not in JOB_TYPES:
        raise ApiError(f"Unknown job type {job_type}. Job types: {', '.join(JOB_TYPES)}.")
    parameters: dict[str, Any] = {name: value for name, value in option_values.items() if value is not None}
    if str(parameters.get("text", "")).startswith("@"):
        parameters["text"] = _read_text(Path(parameters["text"][1:]))
    for item in assignments:
        name, separator, value = item.partition("=")
        if not separator or not name:
            raise ApiError(f"--set {item!r}: expected NAME=VALUE.")
        _set_nested(parameters, name, _parse_value(value))
    known_fields = JOB_TYPES[job_type].job.model_fields
    for name in parameters:
        if name not in known_fields:
            raise ApiError(f"{job_type} has no parameter {name}. Parameters: {', '.join(known_fields)}.")
    return parameters


def _read_text(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ApiError(f"The text file {path} cannot be read ({type(error).__name__}).") from error


def _set_nested(parameters: dict[str, Any], name: str, value: Any) -> None:
    *groups, last = name.split(".")
    target: Any = parameters
    for part in groups:
        target = target.setdefault(part, {})
        if not isinstance(target, dict):
            raise ApiError(f"--set {name}: {part} was already set to a value that is not an object.")
    target[last] = value


def _parse_value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
