"""Spans: parents, links, sampling, nothing of users in attributes, and nothing at all without an endpoint."""

import asyncio
import json
import subprocess
import sys
import time

import pytest
from otlp_sink import collecting

from musetalk_core.errors import InputError
from tasks.settings import get_settings
from tasks.tracing import spans
from tasks.tracing.spans import add_event, current_traceparent, flush, is_on, past_span, span
from tasks.tracing.traceparent import TraceParent

GIVEN = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def forget():
    get_settings.cache_clear()
    spans._tracing.cache_clear()


@pytest.fixture
def sink():
    with collecting() as sink:
        yield sink


@pytest.fixture
def traced(sink, monkeypatch, tmp_path):
    """Let this process send its spans to the sink; gives a function that waits for them."""
    monkeypatch.setenv("MUSETALK_HOME", str(tmp_path))
    monkeypatch.setenv("MUSETALK_TRACING__ENDPOINT", sink.url)
    monkeypatch.setenv("MUSETALK_TRACING__HEADERS", "x-key=secret")
    forget()

    def read():
        flush()
        return {one.name: one for one in sink.spans}

    yield read
    spans._tracing()._provider.shutdown()
    forget()


def test_spans_nest_over_threads_and_processes(traced, sink):
    with span("request", {"http.method": "POST"}, kind="server", parent=GIVEN) as request:
        with span("inner"):
            asyncio.run(in_a_thread())
        carried = str(request.parent_of_others)
        assert current_traceparent() == request.parent_of_others
    assert current_traceparent() is None
    with span("run", parent=carried):
        pass
    found = traced()
    assert {one.trace for one in found.values()} == {TraceParent.parse(GIVEN).trace_id}
    assert found["request"].parent == TraceParent.parse(GIVEN).span_id
    assert found["thread"].parent == found["inner"].id and found["inner"].parent == found["request"].id
    assert found["run"].parent == found["request"].id
    assert found["request"].attributes == {"musetalk.http.method": "POST"}
    assert sink.headers["x-key"] == "secret"


async def in_a_thread():
    def work():
        with span("thread"):
            pass

    await asyncio.to_thread(work)


def test_a_root_with_a_link_begins_a_trace(traced):
    with span("batch") as batch, span("row", root=True, link=batch.parent_of_others):
        pass
    found = traced()
    assert found["row"].trace != found["batch"].trace and found["row"].parent == ""
    assert found["row"].links == ((found["batch"].trace, found["batch"].id),)


def test_errors_are_codes_without_messages(traced, sink):
    with pytest.raises(InputError), span("known"):
        raise InputError("the file anna.mp4 of s3://secret-bucket is broken")
    with pytest.raises(ZeroDivisionError), span("unknown"):
        _ = 1 / 0
    found = traced()
    assert found["known"].failed and found["known"].attributes == {"musetalk.error.code": InputError.code}
    assert found["unknown"].attributes == {"musetalk.error.code": "ZeroDivisionError"}
    assert found["known"].events == () and b"anna" not in b"".join(sink.raw)


def test_texts_of_users_are_no_attributes(traced, sink):
    with span(
        "x", {"job": "Hello dear customer", "flow": "lip_sync", "http.route": "/v1/jobs/{job_id}"}
    ) as one:
        one.set(
            {
                "task": "https://example.org/a?signature=abc",
                "phase": "a" * 101,
                "worker.child": 3,
                "pool": None,
            }
        )
        add_event("cached", {"cache.step": "render"})
    found = traced()["x"]
    assert found.attributes == {
        "musetalk.flow": "lip_sync",
        "musetalk.http.route": "/v1/jobs/{job_id}",
        "musetalk.worker.child": 3,
    }
    assert found.events == (("cached", (("musetalk.cache.step", "render"),)),)
    assert b"customer" not in b"".join(sink.raw) and b"signature" not in b"".join(sink.raw)


def test_past_spans_have_their_times(traced):
    past_span("queue", {"pool": "gpu"}, start_s=1000.5, end_s=1002.0, parent=GIVEN)
    past_span("unowned", {}, start_s=1.0, end_s=2.0, parent="nonsense")
    found = traced()
    assert (found["queue"].start_s, found["queue"].end_s) == (1000.5, 1002.0) and "unowned" not in found


def test_the_caller_s_decision_and_the_ratio_hold(traced, monkeypatch):
    with span("not sampled", parent=GIVEN.removesuffix("01") + "00") as one:
        assert not one.parent_of_others.is_sampled  # others are told so
    assert traced() == {}
    monkeypatch.setenv("MUSETALK_TRACING__SAMPLE_RATIO", "0")
    spans._tracing()._provider.shutdown()
    forget()
    with span("none"):
        pass
    with span("asked for", parent=GIVEN):
        pass
    assert list(traced()) == ["asked for"]


@pytest.mark.parametrize(
    "text",
    [
        None,
        7,
        "",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
        GIVEN + "\n",
    ],
)
def test_invalid_traceparents_count_as_none(text):
    assert TraceParent.parse(text) is None


def test_valid_traceparents_are_read():
    assert str(TraceParent.parse(GIVEN)) == GIVEN
    assert TraceParent.parse("01" + GIVEN[2:] + "-of-a-later-version") == TraceParent.parse(GIVEN)


def test_without_an_endpoint_nothing_is_imported_and_spans_do_nothing():
    code = """
import json, sys, time
import tasks.run.reports, flows.lip_sync, api.main
from tasks.tracing.spans import current_traceparent, is_on, span
with span("x", {"flow": "y"}) as one:
    assert one.parent_of_others is None and current_traceparent() is None
start = time.thread_time()
for _ in range(1000):
    with span("x"):
        pass
ours = ("opentelemetry.sdk", "opentelemetry.exporter", "opentelemetry.proto")
names = [name for name in sys.modules if name.startswith(ours)]
print(json.dumps([is_on(), names, time.thread_time() - start]))
"""
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    on, names, seconds = json.loads(shown.splitlines()[-1])
    assert not on and names == [] and seconds / 1000 < 0.0002


def test_a_collector_that_is_away_delays_nothing(traced, monkeypatch):
    monkeypatch.setenv("MUSETALK_TRACING__ENDPOINT", "http://127.0.0.1:9")
    spans._tracing()._provider.shutdown()
    forget()
    start = time.monotonic()
    for _ in range(200):
        with span("x"):
            pass
    assert time.monotonic() - start < 1.0 and is_on()
