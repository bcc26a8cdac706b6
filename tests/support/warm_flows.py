"""Flows that misbehave in every way a worker must bear. Children import this: nothing heavy up here."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from prefect import flow, task


@flow
def empty(control: dict | None = None):
    return None


@flow
def nap(seconds: float = 5.0, control: dict | None = None):
    time.sleep(seconds)


@flow
def whoami(path: str, job: dict, until: str | None = None):
    """Write the process id to `path`, then run until the file `until` exists."""
    Path(path).write_text(str(os.getpid()))
    while until and not Path(until).exists():
        time.sleep(0.05)


@flow
def write(path: str, seconds: float = 0.0, control: dict | None = None):
    """One line a run, so that a doubled output can be seen."""
    time.sleep(seconds)
    with Path(path).open("a") as file:
        file.write(f"{os.getpid()}\n")


@flow
def write_once(path: str, seconds: float = 0.0, control: dict | None = None):
    """As our own flows do: the file is there whole or not at all, and a second writer changes nothing."""
    time.sleep(seconds)
    draft = Path(f"{path}.{os.getpid()}")
    draft.write_text("done\n")
    draft.replace(path)


@flow
def encode(folder: str, seconds: float = 60.0):
    """A task with a scratch file and a process of its own that ignores SIGTERM, like a hanging encoder."""

    @task
    def work():
        from tasks.run.cancellation import raise_if_cancelled

        with tempfile.NamedTemporaryFile(prefix="scratch-") as scratch:
            code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
            with subprocess.Popen([sys.executable, "-c", code]) as process:
                Path(folder, "started").write_text(f"{os.getpid()} {process.pid} {scratch.name}")
                end = time.monotonic() + seconds
                while time.monotonic() < end:
                    raise_if_cancelled()
                    time.sleep(0.05)
                process.kill()

    work.submit().result()


@flow
def stubborn(folder: str, seconds: float = 60.0):
    """Neither asks nor listens."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    Path(folder, "started").write_text(f"{os.getpid()} {os.getpid()} {tempfile.gettempdir()}")
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.05)


@flow
def holds_the_lock(folder: str):
    """A long C call that never lets Python run: no heartbeat, no signal."""
    import re

    Path(folder, "started").write_text(f"{os.getpid()} {os.getpid()} {tempfile.gettempdir()}")
    re.match(r"(a+)+$", "a" * 40 + "b")


@flow
def dies(number: int, marks: str | None = None):
    """Kills its own process; with `marks`, only the first time."""
    if marks is not None:
        mark = Path(marks, "died")
        if mark.exists():
            return
        mark.touch()
    os.kill(os.getpid(), number)
    time.sleep(10)


@flow
def fails():
    raise ValueError("on purpose")


@flow
def hungry(megabytes: int):
    held = bytearray(megabytes << 20)
    held[:: 1 << 12] = b"x" * len(held[:: 1 << 12])
    time.sleep(30)


@flow
def leaks(megabytes: int = 0):
    _kept.append(b"x" * (megabytes << 20))
    return os.getpid()


_kept: list[bytes] = []


def _told(flow, flow_run, state):
    path = Path(flow_run.parameters["path"])
    path.write_text(f"{state.type.value} {flow_run.id}")


@flow(on_crashed=[_told], on_cancellation=[_told])
def hooked(path: str, die: bool = False):
    if die:
        os.kill(os.getpid(), signal.SIGSEGV)
    time.sleep(60)


@flow
async def asynchronous(path: str):
    import asyncio

    await asyncio.sleep(0.01)
    Path(path).write_text("ran")


@flow
def surroundings(path: str):
    Path(path).write_text(
        f"{os.environ.get('MARK', '')} {tempfile.gettempdir()} {os.environ['CUDA_VISIBLE_DEVICES']}"
    )


SHELF_BYTES = 500 << 20


@flow
def uses_a_model():
    """A model of 500 MB from a file, loaded once per process."""
    import torch

    from musetalk_core.runtime.model_cache import ModelCache

    shelf = globals().setdefault("_shelf", ModelCache(budget_bytes=1 << 30))
    net = shelf.get("model-of-500-mb", _load)
    with torch.inference_mode():
        net(torch.ones(1, 11448))


def _load():
    import torch

    net = torch.nn.Linear(11448, 11448, bias=False)  # 524 MB
    net.load_state_dict(torch.load(os.environ["MODEL_FILE"], weights_only=True))
    return net


@flow
def steady(steps: int, control: dict | None = None):
    """Get on by half a second at a time, and say so."""
    import time

    from flows.media.context import job_context
    from flows.schemas.base import JobParameters

    with job_context(JobParameters()) as books:
        for done in range(steps):
            books.report.advance("render", done, steps)
            time.sleep(0.5)


@flow
def lip_sync_in_time(job: dict, control: dict | None = None):
    """Replace the lip_sync flow: sleep for the seconds in the audio file's name, then record a result."""
    from prefect.artifacts import Artifact

    time.sleep(float(Path(job["audio"]).stem))
    output = job["output"]
    name = f"{output['name']}.mp4"
    video = {"uri": f"s3://{output['bucket']}/{output['prefix']}/{name}", "version": "e:1", "size": 7}
    result = {"video": video, "name": name, "duration_s": 1.0, "warnings": []}
    Artifact(type="json", key="result", data=result).create()


@flow
def spends(cpu_s: float, control: dict | None = None):
    """Use CPU time in a phase, and as much in a program that it starts."""
    from flows.media.context import job_context
    from flows.schemas.base import JobParameters
    from tasks.run.reports import phase

    code = f"import time\nwhile time.process_time() < {cpu_s}: pass"
    with job_context(JobParameters()), phase("render"):
        subprocess.run([sys.executable, "-S", "-c", code], check=True)
        end = time.thread_time() + cpu_s
        while time.thread_time() < end:
            pass
