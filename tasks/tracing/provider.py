"""
OpenTelemetry behind `tasks.tracing.spans`: the only module that imports it, and only if traces are exported.

The provider is private: it is not OpenTelemetry's global one, so libraries with instrumentation of their own,
Prefect above all, record nothing. Their attributes would hold names of files.
"""

import logging
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
)

from tasks.settings.tracing import TracingSettings
from tasks.tracing.handle import Attributes, SpanHandle, Value, safe_attributes
from tasks.tracing.traceparent import TraceParent

_EXPORT_EVERY_MS: Final = 5000
"""A request to the collector takes 5 ms of CPU time: as much as a hundred spans."""
_EXPORT_LIMIT_S: Final = 3
_QUEUED_SPANS: Final = 8192
_KINDS: Final = {kind.name.lower(): kind for kind in SpanKind}
_NANOSECONDS: Final = 1_000_000_000


class Tracing:
    """The tracer of this process."""

    def __init__(self, settings: TracingSettings, service: str) -> None:
        """
        Start the thread that exports spans.

        Args:
            settings: settings with an endpoint.
            service:  name of the service.
        """
        exporter = OTLPSpanExporter(
            endpoint=f"{settings.endpoint}/v1/traces", headers=settings.header_items, timeout=_EXPORT_LIMIT_S
        )
        self._provider = TracerProvider(
            resource=Resource.create({"service.name": service}),
            sampler=ParentBased(TraceIdRatioBased(settings.sample_ratio)),
            shutdown_on_exit=False,  # an exit must not wait for a collector that is away
        )
        self._provider.add_span_processor(
            BatchSpanProcessor(exporter, max_queue_size=_QUEUED_SPANS, schedule_delay_millis=_EXPORT_EVERY_MS)
        )
        self._tracer = self._provider.get_tracer("musetalk-flows")
        # one line when the collector is away would come every five seconds, with a traceback
        logging.getLogger("opentelemetry.exporter").setLevel(logging.CRITICAL)

    @contextmanager
    def span(
        self,
        name: str,
        attributes: dict[str, Value],
        kind: str,
        parent: TraceParent | None,
        link: TraceParent | None,
        *,
        root: bool,
    ) -> Generator[SpanHandle]:
        """Record a span; see `tasks.tracing.spans.span`."""
        context: Context | None = None  # the current one
        if root:
            context = Context()
        elif parent is not None:
            context = _context_of(parent)
        links = [Link(_span_context(link))] if link is not None else []
        with self._tracer.start_as_current_span(
            name,
            context,
            _KINDS[kind],
            attributes,
            links,
            record_exception=False,  # messages and tracebacks hold texts of users
            set_status_on_exception=False,
        ) as span:
            handle = _Handle(span)
            try:
                yield handle
            except BaseException as error:
                handle.fail(str(getattr(error, "code", None) or type(error).__name__))
                raise

    def begin_child(self, name: str, attributes: dict[str, Value], kind: str) -> Callable[[bool], None]:
        """Begin a span under the current one; see `tasks.tracing.spans.begin_child`."""
        if not trace.get_current_span().get_span_context().is_valid:
            return lambda _: None
        span = self._tracer.start_span(name, kind=_KINDS[kind], attributes=attributes)

        def end(succeeded: bool) -> None:
            if not succeeded:
                span.set_status(Status(StatusCode.ERROR))
            span.end()

        return end

    def past_span(
        self, name: str, attributes: dict[str, Value], start_s: float, end_s: float, parent: TraceParent
    ) -> None:
        """Record a span that has ended."""
        span = self._tracer.start_span(
            name, _context_of(parent), attributes=attributes, start_time=int(start_s * _NANOSECONDS)
        )
        span.end(int(max(start_s, end_s) * _NANOSECONDS))

    @staticmethod
    def add_event(name: str, attributes: dict[str, Value]) -> None:
        """Add an event to the current span."""
        trace.get_current_span().add_event(name, attributes)

    @staticmethod
    def current() -> TraceParent | None:
        """Return the current span."""
        return _traceparent(trace.get_current_span())

    def flush(self, limit_s: float) -> None:
        """Send the spans that have ended."""
        self._provider.force_flush(int(limit_s * 1000))


class _Handle:
    """A span that is recorded."""

    def __init__(self, span: Span) -> None:
        self._span = span

    @property
    def parent_of_others(self) -> TraceParent | None:
        """The span as the parent of spans in other processes."""
        return _traceparent(self._span)

    def rename(self, name: str) -> None:
        """Change the name."""
        self._span.update_name(name)

    def set(self, attributes: Attributes) -> None:
        """Add attributes."""
        self._span.set_attributes(safe_attributes(attributes))

    def fail(self, code: str) -> None:
        """Mark it as failed."""
        self._span.set_status(Status(StatusCode.ERROR))
        self.set({"error.code": code})


def _traceparent(span: Span) -> TraceParent | None:
    context = span.get_span_context()
    if not context.is_valid:
        return None
    return TraceParent(f"{context.trace_id:032x}", f"{context.span_id:016x}", context.trace_flags.sampled)


def _span_context(parent: TraceParent) -> SpanContext:
    flags = TraceFlags(TraceFlags.SAMPLED if parent.is_sampled else TraceFlags.DEFAULT)
    return SpanContext(int(parent.trace_id, 16), int(parent.span_id, 16), is_remote=True, trace_flags=flags)


def _context_of(parent: TraceParent) -> Context:
    return trace.set_span_in_context(NonRecordingSpan(_span_context(parent)), Context())
