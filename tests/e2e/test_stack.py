"""`musetalk up` for real: a Prefect server, a worker and the API, in a home of its own."""

import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID, uuid4

import httpx
import pictures
import pytest
from whole_stack import MUSETALK, Stack, free_port, processes_of, running_stack, start

from api.client import MusetalkClient
from deployments.stack.home_lock import find_running_stack

pytestmark = [pytest.mark.stack, pytest.mark.slow]

ASSETS = Path(__file__).resolve().parents[1] / "assets"
ASTRONAUT = ASSETS / "astronaut.jpg"
SPEECH = ASSETS / "sense_and_sensibility_01_austen_64kb-0870.wav"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running_stack(tmp_path_factory.mktemp("stack")) as stack:
        yield stack


def test_everything_is_ready_and_says_where(stack):
    assert httpx.get(f"{stack.api_url}/readyz").json() == {
        "ready": True,
        "checks": {"prefect": "ok", "worker gpu": "ok", "worker light": "ok", "store": "ok"},
    }
    here = find_running_stack(stack.home)
    assert here is not None and (here.api_url, here.prefect_url) == (stack.api_url, stack.prefect_url)
    assert stack.api_url in stack.log.read_text() and stack.prefect_url in stack.log.read_text()
    assert httpx.get(stack.prefect_url).status_code == 200
    assert {log.name for log in (stack.home / "logs").iterdir()} >= {
        "prefect.log",
        "api.log",
        "worker-gpu.log",
    }


def test_a_second_stack_on_the_same_home_is_refused(stack):
    command = [*MUSETALK, "up", "--home", str(stack.home)]

    second = subprocess.run(command, capture_output=True, text=True, timeout=30)

    assert second.returncode == 1
    assert "already running" in second.stderr and stack.api_url in second.stderr


def test_a_taken_port_is_named_with_its_cure(stack, tmp_path):
    port = stack.api_url.rsplit(":", 1)[1]
    command = [*MUSETALK, "up", "--home", str(tmp_path), "--port", port, "--prefect-port", str(free_port())]

    second = subprocess.run(command, capture_output=True, text=True, timeout=30)

    assert second.returncode == 1
    assert f"Port {port} " in second.stderr and "--port N" in second.stderr


def test_a_spoken_text_comes_out_and_is_cached_the_second_time(stack, tmp_path):
    api = MusetalkClient(stack.api_url)
    first = api.wait(api.submit("speech", {"text": "Hello."})["id"])
    second = api.wait(api.submit("speech", {"text": "Hello."})["id"])

    assert first["status"] == second["status"] == "succeeded"
    assert (first["result"]["cached"], second["result"]["cached"]) == (
        [],
        ["speak", "join", "encode", "sign"],
    )
    assert second["progress"]["percent"] == 100
    assert api.download(first["id"], tmp_path).read_bytes()[:3] == b"ID3"


def musetalk(stack: Stack, *words: str) -> subprocess.CompletedProcess[str]:
    """A command as a person gives it; its output is what stands on the screen afterwards."""
    command = [*MUSETALK, *words, "--server", stack.api_url]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def submitted(stack: Stack, *words: str) -> list[str]:
    """Submit a job and watch it to its end; the lines that were seen, after the job's id."""
    done = musetalk(stack, "submit", *words, "--wait")
    assert done.returncode == 0, done.stdout + done.stderr
    job, *seen = done.stdout.splitlines()
    assert str(UUID(job)) == job and done.stderr == ""
    return seen


def test_a_picture_is_looked_at_by_command(stack, tmp_path):
    pictures.page().save(tmp_path / "page.png")
    words = ("analyze", "--image", str(tmp_path / "page.png"))

    first, again = submitted(stack, *words), submitted(stack, *words)

    assert first[0].startswith("analyze: ")
    assert "analyze succeeded: page_analysed.jpg (1000x420)" in first
    told = "\n".join(first)
    assert pictures.PAGE[0] in told and "model: starter" in told
    assert "cached: nothing" in first
    assert next(line for line in again if line.startswith("cached: ")) != "cached: nothing"


def test_a_question_about_a_picture_is_asked_by_command(stack):
    seen = submitted(
        stack,
        "analyze",
        "--image",
        str(ASTRONAUT),
        "--set",
        "question=How many people?",
        "--set",
        "length=short",
        "--set",
        "fallback=true",  # no model that answers questions is installed
    )

    assert any(line.startswith("analyze succeeded") for line in seen)


def test_words_become_speech_by_command(stack):
    seen = submitted(stack, "speech", "--text", "Good morning.", "--set", "format=mp3")

    assert any(line.startswith("speech succeeded: speech.mp3 (") for line in seen)


def test_speech_becomes_words_by_command(stack):
    seen = submitted(stack, "transcribe", "--audio", str(SPEECH))

    assert any(line.startswith("transcribe succeeded") for line in seen)
    assert "leisure to consider how much there might be" in "\n".join(seen)


def test_a_portrait_speaks_and_is_fetched_by_command(stack, tmp_path):
    done = musetalk(stack, "submit", "portrait", "--image", str(ASTRONAUT), "--text", "Hello.", "--wait")

    assert done.returncode == 0, done.stdout + done.stderr
    job, *seen = done.stdout.splitlines()
    ended = next(line for line in seen if line.startswith("portrait succeeded"))
    assert ".mp4" in ended and "at 25 frames per second" in ended
    fetched = musetalk(stack, "result", job, "--output", str(tmp_path))
    assert fetched.returncode == 0, fetched.stderr
    assert [path.read_bytes()[4:8] for path in tmp_path.glob("*.mp4")] == [b"ftyp"]


def test_what_cannot_be_is_said_in_one_line_by_command(stack, tmp_path):
    (tmp_path / "no.png").write_text("no picture")

    failed = musetalk(stack, "submit", "analyze", "--image", str(tmp_path / "no.png"), "--wait")
    missing = musetalk(stack, "submit", "analyze", "--image", str(tmp_path / "none.png"))
    nothing = musetalk(stack, "submit", "analyze")

    assert failed.returncode == 1 and "[unsupported_media]" in failed.stdout + failed.stderr
    for told in (missing, nothing):
        assert told.returncode == 2 and "Traceback" not in told.stderr
        assert len(told.stderr.strip().splitlines()) <= 2, told.stderr


def test_a_failing_job_says_why(stack):
    api = MusetalkClient(stack.api_url)

    job = api.wait(api.submit("lip_sync", {"video": "asset://none", "audio": "asset://none"})["id"])

    assert job["status"] == "failed" and job["error"]["code"] == "input_not_found"


def test_an_unknown_job_is_unknown(stack):
    assert httpx.get(f"{stack.api_url}/v1/jobs/{uuid4()}").status_code == 404


def test_one_key_makes_one_job(stack):
    def send(text: str) -> httpx.Response:
        headers = {"Idempotency-Key": "the-same"}
        return httpx.post(f"{stack.api_url}/v1/jobs/speech", json={"text": text}, headers=headers, timeout=30)

    first, again, other = send("One."), send("One."), send("Two.")

    assert first.json()["id"] == again.json()["id"]
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")


def test_a_queued_job_is_cancelled_at_once(stack):
    api = MusetalkClient(stack.api_url)
    jobs = [api.submit("speech", {"text": f"Number {number}."}) for number in range(3)]

    last = api.cancel(jobs[-1]["id"])

    assert last["status"] == "canceled"
    assert httpx.get(f"{stack.api_url}/status/{jobs[-1]['id']}").json()["status"] == "cancelled"
    assert [api.wait(job["id"])["status"] for job in jobs] == ["succeeded", "succeeded", "canceled"]


def test_an_interrupted_job_goes_on_after_a_restart_and_nothing_is_left(tmp_path):
    first = start(tmp_path / "home", tmp_path / "up.log")
    api = MusetalkClient(first.api_url)
    job = api.submit("speech", {"text": "My mother bought five big blue balloons. " * 300})["id"]
    while api.job(job)["status"] == "queued":
        time.sleep(0.1)

    first.process.send_signal(signal.SIGKILL)
    first.process.wait()
    deadline = time.monotonic() + 15
    while left := list(processes_of(first.home)):
        assert time.monotonic() < deadline, left
        time.sleep(0.2)

    second = start(tmp_path / "home", tmp_path / "up2.log")
    try:
        assert MusetalkClient(second.api_url).wait(job)["status"] == "succeeded"
    finally:
        second.process.send_signal(signal.SIGINT)
        assert second.process.wait(30) == 0
    assert list(processes_of(second.home)) == []
    assert find_running_stack(second.home) is None
