"""A worker's slot: one child process that executes runs, and is restarted whenever it ends."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal

from deployments.launch import with_start_log
from deployments.start_watch import StartWatch
from deployments.warm.protocol import (
    Beat,
    Done,
    Hooks,
    Leave,
    Loaded,
    Message,
    Order,
    Ready,
    Stop,
    Why,
    decode,
    encode,
)
from tasks.settings import StartSettings, WorkerSettings

State = Literal["starting", "idle", "busy", "ending", "gone"]

_PROGRESS_S: Final = 1.0
_PAUSES_S: Final = (0.0, 0.5, 2.0, 8.0, 30.0)
"""Delays before the next start, by the number of consecutive children that received no run."""
_REMEMBERED: Final = 32


@dataclass(frozen=True, slots=True)
class Ended:
    """The outcome of a run from the view of its process."""

    state: str | None
    """Type of the last state that the engine reported; None if it reported none."""
    code: int
    """Exit status; negative for a signal, as in `subprocess`."""
    killed_for: str | None = None
    """Why the slot killed the process, as text; None if it did not."""
    fault: str | None = None
    """Why no worker can start the run, as message of its Failed state; None if the run was started."""


class Slot:
    """
    A child process with its status, warm data and restarts.

    `execute` runs one flow run in it. The slot owns the child's process group. All methods must be called in
    one event loop.
    """

    def __init__(
        self,
        number: int,
        environment: Mapping[str, str],
        preload: tuple[str, ...],
        rules: WorkerSettings,
        on_free: Callable[[], None],
        say: Callable[[str], None],
        limits: StartSettings = StartSettings(),  # noqa: B008  frozen
    ) -> None:
        """
        Configure the slot without starting its child.

        Args:
            number:      index of the slot in the worker, from 0.
            environment: complete environment of the child, including its GPU.
            preload:     modules that the child imports before its first run.
            rules:       worker settings, with the limits at which a child is replaced.
            on_free:     called whenever the slot becomes free.
            log:         called with each log line.
            limits:      limits for the start of a child.
        """
        self.number = number
        self.card = environment.get("CUDA_VISIBLE_DEVICES", "")
        self.state: State = "gone"
        self.run_id: str | None = None
        self.has_hooks = False
        """Whether the current flow, or the last one, has crash or cancellation hooks."""
        self.beat = Beat(rss=0)
        self.runs = 0
        """Number of runs of the present child."""
        self.served = 0
        """Number of runs of all children of this slot."""
        self.restarts = 0
        self.loads: dict[str, int] = {}
        """Number of loads per model, of all children of this slot."""
        self.known: OrderedDict[str, None] = OrderedDict()
        """Affinity keys of recent runs: models and avatars that are loaded in the child; oldest first."""
        self._environment, self._preload, self._rules = dict(environment), preload, rules
        self._on_free, self._say, self._limits = on_free, say, limits
        self._process: asyncio.subprocess.Process | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._heard_at = 0.0
        self._first_rss = 0
        self._fruitless = 0
        self._was_used = False
        self._done: asyncio.Future[Done] | None = None
        self._reading: asyncio.Task[None] | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._closing = False
        self._killed_for: str | None = None
        self._stopping = False
        self._later: list[Hooks] = []
        self._gone: asyncio.Future[Ended] | None = None

    @property
    def pid(self) -> int | None:
        """Process id of the child; None while there is none."""
        return self._process.pid if self._process else None

    @property
    def is_free(self) -> bool:
        """Whether the slot can execute a run."""
        return self.state == "idle"

    def open(self) -> None:
        """Start the child, and restart it whenever it ends, until `close`."""
        self._keeping = asyncio.create_task(self._keep(), name=f"child {self.number}")

    async def _keep(self) -> None:
        while not self._closing:
            pause = _PAUSES_S[min(self._fruitless, len(_PAUSES_S) - 1)]
            await asyncio.sleep(pause)
            try:
                await self._start()
            except (OSError, TimeoutError) as error:
                self._fruitless += 1
                self._say(f"child {self.number} did not start: {error or type(error).__name__}")
                await self._reap()
                continue
            await self._until_silent()
            await self._reap()
            self.restarts += 1
            if not self._was_used:  # it ended without a run, and so may the next child
                self._fruitless += 1

    async def _until_silent(self) -> None:
        """Wait until the child disconnects; an unreadable message ends the child, not the worker."""
        if self._reading is None:
            return
        try:
            await self._reading
        except Exception as error:
            self._say(f"child {self.number} sent a message that cannot be read: {error!r}")

    async def _start(self) -> None:
        ours, theirs = socket.socketpair()
        try:
            command = [sys.executable, "-m", "deployments.warm.child", str(theirs.fileno()), *self._preload]
            command = with_start_log(f"child {self.number}", command)
            self.state, self._killed_for, self._stopping = "starting", None, False
            self._was_used = False
            self._gone = asyncio.get_running_loop().create_future()
            self._process = await asyncio.create_subprocess_exec(
                *command,
                env=self._environment,
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        reader, self._writer = await asyncio.open_connection(sock=ours, limit=1 << 24)
        ready: asyncio.Future[Ready] = asyncio.get_running_loop().create_future()
        self._heard_at = time.monotonic()
        self._reading = asyncio.create_task(self._read(reader, ready))
        told = await self._until_ready(ready)
        self.runs, self._first_rss, self.known = 0, 0, OrderedDict()
        self._say(f"child {self.number} is ready after {told.seconds:.1f} s, process {told.pid}")
        while self._later:
            self._send(self._later.pop(0))
        self._free()

    async def _until_ready(self, ready: "asyncio.Future[Ready]") -> Ready:
        """Wait while the child makes progress; raises TimeoutError if it stalls or takes too long."""
        watch, told = StartWatch(self._limits), 0
        while not (await asyncio.wait({ready}, timeout=_PROGRESS_S))[0]:
            watch.update([self.pid] if self.pid else [])
            if trouble := watch.failure():
                raise TimeoutError(f"process {self.pid} {trouble}")
            if int(watch.seconds // 30) > told:
                told = int(watch.seconds // 30)
                self._say(
                    f"child {self.number}, process {self.pid}, has been starting for {watch.seconds:.0f} s"
                )
        return ready.result()

    async def _read(self, reader: asyncio.StreamReader, ready: asyncio.Future[Ready]) -> None:
        try:
            async for line in reader:
                self._heard_at = time.monotonic()
                self._hear(decode(line), ready)
        except ConnectionError:
            return
        finally:
            if not ready.done():
                ready.set_exception(OSError("it ended during its start"))

    def _hear(self, message: Message, ready: asyncio.Future[Ready]) -> None:
        match message:
            case Ready() as told if not ready.done():
                ready.set_result(told)
            case Loaded() as loaded:
                self.has_hooks = loaded.hooks
            case Beat() as beat:
                self._note(beat)
            case Done() as done:
                self._note(done.beat)
                if self._done and not self._done.done():
                    self._done.set_result(done)
            case _:
                return

    def _note(self, beat: Beat) -> None:
        for model, times in beat.loads.items():
            new = times - self.beat.loads.get(model, 0)
            if new > 0:
                self.loads[model] = self.loads.get(model, 0) + new
        self.beat = beat

    def _free(self) -> None:
        self.state, self.run_id = "idle", None
        self._on_free()

    async def execute(self, order: Order, warm: tuple[str, ...]) -> Ended:
        """
        Execute one run in the child, and replace the child afterwards if necessary.

        Args:
            request:   the run. The slot must be free.
            warm_keys: affinity keys of the run, whose data is loaded in the child afterwards.

        Returns:
            The outcome, also if the child crashes or is killed.

        Raises:
            RuntimeError: the slot is not free.
        """
        if not self.is_free:
            raise RuntimeError(f"child {self.number} is {self.state}")
        self.state, self.run_id, self.has_hooks = "busy", order.run_id, False
        self._was_used = True
        self._done = asyncio.get_running_loop().create_future()
        self._heard_at = time.monotonic()
        for name in warm:
            self.known[name] = None
            self.known.move_to_end(name)
        while len(self.known) > _REMEMBERED:
            self.known.popitem(last=False)
        self._send(order)
        watching = asyncio.create_task(self._watch())
        try:
            return await self._outcome()
        finally:
            watching.cancel()
            self._done = None

    async def _outcome(self) -> Ended:
        done, gone = self._done, self._gone
        if done is None or gone is None:
            raise RuntimeError("no child")
        await asyncio.wait({done, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not done.done():
            return gone.result()
        told = done.result()
        self.runs, self.served, self._fruitless = self.runs + 1, self.served + 1, 0
        reason = told.tainted or self._stale(told) or ("its run was stopped" if self._stopping else None)
        if reason or self.state != "busy":
            self.end(reason or "")
        else:
            self._free()
        return Ended(told.state, told.code, fault=told.fault)

    def _stale(self, told: Done) -> str | None:
        self._first_rss = self._first_rss or told.beat.rss
        rules = self._rules
        if rules.max_runs and self.runs >= rules.max_runs:
            return f"it has served {self.runs} runs"
        grown = told.beat.rss - self._first_rss
        if rules.growth_bytes and grown > rules.growth_bytes:
            return f"its memory has grown by {grown >> 20} MiB since its first run"
        if rules.memory_bytes and told.beat.rss > rules.memory_bytes:
            return f"it uses {told.beat.rss >> 20} MiB"
        return None

    async def _watch(self) -> None:
        """Kill the busy child if it sends no messages for `hang_s`, or exceeds `memory_bytes`."""
        rules = self._rules
        while True:
            await asyncio.sleep(0.5)
            silent = time.monotonic() - self._heard_at
            if silent > rules.hang_s:
                self.end(f"it sent no heartbeat for {silent:.0f} s")
                return
            if rules.memory_bytes and self.beat.rss > rules.memory_bytes:
                self.end(
                    f"it used {self.beat.rss >> 20} MiB, over the limit of {rules.memory_bytes >> 20} MiB"
                )
                return

    async def stop(self, why: Why) -> None:
        """
        Stop the current run: request it first, and kill the process group after `stop_grace_s`.

        The child is always replaced, because an interrupted run may leave it in an inconsistent state.
        """
        if self.state != "busy" or self._done is None:
            return
        self._stopping = True
        self._send(Stop(why))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(self._done), self._rules.stop_grace_s)
        if self.state == "busy":
            self.end(f"its run did not stop within {self._rules.stop_grace_s:.0f} s ({why})")

    def hooks(self, run_id: str, state: dict[str, object]) -> None:
        """Let the present or the next child run the hooks of a run that another child could not finish."""
        order = Hooks(run_id, state)
        if self.state in ("idle", "busy"):
            self._send(order)
        else:
            self._later.append(order)

    def end(self, reason: str) -> None:
        """Kill the child and all processes it started; a new child is started."""
        if self.state in ("gone", "ending"):
            return
        self._killed_for = self._killed_for or reason
        self._say(f"child {self.number} is replaced: {reason}")
        self.state = "ending"
        self._kill()

    def _kill(self) -> None:
        if self._process and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)

    async def _reap(self) -> None:
        """Wait for the end of the process, kill the rest of its group, and publish the outcome."""
        process = self._process
        if process is None:
            return
        self._kill()
        code = await process.wait()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)  # processes that the child started and did not stop
        if self._writer:
            self._writer.close()
        self.state, self._writer, self._process = "gone", None, None
        self.beat = replace(self.beat, rss=0, device=0, models=(), loads={})
        if self._gone and not self._gone.done():
            self._gone.set_result(Ended(None, code, self._killed_for))

    def _send(self, message: Message) -> None:
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(encode(message))

    async def close(self) -> None:
        """Stop the child without a restart; an idle child first sends Prefect's buffered logs and events."""
        self._closing = True
        if self.state == "idle" and self._reading:
            self._send(Leave())
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(self._reading), 3.0)
        self._kill()
        if self._keeping:
            self._keeping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeping
        await self._reap()
