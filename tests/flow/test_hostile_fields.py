"""
Dangerous fields of POST /inference with hostile values: nothing is opened, written,
started or reached because of them. The API and the flow run as processes that write down what they do.
"""

import contextlib
import json
import shutil
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from compat_documents import BODY
from hostile import WORD, Watch, values
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.settings import PREFECT_API_URL

from flows.registry import JOB_TYPES
from musetalk_core.media.output.ffmpeg import find_ffmpeg

TOP = (
    "ffmpeg_path",
    "result_dir",
    "unet_model_path",
    "unet_config",
    "whisper_dir",
    "vae_type",
    "version",
    "parsing_mode",
    "output_vid_name",
    "s3_bucket",
    "s3_prefix",
)
PLACES = (*TOP, "video_path", "audio_clips", "avatar_id", "audio_id")
HEADERS = {"Prefer": "respond-async", "Content-Type": "application/json"}


@pytest.fixture
def watch(tmp_path):
    return Watch(tmp_path)


def test_the_watch_sees_what_it_is_there_for(watch):
    """Each kind of misdeed is found, in the process itself and in a Python process that it starts."""
    misdeeds = {
        "read": f"open('/etc/{WORD}')",
        "write": "open('/proc/self/comm', 'w')",
        "write ": f"open({str(watch.folder / WORD)!r}, 'w')",
        "write  ": "os.open('/nowhere', os.O_CREAT | os.O_WRONLY)",
        "write   ": "os.mkdir('/proc/new')",
        "subprocess.Popen": "subprocess.run(['true'])",
        "os.system": "os.system('true')",
        "os.posix_spawn": "os.waitpid(os.posix_spawn('/bin/true', ['true'], {}), 0)",
        "os.exec": "os.fork() or os.execv('/bin/true', ['true'])",
        "reach": "socket.create_connection(('192.0.2.1', 80))",
        "reach ": "socket.socket().connect(('192.0.2.2', 80))",
        "reach  ": "socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('192.0.2.3', 53))",
        "reach   ": "socket.getaddrinfo('media.test', 443)",
    }
    for deed, code in misdeeds.items():
        for depth in range(2):
            watch.log.unlink(missing_ok=True)
            script = f"import contextlib, os, socket, subprocess\nwith contextlib.suppress(OSError):\n {code}"
            command = [sys.executable, "-c", script]
            if depth:
                command = [sys.executable, "-c", f"import subprocess; subprocess.run({command!r})"]
            subprocess.run(command, env=watch.environment(), check=False, cwd=watch.folder)
            assert any(fault.startswith(deed.strip()) for fault in watch.faults()), (deed, watch.events())


def test_the_watch_has_nothing_to_say_of_good_deeds(watch):
    good = f"""
import socket, subprocess, sys, tempfile
open('/etc/hostname').close()
tempfile.NamedTemporaryFile().close()
open({str(watch.folder / "home.txt")!r}, 'w').close()
subprocess.run([sys.executable, '-c', 'pass'])
socket.socket().connect_ex(('127.0.0.1', 9))
"""
    subprocess.run([sys.executable, "-c", good], env=watch.environment(), check=True, cwd=watch.folder)

    assert watch.faults() == [] and watch.starts() == {"python"}
    assert {kind for _, kind, *_ in watch.events()} == {"write", "start", "reach"}


def request(place, value):
    """A documented request with one hostile value, and its query."""
    body, query = json.loads(json.dumps(BODY)), {"avatar_id": "avator_1", "audio_id": "audio_1"}
    avatar = body["avatars"]["avator_1"]
    match place:
        case "video_path":
            avatar["video_path"] = value
        case "audio_clips":
            avatar["audio_clips"]["audio_1"] = value
        case "avatar_id":
            body["avatars"], query["avatar_id"] = {value: avatar}, value
        case "audio_id":
            avatar["audio_clips"], query["audio_id"] = {value: avatar["audio_clips"]["audio_1"]}, value
        case _:
            body[place] = value
    return query, body


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def server(prefect_server):
    """A Prefect server that accepts jobs from the API and has no worker."""
    with get_client(sync_client=True) as client:
        with contextlib.suppress(Exception):
            client.create_work_pool(WorkPoolCreate(name="gpu", type="process"))
        flow = client.create_flow_from_name("lip_sync")
        made = client.create_deployment(flow_id=flow, name=JOB_TYPES["lip_sync"].title, work_pool_name="gpu")
        yield PREFECT_API_URL.value()
        client.delete_deployment(made)


@pytest.fixture
def api(watch, server):
    """`musetalk api`, watched."""
    port = free_port()
    env = {**watch.environment(), "PREFECT_API_URL": server, "MUSETALK_API__PORT": str(port)}
    command = [sys.executable, "-m", "deployments.cli", "api"]
    with (watch.folder / "api.log").open("wb") as log:
        process = subprocess.Popen(command, env=env, stdout=log, stderr=log, cwd=watch.folder / "work")
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=60) as client:
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline:
                with contextlib.suppress(httpx.TransportError):
                    if client.get("/healthz").is_success:
                        break
                time.sleep(0.1)
            yield client
    finally:
        process.terminate()
        process.wait(20)


@pytest.mark.parametrize("step", [5, pytest.param(1, marks=pytest.mark.slow)], ids=["some", "all"])
def test_the_api_does_nothing_with_hostile_values(watch, api, step):
    told = {}
    for number, place in enumerate(PLACES):
        for value in values(watch.folder / "marks")[number % step :: step]:
            query, body = request(place, value)
            with contextlib.suppress(UnicodeEncodeError):  # no address can be written with half a character
                answer = api.post("/inference", params=query, content=json.dumps(body), headers=HEADERS)
                told.setdefault(answer.status_code, []).append((place, value[:80], answer.text[:300]))

    assert set(told) <= {202, 400, 403}, {status: told[status][:3] for status in told}
    assert len(told[202]) > 50 // step and len(told[400]) > 500 // step
    assert watch.faults() == []
    assert any(kind == "reach" for _, kind, *_ in watch.events())


RUN = """
import json, sys
from prefect.exceptions import ParameterTypeError
from pydantic import ValidationError
from api.errors import Problem
from api.compat.inference_request import SeedInference, to_job
from flows.registry import JOB_TYPES
from flows.lip_sync import lip_sync
from musetalk_core.errors import RenderError

seen = set()
for line in open(sys.argv[1]):
    kind, case = json.loads(line)
    try:
        if kind == "body":
            query, body = case
            job, _ = to_job(SeedInference.model_validate(body), query["avatar_id"], query["audio_id"])
            job = job.model_dump(mode="json", exclude_unset=True) | {"engine": "fake"}
            job.pop("version", None), job.pop("musetalk", None)
        else:
            job = case
    except (Problem, ValidationError, UnicodeError):
        print("refused", flush=True)
        continue
    if json.dumps(job) in seen:
        print("again", flush=True)  # the value had no part in it
        continue
    seen.add(json.dumps(job))
    try:
        state = lip_sync(job=job, return_state=True)
    except UnicodeError:  # half a character cannot even be sent to Prefect
        print("refused", flush=True)
        continue
    error = state.result(raise_on_failure=False)
    known = isinstance(error, (RenderError, ParameterTypeError, ValidationError))
    print("failed" if known else "done" if state.is_completed() else type(error).__name__, flush=True)
"""


def cases(folder, video, audio):
    """Requests as the API passes them on, and parameters as somebody past the API might give them."""
    for place in PLACES:
        for value in values(folder, count=4):
            query, body = request(place, value)
            avatar = next(iter(body["avatars"].values()))
            if place != "video_path":
                avatar["video_path"] = video
            if place != "audio_clips":
                avatar["audio_clips"] = dict.fromkeys(avatar["audio_clips"], audio)
            if place not in {"s3_bucket", "s3_prefix"}:
                body["s3_bucket"] = None
            yield "body", (query, body)
    good = {"video": video, "audio": audio, "engine": "fake"}
    for value in values(folder, count=4):
        yield "job", good | {"video": value}
        yield "job", good | {"audio": value}
        for field in ("name", "prefix", "bucket"):
            yield "job", good | {"output": {field: value}}


class NothingHere(BaseHTTPRequestHandler):
    """An S3 that takes everything and has nothing."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(200 if self.command == "PUT" else 404)
        self.send_header("Content-Length", "0")
        self.send_header("ETag", '"1"')
        self.end_headers()

    do_HEAD = do_PUT = do_POST = do_GET

    def log_message(self, *_):
        return


@pytest.fixture
def empty_s3():
    server = ThreadingHTTPServer(("127.0.0.1", 0), NothingHere)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("step", [11, pytest.param(1, marks=pytest.mark.slow)], ids=["some", "all"])
def test_the_flow_does_nothing_with_hostile_values(watch, short_clip, speech_file, tmp_path, empty_s3, step):
    media = tmp_path / "media"
    media.mkdir()
    clip, speech = (Path(shutil.move(file, media)) for file in (short_clip, speech_file))
    asked = list(cases(watch.folder / "marks", clip.as_uri(), speech.as_uri()))[::step]
    (tmp_path / "cases").write_text("".join(json.dumps(case) + "\n" for case in asked))
    (tmp_path / "run.py").write_text(RUN)
    env = {
        **watch.environment(),
        "PREFECT_API_URL": PREFECT_API_URL.value(),
        "MUSETALK_STORE__LOCAL_ROOTS": str(media),
        "MUSETALK_STORE__MIN_FREE_BYTES": "0",
        "MUSETALK_S3__ENDPOINT_URL": empty_s3,
        "MUSETALK_S3__MAX_ATTEMPTS": "1",
        "AWS_ACCESS_KEY_ID": "none",
        "AWS_SECRET_ACCESS_KEY": "none",
        "PREFECT_LOCAL_STORAGE_PATH": str(tmp_path / "results"),
        "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",
        "PREFECT_LOGGING_LEVEL": "CRITICAL",
    }
    done = subprocess.run(
        [sys.executable, tmp_path / "run.py", tmp_path / "cases"],
        env=env,
        cwd=tmp_path / "work",
        capture_output=True,
        text=True,
        timeout=500,
        check=True,
    )

    ended = done.stdout.split()
    assert len(ended) == len(asked)
    assert set(ended) == {"refused", "again", "failed", "done"}
    assert watch.faults(programs=[find_ffmpeg()], names=[f"{WORD}.test"]) == []
    assert find_ffmpeg().name in watch.starts()
