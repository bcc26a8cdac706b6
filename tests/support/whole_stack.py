"""`musetalk up` for real, on free ports and a home of its own."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deployments.processes.guard import MARKER_VARIABLE

MUSETALK = [sys.executable, "-m", "deployments.cli"]


@dataclass
class Stack:
    home: Path
    process: subprocess.Popen[str]
    api_url: str
    prefect_url: str
    log: Path


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def start(home: Path, log: Path) -> Stack:
    api_port, prefect_port = free_port(), free_port()
    command = [
        *MUSETALK,
        "up",
        "--home",
        str(home),
        "--port",
        str(api_port),
        "--prefect-port",
        str(prefect_port),
    ]
    # as people start it: tests/conftest.py switches services of Prefect's server off, the scheduler above all
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    with log.open("w") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, text=True, cwd="/", env=environment)
    stack = Stack(home, process, f"http://127.0.0.1:{api_port}", f"http://127.0.0.1:{prefect_port}", log)
    deadline = time.monotonic() + 900
    while "Ctrl-C stops" not in log.read_text():
        assert process.poll() is None and time.monotonic() < deadline, log.read_text()
        time.sleep(0.2)
    return stack


@contextmanager
def running_stack(folder: Path) -> Iterator[Stack]:
    """A stack in a folder of its own, stopped at the end."""
    stack = start(folder / "home", folder / "up.log")
    try:
        yield stack
    finally:
        stack.process.terminate()
        stack.process.wait(40)


def processes_of(home: Path) -> Iterator[Path]:
    """The folders in /proc of the processes of the stack on this home."""
    wanted, marker = f"MUSETALK_HOME={home}".encode(), MARKER_VARIABLE.encode()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            variables = (folder / "environ").read_bytes().split(b"\0")
        except OSError:  # ended meanwhile, or another user's
            continue
        if wanted in variables and any(variable.startswith(marker) for variable in variables):
            yield folder
