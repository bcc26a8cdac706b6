"""Bad input, as jobs meet it: a stable code, a sentence, quickly, and nothing half-written left behind."""

import json
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path

import av
import numpy as np
import pytest
from shown import artifacts_of

from flows.lip_sync import lip_sync
from flows.portrait import portrait
from flows.schemas.base import Output
from flows.schemas.speech import SpeechJob
from flows.schemas.video import LipSyncJob, PortraitJob
from flows.speech import speech
from musetalk_core.errors import RenderError
from tasks.settings import get_settings

SPEECH_S = 3


def silent_clip(seconds=1):
    path = Path(tempfile.mkdtemp()) / "noise.mp4"
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        rng = np.random.default_rng(0)
        for _ in range(25 * seconds):
            noise = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(noise, "rgb24")))
        container.mux(stream.encode())
    return path.read_bytes()


def huge_png():
    """A header that promises 30,000 x 30,000 pixels."""

    def part(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    lines = zlib.compress(b"\0" * 1000)
    return b"\x89PNG\r\n\x1a\n" + part(b"IHDR", header) + part(b"IDAT", lines) + part(b"IEND", b"")


def playlist(target):
    return f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile://{target}\n#EXT-X-ENDLIST\n".encode()


BAD_VIDEOS = {
    "empty": (lambda _: b"", "unsupported_media"),
    "no moov": (lambda _: silent_clip()[:300], "unsupported_media"),
    "cut off": (lambda _: silent_clip(4)[: len(silent_clip(4)) // 2], "unsupported_media"),
    "text": (lambda _: b"this is not a video at all, only words. " * 50, "unsupported_media"),
    "playlist": (playlist, "unsupported_media"),
    "concat script": (lambda other: f"ffconcat version 1.0\nfile '{other}'\n".encode(), "unsupported_media"),
    "bomb": (lambda _: huge_png(), "input_too_large"),
    "no face": (lambda _: silent_clip(), "no_face"),
}


def error_artifact(job):
    """Run a flow that must fail on purpose; give its error, what it told the world and its CPU time."""
    flow, parameters = job
    began = time.process_time()
    state = flow(parameters, return_state=True)
    took = time.process_time() - began
    error = state.result(raise_on_failure=False)
    return error, json.loads(artifacts_of(state)["error"].data), took


def leftovers(home):
    """Files below the cache and store that are neither finished artefacts nor bookkeeping."""
    places = [
        home / "home" / "cache" / "tmp",
        home / "home" / "store" / "outputs",
        home / "home" / "cache" / "parts",
    ]
    return [str(path) for place in places if place.exists() for path in place.rglob("*") if path.is_file()]


@pytest.mark.parametrize("name", BAD_VIDEOS)
def test_a_bad_video_is_a_typed_error_within_seconds(name, home, speech_file, clip_file):
    make, code = BAD_VIDEOS[name]
    bad = home / "bad.mp4"
    bad.write_bytes(make(clip_file))

    error, told, took = error_artifact(
        (lip_sync, LipSyncJob(video=f"file://{bad}", audio=f"file://{speech_file}"))
    )

    assert isinstance(error, RenderError)
    assert (error.code, told["code"], told["retryable"]) == (code, code, False)
    assert len(told["message"].split()) > 3
    assert str(home) not in told["message"]
    assert took < 15
    assert leftovers(home) == []


def test_a_speech_without_sound_is_told_so(home, clip_file):
    error, told, _ = error_artifact(
        (lip_sync, LipSyncJob(video=f"file://{clip_file}", audio=f"file://{clip_file}"))
    )

    assert (error.code, told["code"]) == ("no_audio", "no_audio")


def test_a_missing_file_and_a_closed_folder_are_told_apart(home, portrait_file, speech_file):
    missing = PortraitJob(image=f"file://{home}/nobody.png", audio=f"file://{speech_file}")
    closed = PortraitJob(image="file:///etc/hostname", audio=f"file://{speech_file}")

    assert error_artifact((portrait, missing))[1]["code"] == "input_not_found"
    assert error_artifact((portrait, closed))[1]["code"] == "local_path_disabled"


DISK_FULL = """
import resource, signal, sys
from pathlib import Path
from prefect import flow
from flows.lip_sync import lip_sync
from flows.schemas.video import LipSyncJob
from musetalk_core.errors import RenderError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
flow(lambda: None, name="warm-up")()
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), int(sys.argv[3])))
try:
    lip_sync(LipSyncJob(video=sys.argv[1], audio=sys.argv[2], engine="fake"))
except RenderError as error:
    print(error.code, "|", error)
"""


@pytest.mark.parametrize("limit", [60_000, 400_000], ids=["while hearing", "while rendering"])
def test_a_full_disk_is_told_and_leaves_nothing_half_written(home, clip_file, speech_file, limit):
    import os

    env = {**os.environ, "PREFECT_LOCAL_STORAGE_PATH": str(home / "results")}
    from prefect.settings import PREFECT_API_URL

    env["PREFECT_API_URL"] = PREFECT_API_URL.value()
    script = home / "full.py"
    script.write_text(DISK_FULL)
    done = subprocess.run(
        [sys.executable, script, f"file://{clip_file}", f"file://{speech_file}", str(limit)],
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert done.stdout.startswith("disk_full |"), done.stderr[-2000:]
    assert leftovers(home) == []
    assert not list(Path(home / "home" / "cache" / "artefacts").rglob("*.mp4"))


def test_a_bucket_that_may_not_be_written_is_told_before_any_work(home, monkeypatch, speech_file, clip_file):
    monkeypatch.setenv("MUSETALK_S3__WRITE_BUCKETS", "ours")
    get_settings.cache_clear()
    output = Output(bucket="theirs", name="hello")
    video = LipSyncJob(video=f"file://{clip_file}", audio=f"file://{speech_file}", output=output)

    for job in ((lip_sync, video), (speech, SpeechJob(text="Hello.", output=output))):
        _, told, _ = error_artifact(job)
        assert told["code"] == "bucket_not_allowed"

    made = {path.name for path in (home / "home" / "cache" / "artefacts").iterdir()}
    assert made == set()  # not even the inputs were fetched
