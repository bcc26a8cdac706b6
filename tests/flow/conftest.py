"""One Prefect test server a session, a fresh store a test, and a talking source made from a portrait."""

import contextlib
import io
import wave
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.states import Running, Scheduled
from prefect_server import flow_server
from prefect_settings import prefect_settings
from receiver import receiving

from deployments.provisioning.apply import parameters_schema
from flows.registry import INTERNAL_FLOWS
from flows.schemas.control import Control, Notify, tags_for
from flows.schemas.webhook import NotifyJob
from tasks.models.engines import build_engine
from tasks.settings import get_settings

ASSETS = Path(__file__).resolve().parents[1] / "assets"


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory):
    with flow_server(tmp_path_factory.mktemp("server")):
        yield


@pytest.fixture
def home(tmp_path, monkeypatch, prefect_server):
    """A private store, cache and result storage; `file://` inputs below tmp_path are allowed."""
    monkeypatch.setenv("MUSETALK_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MUSETALK_STORE__LOCAL_ROOTS", str(tmp_path))
    monkeypatch.setenv("MUSETALK_STORE__MIN_FREE_BYTES", "0")
    fresh_settings()
    results = {"local_storage_path": tmp_path / "results", "default_serializer": "json"}
    with prefect_settings(results=results, flows={"heartbeat_frequency": None}):
        yield tmp_path
    fresh_settings()


@pytest.fixture
def client_with_pool(home):
    """A function that makes a work pool of the warm worker and gives a client of the server."""
    with get_client(sync_client=True) as client:

        def with_pool(name):
            with contextlib.suppress(ObjectAlreadyExists):
                client.create_work_pool(WorkPoolCreate(name=name, type="warm-process"))
            return client

        yield with_pool


@pytest.fixture(scope="session")
def rendered(tmp_path_factory):
    return tmp_path_factory.mktemp("rendered")


@pytest.fixture
def shared_cache(home, rendered, monkeypatch):
    """
    A cache that tests share, for tests of what follows rendering: equal inputs are rendered once.

    Marked pictures depend on the key of the mark, which is a home's own unless the settings name one.
    """
    monkeypatch.setenv("MUSETALK_STORE__CACHE_FOLDER", str(rendered))
    monkeypatch.setenv("MUSETALK_MARK__SECRETS", "m" * 32)
    fresh_settings()
    return rendered


def fresh_settings():
    get_settings.cache_clear()
    build_engine.cache_clear()


@pytest.fixture
def musetalk(home, golden_models, monkeypatch):
    """The neural engine with stand-in weights and the packaged mesh; installed, as far as jobs can tell."""
    folder = golden_models("unet-v1", "unet-v15", "vae", "whisper", "bisenet")
    monkeypatch.setenv("MUSETALK_WEIGHTS__FOLDER", str(folder))
    monkeypatch.setenv("MUSETALK_MODELS__DEVICE", "cpu")
    monkeypatch.setenv("MUSETALK_MODELS__LANDMARKS", "mesh")
    fresh_settings()
    return folder


@pytest.fixture
def portrait_file(home):
    path = home / "anna.jpg"
    path.write_bytes((ASSETS / "astronaut.jpg").read_bytes())
    return path


@pytest.fixture
def speech_file(home, request):
    """Seven seconds of speech, or the first SPEECH_S of them if the tests of a file need no more."""
    path = home / "hello.wav"
    with wave.open(str(next(ASSETS.glob("sense*.wav")))) as source, wave.open(str(path), "wb") as target:
        target.setparams(source.getparams())
        seconds = getattr(request.module, "SPEECH_S", 10)
        target.writeframes(source.readframes(seconds * source.getframerate()))
    return path


@pytest.fixture
def clip_file(home):
    """Two seconds of the portrait swaying, 25 frames a second."""
    return swaying_clip(home / "anna.mp4", seconds=2, rate=25)


@pytest.fixture
def short_clip(home):
    """Five frames, for engines that take their time over every one."""
    return swaying_clip(home / "anna.mp4", seconds=0.2, rate=25)


@pytest.fixture
def wide_clip(home):
    """Three seconds of 720p."""
    return swaying_clip(home / "wide.mp4", seconds=3, rate=25, size=(1280, 720))


def swaying_clip(path, seconds, rate, size=(320, 320)):
    image = cv2.resize(cv2.imdecode(np.fromfile(ASSETS / "astronaut.jpg", np.uint8), cv2.IMREAD_COLOR), size)
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "16", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for number in range(int(seconds * rate)):
            shift = np.float32([[1, 0, 6 * np.sin(number / 9)], [0, 1, 3 * np.cos(number / 7)]])
            moved = cv2.warpAffine(image, shift, size, borderMode=cv2.BORDER_REPLICATE)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(moved, "bgr24")))
        container.mux(stream.encode())
    path.write_bytes(buffer.getvalue())
    return path


@pytest.fixture
def receiver():
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def webhook_server(home, receiver, monkeypatch):
    """The server with `notify` deployed; webhooks are signed and may go to the receiver and nowhere else."""
    from webhook_jobs import SECRETS

    monkeypatch.setenv("MUSETALK_EGRESS__ALLOW_HTTP", "true")
    monkeypatch.setenv("MUSETALK_EGRESS__ALLOWED_HOSTS", receiver.host)
    monkeypatch.setenv("MUSETALK_WEBHOOK__SECRETS", ",".join(SECRETS))
    monkeypatch.setenv("MUSETALK_API__PUBLIC_URL", "https://render.example")
    get_settings.cache_clear()
    with get_client(sync_client=True) as client:
        client.create_deployment(
            flow_id=client.create_flow_from_name("notify"),
            name=INTERNAL_FLOWS["notify"].title,
            parameter_openapi_schema=parameters_schema(NotifyJob),
            enforce_parameter_schema=True,
        )
        yield client


@pytest.fixture
def job(webhook_server, receiver):
    """Return a function that creates a job in a given state, with a webhook to the receiver."""

    from webhook_jobs import lip_sync

    server, made = webhook_server, []

    def make(state=None, events=None, signed_links=False, **control):
        notify = Notify(url=receiver.url, signed_links=signed_links, **({"events": events} if events else {}))
        control = Control(notify=notify, **control)
        parameters = {"control": control.model_dump(mode="json", exclude_defaults=True)}
        run = server.create_flow_run(
            lip_sync, parameters=parameters, tags=tags_for(control), state=Scheduled()
        )
        if state is not None:
            if not state.is_cancelled():
                server.set_flow_run_state(run.id, Running(), force=True)
            server.set_flow_run_state(run.id, state, force=True)
        made.append(run.id)
        return run.id

    yield make
    for run in made:  # the janitor reads all runs of the server
        with contextlib.suppress(ObjectNotFound):
            server.delete_flow_run(run)
