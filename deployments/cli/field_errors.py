"""Validation errors of job parameters in the words of the command line: the option, and what it expects."""

import json
import re
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from deployments.cli.errors import UsageError
from deployments.cli.suggestions import did_you_mean, join_words, nested_schema, parameter_paths

OPTIONS: Final[Mapping[str, str]] = {
    "video": "--video",
    "audio": "--audio",
    "image": "--image",
    "text": "--text",
    "reference_audio": "--reference",
    "control.priority": "--priority",
    "control.tags": "--tag",
    "control.notify": "--notify",
    "control.notify.url": "--notify",
}
"""Parameters that have an option of their own; `--set` sets all others."""
HIDDEN_ENGINES: Final = frozenset({"fake"})
"""Engines that messages do not offer, because they are for tests."""
_MAX_PROBLEMS: Final = 10


def option_name(location: Sequence[int | str]) -> str:
    """Return the option that sets a parameter: `--video`, or `--set encode.crf`."""
    path = ".".join(map(str, location))
    without_index = ".".join(str(part) for part in location if not str(part).isdigit())
    return OPTIONS.get(without_index, f"--set {path}")


def describe_errors(job_type: str, schema: type[BaseModel], errors: Sequence[Any]) -> list[str]:
    """
    Describe validation errors of a job's parameters.

    Args:
        job_type: name of the job type.
        schema:   its request schema.
        errors:   errors as pydantic lists them, `loc` relative to the job.

    Returns:
        One sentence per error, at most ten.
    """
    sentences = dict.fromkeys(_describe(job_type, schema, error) for error in errors)
    return list(sentences)[:_MAX_PROBLEMS]


@contextmanager
def described_rejection(pipeline: Mapping[str, Any] | None = None) -> Generator[None]:
    """
    Describe the fields of a request that the API rejects by their options.

    Args:
        pipeline: body of the request if it is a pipeline; its fields are described by step and parameter.

    Raises:
        UsageError: the request was rejected; one line per field, at most ten.
    """
    from api.client import RequestRejected

    try:
        yield
    except RequestRejected as error:
        if not error.errors:
            raise
        lines = [_describe_pointer(one, pipeline) for one in error.errors][:_MAX_PROBLEMS]
        raise UsageError("\n".join(f"{line} [{error.code}]" for line in lines)) from error


def _describe_pointer(error: Mapping[str, str], pipeline: Mapping[str, Any] | None) -> str:
    location = [part for part in str(error.get("pointer", "")).removeprefix("#").split("/") if part]
    detail = error.get("detail", "").removeprefix("Input should be ")
    if not location:
        return detail
    place = option_name(location) if pipeline is None else _place_in_pipeline(location, pipeline)
    return f"{place}: {detail}"


def _place_in_pipeline(location: Sequence[str], pipeline: Mapping[str, Any]) -> str:
    """Return `step b, image` for the pointer #/steps/1/job/image; steps without a name have their number."""
    if location[0] != "steps" or len(location) == 1:
        return ".".join(location)
    number = int(location[1])
    step = pipeline["steps"][number]
    name = (step.get("name") if isinstance(step, dict) else None) or f"number {number + 1}"
    rest = list(location[2:])
    field = ".".join(rest[1:] if rest[:1] == ["job"] else rest)
    return f"step {name}, {field}" if field else f"step {name}"


def _describe(job_type: str, schema: type[BaseModel], error: Mapping[str, Any]) -> str:
    location, kind = list(error["loc"]), str(error["type"])
    owner, field = _find_field(schema, location)
    if kind == "extra_forbidden":
        return _describe_unknown(job_type, schema, owner, location)
    if kind == "missing":
        option = option_name(location)
        example = f" {_example(field)}" if field is not None and option.startswith("--set") else " FILE"
        return (
            f"{job_type} requires {option}" + (f"={example.strip()}" if "--set" in option else example) + "."
        )
    message = str(error["msg"]).removeprefix("Value error, ")
    if not location:
        return f"{job_type}: {message.rstrip('.')}{_options_in(message, schema, location, error)}."
    if (nested := nested_schema(owner, str(location[-1]))) is not None and kind == "value_error":
        message = f"{message.rstrip('.')}{_options_in(message, nested, location, error)}"
    return f"{option_name(_known_part(schema, location))}: {_expectation(kind, message, error, field)}"


def _options_in(
    message: str, schema: type[BaseModel], prefix: Sequence[Any], error: Mapping[str, Any]
) -> str:
    """Return ` (--audio, --text)` for the fields in a message; those that were given only if all were."""
    given = error.get("input")
    named = [name for name in schema.model_fields if re.search(rf"\b{name}\b", message)]
    absent = [name for name in named if not isinstance(given, Mapping) or name not in given]
    options = [option_name([*prefix, name]) for name in absent or named]
    return f" ({', '.join(options)})" if options else ""


def _describe_unknown(
    job_type: str, schema: type[BaseModel], owner: type[BaseModel], location: list[Any]
) -> str:
    prefix, name = ".".join(map(str, location[:-1])), str(location[-1])
    siblings = {other: f"{prefix}.{other}".lstrip(".") for other in owner.model_fields}
    nested = [other for other in parameter_paths(schema) if other.rpartition(".")[2] == name]
    hint = f" Did you mean {nested[0]}?" if nested else did_you_mean(name, siblings)
    if hint and not nested and prefix:
        hint = hint.replace("Did you mean ", f"Did you mean {prefix}.")
    names = ", ".join(siblings.values())
    return f"{job_type} has no parameter {f'{prefix}.{name}'.lstrip('.')}.{hint or f' Parameters: {names}.'}"


def _expectation(kind: str, message: str, error: Mapping[str, Any], field: FieldInfo | None) -> str:
    example = f", for example {_example(field)}" if _example(field) else ""
    if kind in {"tuple_type", "list_type", "set_type"}:
        return f"expected a JSON list{example}."
    if kind in {"model_type", "model_attributes_type", "dict_type"}:
        return f"expected a JSON object{example}."
    if kind in {"literal_error", "enum"}:
        choices = _expected_choices(error)
        return f"expected {join_words(choices)}.{did_you_mean(str(error.get('input')), choices)}"
    if kind.startswith(("int_", "float_", "bool_", "decimal_")):
        noun = {"int": "a whole number", "bool": "true or false"}.get(kind.partition("_")[0], "a number")
        return f"expected {noun}{'' if kind.startswith('bool') else example}."
    if kind in {"string_too_short", "string_type"}:
        nature = " that is not empty" if kind == "string_too_short" else ""
        return f"expected text{nature}{example}".rstrip(".") + "."
    return message.replace("Input should be", "expected a value").replace("should", "must").rstrip(".") + "."


def _expected_choices(error: Mapping[str, Any]) -> list[str]:
    expected = str((error.get("ctx") or {}).get("expected", ""))
    choices = [part.strip("'") for part in expected.replace(" or ", ", ").split(", ")]
    return [choice for choice in choices if choice not in HIDDEN_ENGINES]


def _find_field(schema: type[BaseModel], location: Sequence[Any]) -> tuple[type[BaseModel], FieldInfo | None]:
    """Return the field at a location and the schema that owns it; None for an unknown field."""
    owner, field = schema, None
    for part in location:
        if not isinstance(part, str) or part not in owner.model_fields:
            return owner, field if not isinstance(part, str) else None
        field = owner.model_fields[part]
        if (nested := nested_schema(owner, part)) is not None and part != location[-1]:
            owner = nested
    return owner, field


def _known_part(schema: type[BaseModel], location: Sequence[Any]) -> list[Any]:
    """Return the location up to its last parameter or index, without the parts that name a union's member."""
    owner: type[BaseModel] | None = schema
    known: list[Any] = []
    for part in location:
        if isinstance(part, int) or (owner is not None and part in owner.model_fields):
            known.append(part)
            owner = nested_schema(owner, part) if owner is not None and isinstance(part, str) else None
    return known


def _example(field: FieldInfo | None) -> str:
    """Return a value as it can be written after `--set NAME=`; empty if none is known."""
    if field is None:
        return ""
    examples: list[Any] = list(field.examples or ())
    if not examples and isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
        nested = field.annotation.model_fields
        name = next((one for one, info in nested.items() if info.examples), None)
        examples = [{name: (nested[name].examples or [None])[0]}] if name else []
    if not examples:
        return ""
    value = examples[0]
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
