"""The W3C traceparent: trace id, id of the parent span and the sampling decision, as one line of text."""

import re
from dataclasses import dataclass
from typing import Any, Final, Self

TRACE_LABEL: Final = "musetalk.traceparent"
"""Label of a flow run: the span to which its spans belong. Labels are in no cache key or idempotency key."""
TRACEPARENT_HEADER: Final = "traceparent"
_PATTERN: Final = re.compile(r"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")


def trace_labels(span: object) -> dict[str, Any]:
    """Return the labels of a flow run below a span, a TraceParent or its text; none for None."""
    return {TRACE_LABEL: str(span)} if span else {}


@dataclass(frozen=True, slots=True)
class TraceParent:
    """A span of another process."""

    trace_id: str
    span_id: str
    is_sampled: bool

    def __str__(self) -> str:
        """Return the header value."""
        return f"00-{self.trace_id}-{self.span_id}-{'01' if self.is_sampled else '00'}"

    @classmethod
    def parse(cls, text: object) -> Self | None:
        """Return the span that a header or a label names; None if it is missing or not valid."""
        match = _PATTERN.fullmatch(text) if isinstance(text, str) else None
        if match is None:
            return None
        trace_id, span_id, flags, more = match.groups()
        if not trace_id.strip("0") or not span_id.strip("0") or (more and str(text).startswith("00")):
            return None
        return cls(trace_id, span_id, bool(int(flags, 16) & 1))
