"""Spans of requests to buckets and of webhooks, and the traceparent that webhooks carry."""

from types import SimpleNamespace
from uuid import uuid4

import pytest
from otlp_sink import collecting

from flows.schemas.webhook import NotifyJob
from flows.webhooks.delivery import _webhook_span
from tasks.settings import get_settings
from tasks.storage import s3_clients
from tasks.tracing import spans
from tasks.tracing.spans import current_traceparent, span
from tasks.tracing.traceparent import TRACE_LABEL

GIVEN = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def sink(monkeypatch, tmp_path):
    with collecting() as sink:
        monkeypatch.setenv("MUSETALK_HOME", str(tmp_path))
        monkeypatch.setenv("MUSETALK_TRACING__ENDPOINT", sink.url)
        get_settings.cache_clear()
        spans._tracing.cache_clear()
        yield sink
        spans._tracing()._provider.shutdown()
    get_settings.cache_clear()
    spans._tracing.cache_clear()


def test_requests_to_a_bucket_have_spans_with_their_operation_alone(sink, s3_endpoint, monkeypatch):
    for name, value in {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}.items():
        monkeypatch.setenv(name, value)
    settings = get_settings().s3.model_copy(update={"endpoint_url": s3_endpoint, "region": "us-east-1"})
    client = s3_clients.client(settings, False, -1)
    client.create_bucket(Bucket="secret-bucket")  # outside of spans: a root of its own would say nothing
    with span("phase upload"):
        client.put_object(Bucket="secret-bucket", Key="anna.mp4", Body=b"x")
        with pytest.raises(client.exceptions.NoSuchKey):
            client.get_object(Bucket="secret-bucket", Key="none.mp4")
    spans.flush()
    found = {one.name: one for one in sink.spans}
    assert set(found) == {"phase upload", "S3 PutObject", "S3 GetObject"}
    assert found["S3 PutObject"].parent == found["phase upload"].id and not found["S3 PutObject"].failed
    assert found["S3 GetObject"].failed
    assert b"secret-bucket" not in b"".join(sink.raw) and b"mp4" not in b"".join(sink.raw)


def test_a_webhook_belongs_to_the_trace_of_its_job(sink):
    job = NotifyJob(run=uuid4(), event="completed")
    of_job = SimpleNamespace(labels={TRACE_LABEL: GIVEN})
    with span("run", parent=GIVEN), _webhook_span(job, current_traceparent(), of_job) as same:
        carried = str(same.parent_of_others)
    later = job.model_copy(update={"attempt": 2})
    with span("run of an automation"), _webhook_span(later, current_traceparent(), of_job):
        pass
    spans.flush()
    first, second = sorted(sink.named("webhook"), key=lambda one: one.attributes["musetalk.webhook.attempt"])
    [run], [other] = sink.named("run"), sink.named("run of an automation")
    assert first.parent == run.id and first.links == () and carried.split("-")[2] == first.id
    assert second.trace == first.trace != other.trace
    assert second.links == ((other.trace, other.id),)
