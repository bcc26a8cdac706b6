"""One trace a job over processes: request, queue, worker, run, task, phase, ffmpeg, S3 and webhook."""

import pytest
from otlp_sink import collecting
from stage import HTTP, Shim, Worker, eventually
from webhook_stage import SECRET, Light

pytestmark = [pytest.mark.stack, pytest.mark.slow]

CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def sink():
    with collecting() as sink:
        yield sink


@pytest.fixture
def system(own_server, receiver, sink, s3_endpoint, tmp_path):
    """An API and a worker of every pool's jobs, with a store in a bucket, that send spans to the sink."""
    import boto3

    client = boto3.Session("test", "test", region_name="us-east-1").client("s3", endpoint_url=s3_endpoint)
    client.create_bucket(Bucket="traced")
    environment = {
        "MUSETALK_TRACING__ENDPOINT": sink.url,
        "MUSETALK_STORE__URL": "s3://traced/system",
        "MUSETALK_S3__ENDPOINT_URL": s3_endpoint,
        "MUSETALK_S3__FORCE_PATH_STYLE": "true",
        "MUSETALK_S3__REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "MUSETALK_STORE__MIN_FREE_BYTES": "0",
        "MUSETALK_EGRESS__ALLOW_HTTP": "true",
        "MUSETALK_EGRESS__ALLOWED_HOSTS": receiver.host,
        "MUSETALK_WEBHOOK__SECRETS": SECRET,
        "MUSETALK_WORKER__PRELOAD": "",
    }
    light = Light(own_server)
    for name, title in (("speech", "Text to speech"), ("lip_sync", "Lip sync")):
        deploy(light, name, title)
    worker = Worker(light, tmp_path, limit=2, **environment).start()
    api = Shim(own_server, tmp_path, **environment).wait_ready()
    yield api.url
    api.kill()
    worker.stop()


def deploy(light, name, title):
    with light.server.client() as client:
        client.create_deployment(
            flow_id=client.create_flow_from_name(name),
            name=title,
            entrypoint=f"flows.{name}.{name}",
            work_pool_name="light",
            work_queue_name="normal",
            pull_steps=[],
            parameter_openapi_schema={"type": "object", "properties": {}},
        )


def submit(url, path, body, **headers):
    return HTTP.post(f"{url}{path}", json=body, headers=headers).raise_for_status().json()["id"]


def ended(url, job):
    def look():
        view = HTTP.get(f"{url}/v1/jobs/{job}").json()
        return view if view["status"] in {"succeeded", "failed"} else None

    return eventually(look, 240)


def test_a_job_is_one_trace_from_its_caller_to_its_webhook(system, receiver, sink):
    webhook = {"url": receiver.url, "events": ["completed"]}
    body = {"text": "A sentence that no span repeats.", "control": {"notify": webhook, "tags": ["private"]}}
    key = {"Idempotency-Key": "one"}
    job = submit(system, "/v1/jobs/speech", body, traceparent=CALLER, **key)
    assert submit(system, "/v1/jobs/speech", body, **key) == job  # another trace, the same job
    assert ended(system, job)["status"] == "succeeded"
    eventually(lambda: receiver.got, 120)
    sink.wait_for("webhook", "S3 PutObject", "ffmpeg", limit_s=60)
    # each process sends its spans every five seconds
    eventually(lambda: {"speech", "notify"} <= {flow_of(one) for one in sink.named("attempt")}, 60)
    eventually(lambda: "speech" in {flow_of(one) for one in sink.named("flow")} and sink.named("run"), 60)

    trace = [span for span in sink.spans if span.trace == CALLER.split("-")[1]]
    by_name = {span.name: span for span in trace}
    request, created = by_name["POST /v1/jobs/speech"], by_name["create run"]
    assert request.parent == CALLER.split("-")[2] and created.parent == request.id
    attempts = {span.attributes["musetalk.flow"]: span for span in trace if span.name == "attempt"}
    job_attempt, webhook_attempt = attempts["speech"], attempts["notify"]
    assert job_attempt.parent == created.id == webhook_attempt.parent
    assert {span.service for span in trace} == {"musetalk-api", "musetalk-worker", "musetalk-run"}
    below = {span.name for span in sink.descendants(job_attempt)}
    assert below >= {"run", "flow", "task speak_sentence", "phase upload", "ffmpeg", "S3 PutObject"}, below
    assert "webhook" in {span.name for span in sink.descendants(webhook_attempt)}
    assert len([span for span in trace if span.name == "queue"]) == 2

    [message] = receiver.got
    assert message.headers["traceparent"] == f"00-{by_name['webhook'].trace}-{by_name['webhook'].id}-01"
    sent = b"".join(sink.raw)
    assert not any(
        word in sent for word in (b"no span repeats", b"private", b"traced", SECRET.encode(), b"/hook")
    )
    log = HTTP.get(f"{system}/v1/jobs/{job}/logs", params={"level": "info"}).json()["lines"]
    assert f"Trace {CALLER.split('-')[1]}" in {line["message"] for line in log}


def test_steps_share_the_trace_of_their_pipeline_and_rows_have_linked_ones(system, sink):
    steps = [{"name": "say", "type": "speech", "job": {"text": "One."}}]
    pipeline = submit(system, "/v1/pipelines", {"steps": steps}, traceparent=CALLER)
    rows = [{"text": "Two."}, {"text": "Three."}]
    batch = submit(system, "/v1/batches", {"job_type": "speech", "rows": rows})
    assert ended(system, pipeline)["status"] == "succeeded"
    assert ended(system, batch)["status"] == "succeeded"
    eventually(lambda: len([one for one in sink.named("flow") if flow_of(one) == "speech"]) == 3, 60)
    eventually(lambda: {"pipeline", "batch"} <= {flow_of(one) for one in sink.named("flow")}, 60)

    flows = {flow_of(one): one for one in sink.named("flow")}
    speeches = [one for one in sink.named("flow") if flow_of(one) == "speech"]
    [step] = [one for one in speeches if one.trace == CALLER.split("-")[1]]
    assert flows["pipeline"].trace == step.trace
    of_rows = [one for one in speeches if one is not step]
    roots = {one.trace: one for one in sink.named("create run") if one.links}
    assert len({one.trace for one in of_rows}) == 2 and {one.trace for one in of_rows} == set(roots)
    assert {link[0] for root in roots.values() for link in root.links} == {flows["batch"].trace}


def flow_of(span):
    return span.attributes.get("musetalk.flow")
