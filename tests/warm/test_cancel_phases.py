"""A real job is cancelled in every phase: over within five seconds, no process and no scratch left."""

import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from stage import Worker, eventually, speech_files

pytestmark = pytest.mark.stack

ASSETS = Path(__file__).resolve().parents[1] / "assets"
PHASES = ["importing", "downloading", "rendering", "encoding", "uploading"]
PHASES += [pytest.param("speaking", marks=pytest.mark.slow)]  # what loads the voice takes its time
TALE = " ".join(f"{'and then ' * 35}it was day {number}." for number in range(80))
"""Sentences of twenty seconds each."""
JPEG = (ASSETS / "astronaut.jpg").read_bytes()


class Dribble(BaseHTTPRequestHandler):
    """Sends a picture a little at a time, for ever as far as anybody here waits."""

    def do_HEAD(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(JPEG)))
        self.send_header("Content-Type", "image/jpeg")
        self.end_headers()

    def do_GET(self):
        self.do_HEAD()
        try:
            for start in range(0, len(JPEG), 500):
                self.wfile.write(JPEG[start : start + 500])
                time.sleep(0.3)
        except OSError:
            return

    def log_message(self, *_):
        return


@pytest.fixture(scope="module")
def slow_web():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Dribble)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def silent_s3():
    """Takes connections and says nothing."""
    listener = socket.create_server(("127.0.0.1", 0))
    yield listener.getsockname()[1]
    listener.close()


@pytest.fixture(scope="module")
def media(tmp_path_factory):
    folder = tmp_path_factory.mktemp("media")
    (folder / "anna.jpg").write_bytes(JPEG)
    speech_files(folder)
    return folder


@pytest.fixture(scope="module")
def jobs(server, media, slow_web, silent_s3, tiny_csm, tmp_path_factory):
    """A pool and a worker for real jobs."""
    pool = server.pool("real-jobs")
    pool.deploy("lip_sync", "flows.lip_sync.lip_sync")
    pool.deploy("speech", "flows.speech.speech")
    pool.deploy("late", "warm_slow_import.late")
    folder = tmp_path_factory.mktemp("real")
    (folder / "tmp").mkdir()
    worker = Worker(
        pool,
        folder,
        TMPDIR=str(folder / "tmp"),
        MUSETALK_WORKER__PRELOAD="flows.lip_sync",
        MUSETALK_STORE__LOCAL_ROOTS=str(media),
        MUSETALK_STORE__MIN_FREE_BYTES="0",
        MUSETALK_RENDER__ENGINE="fake",
        MUSETALK_WEIGHTS__FOLDER=str(tiny_csm),
        MUSETALK_MODELS__DEVICE="cpu",
        MUSETALK_EGRESS__ALLOW_HTTP="true",
        MUSETALK_EGRESS__ALLOWED_HOSTS=f"127.0.0.1:{slow_web}",
        MUSETALK_S3__ENDPOINT_URL=f"http://127.0.0.1:{silent_s3}",
        MUSETALK_S3__FORCE_PATH_STYLE="true",
        AWS_ACCESS_KEY_ID="none",
        AWS_SECRET_ACCESS_KEY="none",
        AWS_DEFAULT_REGION="us-east-1",
        PREFECT_RESULTS_DEFAULT_SERIALIZER="json",
    ).start()
    worker.media, worker.slow_web = media, slow_web
    yield worker
    worker.stop()


def group(leader):
    """Processes of a process group that are alive."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[2] == str(leader) and fields[0] not in "ZX":
            found.append(int(folder.name))
    return found


def scratch(worker):
    """Files that a job should not leave behind."""
    homes = [worker.folder / "home" / "cache" / "tmp", *(worker.folder / "tmp").glob("warm-*")]
    return [path for home in homes if home.exists() for path in home.iterdir() if path.name != "owner"]


def job(worker, video=None, audio="long", **more):
    picture = video or (worker.media / "anna.jpg").as_uri()
    return {"video": picture, "audio": (worker.media / f"{audio}.wav").as_uri(), **more}


def cases(worker):
    pool = worker.pool
    slow = f"http://127.0.0.1:{worker.slow_web}/anna.jpg"
    return {
        "importing": (lambda: pool.submit("late"), lambda _: (worker.folder / "importing").exists()),
        "downloading": (
            lambda: pool.submit("lip_sync", job=job(worker, video=slow)),
            lambda run: pool.phase(run) == "fetch",
        ),
        "rendering": (
            lambda: pool.submit("lip_sync", job=job(worker)),
            lambda run: pool.phase(run) in ("render", "encode"),
        ),
        "encoding": (
            lambda: pool.submit("lip_sync", job=job(worker, encode={"preset": "slower", "crf": 10})),
            lambda run: pool.phase(run) in ("render", "encode") and len(group(worker.children()[0])) > 1,
        ),
        "speaking": (
            lambda: pool.submit("speech", job={"text": TALE, "voice": "random", "max_audio_length": 30_000}),
            lambda run: pool.phase(run) == "speak",
        ),
        "uploading": (
            lambda: pool.submit("lip_sync", job=job(worker, audio="short", output={"bucket": "renders"})),
            lambda run: pool.phase(run) == "upload",
        ),
    }


@pytest.mark.parametrize("phase", PHASES)
def test_a_job_cancelled_while(jobs, phase):
    submit, reached = cases(jobs)[phase]
    eventually(lambda: len(jobs.children()) == 1, 30)
    run = submit()
    eventually(lambda: reached(run) or jobs.pool.state(run).is_final(), 180)
    assert not jobs.pool.state(run).is_final(), jobs.pool.state(run)
    child = jobs.children()[0]
    began = time.monotonic()
    jobs.pool.cancel(run)
    state = jobs.pool.wait(run, 15)
    took = time.monotonic() - began
    assert state.type.value == "CANCELLED" and took < 5, (state, took)
    assert not group(child)
    eventually(lambda: not scratch(jobs), 2)
