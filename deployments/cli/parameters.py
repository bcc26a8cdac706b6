"""Build and check job parameters from command-line options and `--set NAME=VALUE` assignments."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, cast

from pydantic import ValidationError

from api.local_files import map_media_fields, missing_file_message
from deployments.cli.errors import UsageError
from deployments.cli.field_errors import OPTIONS, describe_errors
from deployments.cli.suggestions import did_you_mean
from flows.registry import JOB_TYPES

_PLACEHOLDER: Final = "asset://00000000-0000-0000-0000-000000000000"
"""Stands for a local file that is not uploaded yet."""


def require_job_type(job_type: str) -> None:
    """
    Check that a job type exists.

    Raises:
        UsageError: it does not; the message suggests similar names.
    """
    if job_type not in JOB_TYPES:
        hint = did_you_mean(job_type.replace("-", "_"), JOB_TYPES)
        raise UsageError(f"Unknown job type {job_type}.{hint} Job types: {', '.join(JOB_TYPES)}.")


def collect_job_parameters(
    job_type: str,
    option_values: Mapping[str, str | None],
    assignments: Sequence[str],
    *,
    partial: bool = False,
) -> dict[str, Any]:
    """
    Return the parameters of a job as a nested dictionary, checked against the schema of the job type.

    Args:
        job_type:      job type.
        option_values: parameters with their own command-line option; None for options that were not used. A
                       `text` that starts with `@` is read from that file.
        assignments:   `name=value` items. Dots in the name address nested objects; a value that is valid JSON
                       is parsed, any other is a string.
        partial:       whether required parameters may be missing: they are set elsewhere.

    Raises:
        UsageError: the job type is unknown, a parameter is unknown or invalid, or an assignment is not
            `name=value`.
    """
    require_job_type(job_type)
    parameters: dict[str, Any] = {name: value for name, value in option_values.items() if value is not None}
    if str(parameters.get("text", "")).startswith("@"):
        parameters["text"] = _read_text(Path(parameters["text"][1:]))
    texts: dict[str, str] = {}
    for item in assignments:
        name, separator, value = item.partition("=")
        if not separator or not name:
            raise UsageError(f"--set {item!r}: expected NAME=VALUE, for example --set encode.crf=20.")
        texts[name] = value
        _set_nested(parameters, name, _parse_value(value))
    _check_option_names(job_type, option_values)
    return _checked(job_type, parameters, texts, partial=partial)


def _check_option_names(job_type: str, option_values: Mapping[str, str | None]) -> None:
    """Reject an option that the job type does not have, in the words of the option."""
    fields = JOB_TYPES[job_type].job.model_fields
    usable = [OPTIONS[name] for name in option_values if name in fields]
    for name, value in option_values.items():
        if value is not None and name not in fields:
            raise UsageError(
                f"{job_type} has no parameter {name}, so it does not take {OPTIONS[name]}. Its inputs:"
                f" {', '.join(usable) or 'see --set'}. All parameters: {', '.join(fields)}."
            )


def _checked(
    job_type: str, parameters: dict[str, Any], texts: Mapping[str, str], *, partial: bool
) -> dict[str, Any]:
    errors = _validation_errors(job_type, parameters)
    for error in errors:  # `output.name=5` is JSON, but the field takes text
        name = ".".join(map(str, error["loc"]))
        if error["type"] == "string_type" and name in texts:
            _set_nested(parameters, name, texts[name])
    remaining = [
        error
        for error in _validation_errors(job_type, parameters)
        if not (partial and (error["type"] == "missing" or not error["loc"]))
    ]
    if remaining:
        raise UsageError("\n".join(describe_errors(job_type, JOB_TYPES[job_type].job, remaining)))
    return parameters


def _validation_errors(job_type: str, parameters: Mapping[str, Any]) -> list[Any]:
    schema = JOB_TYPES[job_type].job

    def placeholder(value: str) -> str:
        return value if "://" in value or not value else _PLACEHOLDER

    try:
        schema.model_validate(map_media_fields(schema, parameters, placeholder))
    except ValidationError as error:
        return cast(list[Any], error.errors(include_url=False))
    return []


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise UsageError(f"--text: {missing_file_message(path)}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"--text: the file {path} is not text in UTF-8.") from error
    except OSError as error:
        raise UsageError(f"--text: the file {path} cannot be read ({error.strerror}).") from error


def _set_nested(parameters: dict[str, Any], name: str, value: Any) -> None:
    *groups, last = name.split(".")
    target: Any = parameters
    for part in groups:
        target = target.setdefault(part, {})
        if not isinstance(target, dict):
            raise UsageError(f"--set {name}: {part} was already set to a value that is not an object.")
    target[last] = value


def _parse_value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
