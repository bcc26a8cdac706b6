"""The whole system against a real S3 server: the seed's own request, and a second home on one bucket."""

import contextlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import av
import httpx
import pytest
from compat_documents import BODY
from moto_s3 import KEYS, moto_s3

pytestmark = [pytest.mark.stack, pytest.mark.slow]
ASSETS = Path(__file__).resolve().parents[1] / "assets"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def s3():
    with moto_s3("media", "renders", "store") as client:
        speech = next(ASSETS.glob("sense*.wav"))
        client.upload_file(str(ASSETS / "astronaut.jpg"), "media", "persona/outputs/anna.final.jpg")
        client.upload_file(str(speech), "media", "voice/remix_vc_0098.wav")
        yield client


@contextlib.contextmanager
def running_stack(home, endpoint):
    """`musetalk up` as a user starts it; ends with SIGTERM and must leave nothing behind."""
    port = free_port()
    env = {**os.environ, **KEYS, "MUSETALK_HOME": str(home), "MUSETALK_S3__ENDPOINT_URL": endpoint}
    env |= {"MUSETALK_STORE__URL": "s3://store/main", "MUSETALK_STORE__MIN_FREE_BYTES": "0"}
    env |= {"MUSETALK_MARK__SECRETS": "one secret for all homes of the tests"}
    for name in [name for name in env if name.startswith("PREFECT_")]:
        del env[name]
    command = [sys.executable, "-m", "deployments.cli", "up", "--port", str(port)]
    command += ["--prefect-port", str(free_port())]
    log = home.parent / f"{home.name}.log"
    with log.open("w") as out:
        process = subprocess.Popen(command, env=env, stdout=out, stderr=subprocess.STDOUT, cwd=home.parent)
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=90) as client:
                wait_until_ready(client, process, log)
                yield client
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def wait_until_ready(client, process, log):
    deadline = time.monotonic() + 900
    while time.monotonic() < deadline:
        if process.poll() is not None:
            pytest.fail(f"the stack ended: {log.read_text()[-2000:]}")
        with contextlib.suppress(httpx.TransportError):
            if client.get("/readyz").status_code == 200:
                return
        time.sleep(0.3)
    pytest.fail(f"the stack was not ready: {log.read_text()[-2000:]}")


@pytest.fixture(scope="module")
def endpoint(s3):
    return s3.meta.endpoint_url


@pytest.fixture(scope="module")
def client(s3, endpoint, tmp_path_factory):
    with running_stack(tmp_path_factory.mktemp("first") / "home", endpoint) as client:
        yield client


SEED_BODY = BODY | {
    "s3_bucket": "renders",
    "avatars": {
        "avator_1": {
            "preparation": True,
            "video_path": "s3://media/persona/outputs/anna.final.jpg",
            "bbox_shift": 0,
            "audio_clips": {"audio_0": "s3://media/voice/remix_vc_0098.wav"},
        }
    },
}
OUTPUT = "lip_sync/outputs/anna.final_remix_vc_0098.mp4"


def infer(client):
    return client.post("/inference", params={"avatar_id": "avator_1", "audio_id": "audio_0"}, json=SEED_BODY)


def result_of(client, job):
    """The job's own result, as its status tells it."""
    return client.get(f"/v1/jobs/{job}").json()["result"]


def test_the_seeds_example_body_renders_from_s3_to_s3(client, s3):
    answer = infer(client)

    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert list(body)[:5] == ["avatar_id", "audio_id", "output_path", "s3_output_path", "message"]
    assert body["s3_output_path"] == f"s3://renders/{OUTPUT}"
    assert body["message"] == "Inference completed successfully"
    stored = s3.get_object(Bucket="renders", Key=OUTPUT)["Body"].read()
    assert body["size_bytes"] == len(stored)
    with av.open(io.BytesIO(stored)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert (video.codec_context.name, audio.codec_context.name) == ("h264", "aac")
        picture, sound = video.duration * video.time_base, audio.duration * audio.time_base
    assert abs(picture - sound) <= 1 / 25


def test_the_same_request_again_is_quick_and_cached_and_mends_a_deleted_output(client, s3):
    first = infer(client).json()
    s3.delete_object(Bucket="renders", Key=OUTPUT)

    second = infer(client).json()

    assert second["id"] != first["id"]
    assert {"prepare", "features", "join"} <= set(result_of(client, second["id"])["cached"])
    assert s3.head_object(Bucket="renders", Key=OUTPUT)["ContentLength"] == first["size_bytes"]


def test_a_missing_object_and_a_missing_bucket_are_plain_errors(client):
    for uri in ("s3://media/nobody.mp4", "s3://no-such-bucket-here/anna.mp4"):
        body = json.loads(json.dumps(SEED_BODY))
        body["avatars"]["avator_1"]["video_path"] = uri
        answer = client.post("/inference", params={"avatar_id": "avator_1", "audio_id": "audio_0"}, json=body)

        assert answer.status_code == 400, answer.text
        assert answer.json()["code"] == "input_not_found"


def test_a_second_prefect_home_on_the_same_bucket_finds_everything_cached(client, endpoint, tmp_path_factory):
    assert infer(client).status_code == 200
    with running_stack(tmp_path_factory.mktemp("second") / "home", endpoint) as other:
        body = infer(other).json()
        cached = result_of(other, body["id"])["cached"]

    assert cached == ["prepare", "features", "sound", "join"], "another home has other signing keys"
