"""A job whose store is a bucket is cancelled: no object, half upload or process stays; the next job runs."""

import io
import time
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from moto_s3 import KEYS, moto_s3
from slow_s3 import slow_s3
from stage import Worker, eventually, is_alive, speech_files

pytestmark = pytest.mark.stack

# of this file alone: all S3 servers of one process share their buckets
STORE, RENDERS = "cancelled-store", "cancelled-renders"

ASSETS = Path(__file__).resolve().parents[1] / "assets"
GRAINY = {"preset": "ultrafast", "crf": 1}
"""A result of many megabytes in few seconds."""


@pytest.fixture(scope="module")
def s3():
    with moto_s3(STORE, RENDERS) as client:
        yield client


@pytest.fixture(scope="module")
def slow(s3):
    with slow_s3(s3.meta.endpoint_url) as slow:
        yield slow


@pytest.fixture(scope="module")
def media(tmp_path_factory):
    """A face behind grain that no encoder can make small, and speech of two lengths."""
    folder = tmp_path_factory.mktemp("media")
    noise = np.random.default_rng(7)
    face = cv2.resize(
        cv2.imdecode(np.fromfile(ASSETS / "astronaut.jpg", np.uint8), cv2.IMREAD_COLOR), (640, 640)
    )
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream(
            "libx264", rate=Fraction(25), options={"crf": "4", "preset": "ultrafast"}
        )
        stream.width, stream.height, stream.pix_fmt = 640, 640, "yuv420p"
        for _ in range(25):
            grain = noise.integers(-24, 25, face.shape, dtype=np.int16)
            picture = np.clip(face + grain, 0, 255).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "bgr24")))
        container.mux(stream.encode())
    (folder / "anna.mp4").write_bytes(buffer.getvalue())
    speech_files(folder)
    return folder


@pytest.fixture(scope="module")
def jobs(server, slow, media, tmp_path_factory):
    pool = server.pool("bucket-jobs")
    pool.deploy("lip_sync", "flows.lip_sync.lip_sync")
    folder = tmp_path_factory.mktemp("bucket")
    worker = Worker(
        pool,
        folder,
        MUSETALK_WORKER__PRELOAD="flows.lip_sync",
        MUSETALK_STORE__URL=f"s3://{STORE}/main",
        MUSETALK_STORE__LOCAL_ROOTS=str(media),
        MUSETALK_STORE__MIN_FREE_BYTES="0",
        MUSETALK_RENDER__ENGINE="fake",
        MUSETALK_S3__ENDPOINT_URL=slow.url,
        MUSETALK_S3__FORCE_PATH_STYLE="true",
        PREFECT_RESULTS_DEFAULT_SERIALIZER="json",
        **KEYS,
    ).start()
    yield worker
    worker.stop()


def job(media, audio="short", **more):
    files = {"video": (media / "anna.mp4").as_uri(), "audio": (media / f"{audio}.wav").as_uri()}
    return files | {"encode": GRAINY} | more


def outputs(s3):
    """Keys of results, wherever they are; shared artefacts are no results."""
    found = [(RENDERS, key) for key in keys(s3, RENDERS, "")]
    return found + [(STORE, key) for key in keys(s3, STORE, "main/outputs/")]


def keys(s3, bucket, prefix):
    return [entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", [])]


def half_uploads(s3):
    return [
        upload["Key"]
        for bucket in (STORE, RENDERS)
        for upload in s3.list_multipart_uploads(Bucket=bucket).get("Uploads", [])
    ]


PLACES = {"store": {}, "named": {"bucket": RENDERS, "prefix": "lip_sync", "name": "take"}}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("phase", [pytest.param("render", marks=pytest.mark.slow), "upload"])
def test_a_job_cancelled_in_its(jobs, s3, slow, media, place, phase):
    eventually(lambda: len(jobs.children()) == 1, 30)
    slow.delay_s, audio = (20.0, "short") if phase == "upload" else (0.0, "long")
    while slow.parts.acquire(blocking=False):
        pass
    run = jobs.pool.submit("lip_sync", job=job(media, audio, output=PLACES[place]))
    if phase == "upload":
        eventually(lambda: jobs.pool.phase(run) == "upload" or jobs.pool.state(run).is_final(), 120)
        assert slow.parts.acquire(timeout=30), jobs.pool.state(run)
        assert half_uploads(s3)
    else:
        eventually(lambda: jobs.pool.phase(run) in ("render", "encode"), 120)
    child = jobs.children()[0]
    began = time.monotonic()

    jobs.pool.cancel(run)
    state = jobs.pool.wait(run, 15)
    took = time.monotonic() - began

    assert state.type.value == "CANCELLED" and took < 5, (state, took)
    eventually(lambda: not is_alive(child), 5)  # the flow sets the state before its process ends
    assert outputs(s3) == [] and half_uploads(s3) == []
    slow.delay_s = 0.0
    time.sleep(1)  # what was under way when the process ended has arrived, too
    assert outputs(s3) == [] and half_uploads(s3) == []
    after = jobs.pool.submit("empty")
    assert jobs.pool.wait(after, 30).is_completed()


def test_the_cancelled_job_can_be_done_after_all(jobs, s3, slow, media):
    slow.delay_s = 0.0

    run = jobs.pool.submit("lip_sync", job=job(media, output=PLACES["named"]))

    assert jobs.pool.wait(run, 120).is_completed()
    made = ["lip_sync/take.mp4", "lip_sync/take.mp4.lineage.json"]
    assert outputs(s3) == [(RENDERS, key) for key in made] and half_uploads(s3) == []
    assert s3.head_object(Bucket=RENDERS, Key="lip_sync/take.mp4")["ContentLength"] > 16 << 20
    assert sum("partNumber=" in asked for asked in slow.asked) >= 2
