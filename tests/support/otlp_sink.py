"""A collector on loopback: decodes what OTLP exporters send, and keeps the spans."""

import gzip
import logging
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class SinkSpan:
    """A span as it arrived."""

    service: str
    name: str
    trace: str
    id: str
    parent: str
    links: tuple
    attributes: dict
    events: tuple
    failed: bool
    start_s: float
    end_s: float


@dataclass
class Sink:
    """The spans so far, and the headers of the last request."""

    url: str = ""
    spans: list = field(default_factory=list)
    headers: dict = field(default_factory=dict)
    raw: list = field(default_factory=list)

    def named(self, name):
        return [span for span in self.spans if span.name == name]

    def children(self, parent):
        return [span for span in self.spans if span.parent == parent.id]

    def descendants(self, parent):
        found = self.children(parent)
        return found + [below for child in found for below in self.descendants(child)]

    def wait_for(self, *names, limit_s=30.0):
        deadline = time.monotonic() + limit_s
        while missing := [name for name in names if not self.named(name)]:
            assert time.monotonic() < deadline, (missing, sorted({span.name for span in self.spans}))
            time.sleep(0.05)


def attributes_of(pairs):
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}


def decode(body):
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
        service = attributes_of(resource.resource.attributes)["service.name"]
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield SinkSpan(
                    service,
                    span.name,
                    span.trace_id.hex(),
                    span.span_id.hex(),
                    span.parent_span_id.hex(),
                    tuple((link.trace_id.hex(), link.span_id.hex()) for link in span.links),
                    attributes_of(span.attributes),
                    tuple(
                        (event.name, tuple(attributes_of(event.attributes).items())) for event in span.events
                    ),
                    span.status.code == 2,
                    span.start_time_unix_nano / 1e9,
                    span.end_time_unix_nano / 1e9,
                )


@contextmanager
def collecting():
    """A collector for as long as the body runs."""
    sink = Sink()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            body = gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body
            sink.headers = {name.lower(): value for name, value in self.headers.items()}
            assert self.path == "/v1/traces", self.path
            sink.raw.append(body)
            sink.spans += list(decode(body))
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    sink.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield sink
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def traced_process(patch, service):
    """
    Let this process send its spans to a collector, as a service does, and undo all of it at the end.

    Args:
        patch:   the test's `MonkeyPatch`.
        service: name of the service.
    """
    from musetalk_core.runtime import program_observer
    from tasks.settings import get_settings
    from tasks.tracing import spans
    from tasks.tracing.hooks import trace_process

    records = logging.getLogRecordFactory()
    with collecting() as sink:
        patch.setenv("MUSETALK_TRACING__ENDPOINT", sink.url)
        get_settings.cache_clear()
        spans._tracing.cache_clear()
        trace_process(service)
        yield sink
        spans._tracing()._provider.shutdown()
    program_observer.set_program_observer(program_observer._observe_nothing)
    logging.setLogRecordFactory(records)
    patch.delenv("MUSETALK_TRACING__ENDPOINT")
    get_settings.cache_clear()
    spans._tracing.cache_clear()
