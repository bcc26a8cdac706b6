"""Suggestions for misspelled words: job types, parameters, options and values."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from deployments.cli.errors import UsageError

if TYPE_CHECKING:
    from pydantic import BaseModel


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ` Did you mean …?` for the known word that is most similar to a word; empty if none is."""
    from difflib import get_close_matches

    matches = get_close_matches(word.lower(), list(known), n=1, cutoff=0.6)
    return f" Did you mean {matches[0]}?" if matches else ""


def require_choice(option: str, value: str, choices: Sequence[str]) -> None:
    """
    Check the value of an option.

    Args:
        option:  option as it is written, for example `--status`.
        value:   value that was given.
        choices: accepted values.

    Raises:
        UsageError: the value is not accepted; the message suggests a similar one.
    """
    if value not in choices:
        raise UsageError(f"{option}: expected {join_words(choices)}.{did_you_mean(value, choices)}")


def join_words(words: Iterable[str]) -> str:
    """Return words as an enumeration: `a, b or c`."""
    *most, last = words
    return f"{', '.join(most)} or {last}" if most else last


def parameter_paths(schema: "type[BaseModel]", prefix: str = "") -> Iterator[str]:
    """Yield the names of all parameters of a job as `--set` takes them, for example `encode.crf`."""
    for name, field in schema.model_fields.items():
        yield prefix + name
        if (nested := nested_schema(schema, name)) is not None and field.annotation is nested:
            yield from parameter_paths(nested, f"{prefix}{name}.")


def nested_schema(schema: "type[BaseModel]", name: str) -> "type[BaseModel] | None":
    """Return the schema of a field that is an object; None for any other field."""
    from pydantic import BaseModel

    field = schema.model_fields.get(name)
    annotation = field.annotation if field is not None else None
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None
