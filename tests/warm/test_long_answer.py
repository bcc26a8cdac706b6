"""POST /inference answers when its job has ended, however long that takes: one request, one connection."""

import http.client
import json
import time

import httpx
import pytest
from compat_documents import BODY, INFERENCE_QUERY
from stage import Shim, serving

from flows.registry import JOB_TYPES

pytestmark = pytest.mark.stack
DOCUMENTED = ["avatar_id", "audio_id", "output_path", "s3_output_path", "message"]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """One of its own, for the pool's name is that of the real one."""
    with serving(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture(scope="module")
def shim(server, tmp_path_factory):
    folder = tmp_path_factory.mktemp("shim")
    shim = Shim(server, folder)
    yield shim.wait_ready()
    shim.kill()


@pytest.fixture(scope="module")
def worker(server, tmp_path_factory):
    from stage import Worker

    pool = server.pool("gpu")
    pool.deploy("lip_sync", "warm_flows.lip_sync_in_time", title=JOB_TYPES["lip_sync"].title)
    worker = Worker(pool, tmp_path_factory.mktemp("worker")).start()
    yield worker
    worker.stop()


def asked_for(seconds):
    body = json.loads(json.dumps(BODY))
    body["avatars"]["avator_1"]["audio_clips"]["audio_1"] = f"s3://project-media/{seconds}.wav"
    return json.dumps(body)


@pytest.mark.parametrize("seconds", [5, pytest.param(120, marks=pytest.mark.slow)])
def test_a_job_that_takes_its_time_is_answered_at_its_end(shim, worker, seconds):
    connection = http.client.HTTPConnection(
        "127.0.0.1", shim.port
    )  # without a timeout, as its clients had it
    connection.connect()
    connection.auto_open = 0  # the answer comes on this connection or not at all
    query = "&".join(f"{name}={value}" for name, value in INFERENCE_QUERY.items())
    began = time.monotonic()

    connection.request(
        "POST", f"/inference?{query}", asked_for(seconds), {"Content-Type": "application/json"}
    )
    assert httpx.get(f"{shim.url}/healthz", trust_env=False, timeout=5).is_success  # it is not deaf meanwhile
    answer = connection.getresponse()
    body = json.load(answer)
    took = time.monotonic() - began
    connection.close()

    assert answer.status == 200, body
    assert seconds <= took < seconds + 20
    assert list(body)[:5] == DOCUMENTED and all(isinstance(body[name], str) for name in DOCUMENTED)
    assert (body["message"], body["status"]) == ("Inference completed successfully", "success")
    where = f"s3://project-media/lip_sync/outputs/0606446c_avatar_video_{seconds}.mp4"
    assert body["s3_output_path"] == where
    job = httpx.get(f"{shim.url}/v1/jobs/{body['id']}", trust_env=False).json()
    assert job["status"] == "succeeded"
