"""
Spans of this project. Without `MUSETALK_TRACING__ENDPOINT` they do nothing and import nothing.

A span is current in its `with` block and in the coroutines, threads of `asyncio.to_thread` and Prefect tasks
that it starts. Between processes it travels as a traceparent.
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from tasks.settings import get_settings
from tasks.tracing.handle import NO_ATTRIBUTES, Attributes, SpanHandle, SpanKind, safe_attributes
from tasks.tracing.traceparent import TraceParent

if TYPE_CHECKING:
    from tasks.tracing.provider import Tracing


class _NoSpan:
    """The handle of a span that is not recorded."""

    parent_of_others: TraceParent | None = None

    def rename(self, name: str) -> None:
        """Do nothing."""

    def set(self, attributes: Attributes) -> None:
        """Do nothing."""

    def fail(self, code: str) -> None:
        """Do nothing."""


NO_SPAN: Final = _NoSpan()
"""The handle of a span that is not recorded."""
_process = "musetalk"


def name_process(service: str) -> None:
    """Name the service of this process, before its first span."""
    global _process
    _process = service


@lru_cache(maxsize=1)
def _tracing() -> "Tracing | None":
    settings = get_settings().tracing
    if settings.endpoint is None:
        return None
    from tasks.tracing.provider import Tracing

    return Tracing(settings, _process)


def is_on() -> bool:
    """Return whether spans are exported."""
    return _tracing() is not None


@contextmanager
def span(
    name: str,
    attributes: Attributes = NO_ATTRIBUTES,
    *,
    kind: SpanKind = "internal",
    parent: object = None,
    link: object = None,
    root: bool = False,
) -> Generator[SpanHandle]:
    """
    Measure the `with` block as a span. An exception marks it as failed with its code or class name.

    Args:
        name:       name of the span, of a small set: no ids and no texts.
        attributes: attributes, see `tasks.tracing.handle`.
        kind:       role of the span, for tools that draw services.
        parent:     traceparent of the parent, in place of the current span; an invalid one counts as none.
        link:       traceparent of a span that caused this one without being its parent.
        root:       begin a trace even if a span is current.
    """
    tracing = _tracing()
    if tracing is None:
        yield NO_SPAN
        return
    owner, cause = _parsed(parent), _parsed(link)
    with tracing.span(name, safe_attributes(attributes), kind, owner, cause, root=root) as recorded:
        yield recorded


def begin_child(name: str, attributes: Attributes, *, kind: SpanKind) -> Callable[[bool], None]:
    """
    Begin a span that is never current, under the current span; without one nothing is recorded.

    Args:
        name:       name of the span.
        attributes: attributes.
        kind:       role of the span.

    Returns:
        A function that ends it, from any thread; its argument is whether what it measures succeeded.
    """
    tracing = _tracing()
    return tracing.begin_child(name, safe_attributes(attributes), kind) if tracing else _end_nothing


def _end_nothing(_: bool) -> None:
    return


def past_span(name: str, attributes: Attributes, *, start_s: float, end_s: float, parent: object) -> None:
    """Record a span that has ended, with its times in seconds since the epoch."""
    if (tracing := _tracing()) is not None and (owner := _parsed(parent)) is not None:
        tracing.past_span(name, safe_attributes(attributes), start_s, end_s, owner)


def add_event(name: str, attributes: Attributes = NO_ATTRIBUTES) -> None:
    """Add an event to the current span."""
    if (tracing := _tracing()) is not None:
        tracing.add_event(name, safe_attributes(attributes))


def current_traceparent() -> TraceParent | None:
    """Return the current span; None if there is none, or nothing is traced."""
    tracing = _tracing()
    return tracing.current() if tracing else None


def flush(limit_s: float = 2.0) -> None:
    """Send the spans that have ended, for at most some seconds."""
    if (tracing := _tracing()) is not None:
        tracing.flush(limit_s)


def _parsed(value: object) -> TraceParent | None:
    return value if isinstance(value, TraceParent) else TraceParent.parse(value)
