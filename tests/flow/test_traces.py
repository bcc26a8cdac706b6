"""A real run of a flow in this process: its spans, their parents, and what they cost."""

import threading
import time

import pytest
from otlp_sink import traced_process

from flows.schemas.speech import SpeechJob
from flows.speech import speech
from tasks.tracing import provider, spans

TEXT = "My mother bought five big blue balloons. Was it better?"


@pytest.fixture
def sink(home, monkeypatch):
    """A collector that gets the spans of this process."""
    with traced_process(monkeypatch, "musetalk-run") as sink:
        yield sink


def test_a_run_is_one_trace_from_flow_to_ffmpeg(sink):
    speech(SpeechJob(text=TEXT))
    spans.flush(10)
    [flow] = sink.named("flow")
    below = sink.descendants(flow)
    assert {one.trace for one in sink.spans} == {flow.trace} and len(below) == len(sink.spans) - 1
    tasks = {one.name for one in sink.children(flow)}
    assert tasks >= {"task speak_sentence", "task join_sentences", "task encode_speech", "task upload"}
    [encode] = sink.named("task encode_speech")
    assert [one.name for one in sink.descendants(encode)] == ["phase encode", "ffmpeg"]
    assert all(flow.start_s <= one.start_s <= one.end_s <= flow.end_s + 0.01 for one in below)
    assert not any(one.failed for one in sink.spans)

    sink.spans.clear()
    speech(SpeechJob(text=TEXT))
    spans.flush(10)
    [flow] = sink.named("flow")
    assert "task encode_speech" not in {one.name for one in sink.spans}
    assert ("cached", (("musetalk.cache.step", "encode"),)) in flow.events


def test_no_text_of_the_job_leaves_the_process(sink):
    speech(SpeechJob(text=TEXT, output={"name": "invoice 17 of Ms Miller"}))
    spans.flush(10)
    sent = b"".join(sink.raw)
    assert sent and not any(word in sent for word in (b"balloons", b"Miller", b"invoice", b".mp3"))


@pytest.mark.slow
def test_traces_take_less_than_a_hundredth_of_the_cpu_time(sink, monkeypatch):
    """Time in spans and in the thread that exports, against that of the run in the same process."""
    spent = {"spans": 0.0}
    lock = threading.Lock()

    def timed(method):
        def call(self, *args, **more):
            start = time.thread_time()
            try:
                return method(self, *args, **more)
            finally:
                with lock:
                    spent["spans"] += time.thread_time() - start

        return call

    tracer = spans._tracing()._tracer
    monkeypatch.setattr(type(tracer), "start_span", timed(type(tracer).start_span))
    processor = spans._tracing()._provider._active_span_processor
    monkeypatch.setattr(type(processor), "on_end", timed(type(processor).on_end))
    exporter_type = provider.OTLPSpanExporter
    monkeypatch.setattr(exporter_type, "export", timed(exporter_type.export))

    speech(SpeechJob(text=TEXT))  # the first export opens a connection
    spans.flush(10)
    spent["spans"] = 0.0
    sink.spans.clear()
    text = " ".join(f"Sentence number {number} is spoken once." for number in range(20))
    before = time.process_time()
    speech(SpeechJob(text=text))
    spans.flush(10)
    used_s = time.process_time() - before
    assert len(sink.spans) >= 25
    print(f"{len(sink.spans)} spans: {spent['spans']:.4f} s of {used_s:.2f} s, {spent['spans'] / used_s:.2%}")
    assert spent["spans"] < 0.01 * used_s
