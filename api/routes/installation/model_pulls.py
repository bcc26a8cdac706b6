"""Download of a model by a process of its own, with progress: `musetalk weights pull`, started by the API."""

import asyncio
import re
import sys
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from api.errors import Problem

PullState = Literal["running", "succeeded", "failed", "stopped"]

_COMMAND: Final[Sequence[str]] = (sys.executable, "-u", "-m", "deployments.cli", "weights", "pull")
_PERCENT: Final = re.compile(r"([^:]{1,300}): (\d{1,3}) % of")
_DONE: Final = re.compile(r"([^:]{1,300}): (?:pulled|was pulled by another process)$")
_MAX_LINES: Final = 20
_MAX_LINE_BYTES: Final = 1 << 16
_STOP_TIMEOUT_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class ModelPull:
    """
    A download.

    Attributes:
        name:    model or group that was named.
        state:   whether it runs or how it ended.
        file:    file that is being downloaded, or the last one.
        percent: how much of that file has arrived.
        detail:  last lines of output.
    """

    name: str
    state: PullState = "running"
    file: str | None = None
    percent: int = 0
    detail: str = ""


class ModelPulls:
    """Downloads of one API process, one at a time."""

    def __init__(self, command: Sequence[str] = _COMMAND) -> None:
        """
        Prepare; starts nothing.

        Args:
            command: program and arguments, to which the name of the model is added.
        """
        self.current: ModelPull | None = None
        """The download that runs, or the last one."""
        self._command = tuple(command)
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None

    async def start(self, name: str, *, accept_licence: bool = False) -> ModelPull:
        """
        Start a download; a repeated request for the same name returns the running one.

        Args:
            name:           a model or group of the registry.
            accept_licence: whether a licence that forbids commercial use is accepted.

        Raises:
            Problem: `in_use`: another model is being downloaded.
        """
        if self.current is not None and self.current.state == "running":
            if self.current.name != name:
                raise Problem("in_use", f"{self.current.name} is being installed. Wait for its end.")
            return self.current
        self.current = ModelPull(name)
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                name,
                *(("--accept-licence",) if accept_licence else ()),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                limit=_MAX_LINE_BYTES,
                start_new_session=True,
            )
        except OSError as error:
            self.current = replace(self.current, state="failed", detail=type(error).__name__)
            raise
        self._reader = asyncio.create_task(self._follow(self._process))
        return self.current

    async def stop(self) -> None:
        """Stop the download that runs; what has arrived is kept for the next one."""
        if self.current is None or self._process is None or self.current.state != "running":
            return
        self.current = replace(self.current, state="stopped")
        self._process.terminate()
        try:
            async with asyncio.timeout(_STOP_TIMEOUT_S):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
        if self._reader is not None:
            await self._reader

    async def _follow(self, process: asyncio.subprocess.Process) -> None:
        lines = deque[str](maxlen=_MAX_LINES)
        while process.stdout is not None and (line := await _read_line(process.stdout)):
            text = line.decode(errors="replace").strip()
            lines.append(text)
            if self.current is not None:
                self.current = _with_line(self.current, text)
        status = await process.wait()
        if self.current is not None and self.current.state == "running":
            state: PullState = "failed" if status else "succeeded"
            self.current = replace(self.current, state=state, detail="\n".join(lines))


async def _read_line(stream: asyncio.StreamReader) -> bytes:
    try:
        return await stream.readline()
    except ValueError:  # longer than the limit, which clears the buffer
        return b"\n"


def _with_line(pull: ModelPull, text: str) -> ModelPull:
    """Return a download with the progress that a line of `musetalk weights pull` reports."""
    if match := _PERCENT.match(text):
        return replace(pull, file=match[1], percent=int(match[2]))
    if match := _DONE.match(text):
        return replace(pull, file=match[1], percent=100)
    return pull
