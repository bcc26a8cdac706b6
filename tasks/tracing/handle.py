"""
Types of spans, and their attributes: a fixed list of names, and values that cannot be texts of users.

Imports nothing of OpenTelemetry.
"""

import re
from collections.abc import Mapping
from typing import Final, Literal, Protocol

from tasks.tracing.traceparent import TraceParent

AttributeName = Literal[
    "attempt.result",
    "aws.operation",
    "cache.step",
    "error.code",
    "flow",
    "http.method",
    "http.route",
    "http.status_code",
    "job",
    "phase",
    "pool",
    "program",
    "task",
    "webhook.attempt",
    "webhook.event",
    "webhook.outcome",
    "worker.child",
]
"""All attributes that spans may have."""
Value = str | int | float | bool
_PLAIN: Final = re.compile(r"[A-Za-z0-9_./{}:-]{1,100}")
"""Identifiers, route templates and numbers; no spaces, so no sentences."""


SpanKind = Literal["internal", "server", "client", "producer", "consumer"]
Attributes = Mapping[AttributeName, Value | None]
NO_ATTRIBUTES: Final[Attributes] = {}


class SpanHandle(Protocol):
    """A span that has begun."""

    @property
    def parent_of_others(self) -> TraceParent | None:
        """The span as the parent of spans in other processes; None while nothing is traced."""
        ...

    def rename(self, name: str) -> None:
        """Change the name; a name holds no ids and no texts."""
        ...

    def set(self, attributes: Attributes) -> None:
        """Add attributes."""
        ...

    def fail(self, code: str) -> None:
        """Mark it as failed with an error code, never with the message of an error."""
        ...


def safe_attributes(attributes: Attributes) -> dict[str, Value]:
    """Return the attributes with `musetalk.` before their names, without texts that are no identifiers."""
    return {
        f"musetalk.{name}": value
        for name, value in attributes.items()
        if value is not None and (not isinstance(value, str) or _PLAIN.fullmatch(value))
    }
