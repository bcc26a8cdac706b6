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
from dataclasses import dataclass
from typing import Final, Literal

from deployments.processes.launch import with_start_log
from deployments.processes.start_watch import StartMonitor
from deployments.warm_worker.child.protocol import (
    ChildReady,
    FlowLoaded,
    Heartbeat,
    HooksRequest,
    Message,
    RunFinished,
    RunRequest,
    Shutdown,
    StopReason,
    StopRequest,
    decode,
    encode,
)
from deployments.warm_worker.child.totals import ChildTotals
from tasks.settings import StartSettings, WorkerSettings

ChildState = Literal["starting", "idle", "busy", "ending", "gone"]

_PROGRESS_INTERVAL_S: Final = 1.0
_START_DELAYS_S: Final = (0.0, 0.5, 2.0, 8.0, 30.0)
"""Delays before the next start, by the number of consecutive children that received no run."""
_MAX_WARM_KEYS: Final = 32


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """The outcome of a run from the view of its process."""

    state: str | None
    """Type of the last state that the engine reported; None if it reported none."""
    exit_code: int
    """Exit status; negative for a signal, as in `subprocess`."""
    kill_reason: str | None = None
    """Why the slot killed the process, as text; None if it did not."""
    start_error: str | None = None
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
        log: Callable[[str], None],
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
        self.gpu = environment.get("CUDA_VISIBLE_DEVICES", "")
        self.state: ChildState = "gone"
        self.run_id: str | None = None
        self.has_hooks = False
        """Whether the current flow, or the last one, has crash or cancellation hooks."""
        self.device_share = 0.0
        """Share of its GPU that the child has, for the run's usage; 0 without a GPU."""
        self.totals = ChildTotals()
        self.child_runs = 0
        """Number of runs of the present child."""
        self.total_runs = 0
        """Number of runs of all children of this slot."""
        self.restarts = 0
        self.warm_keys: OrderedDict[str, None] = OrderedDict()
        """Affinity keys of recent runs: models and avatars that are loaded in the child; oldest first."""
        self._environment, self._preload, self._rules = dict(environment), preload, rules
        self._on_free, self._log, self._limits = on_free, log, limits
        self._process: asyncio.subprocess.Process | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._last_message_at = 0.0
        self._first_rss = 0
        self._failed_starts = 0
        self._has_received_run = False
        self._run_finished: asyncio.Future[RunFinished] | None = None
        self._read_task: asyncio.Task[None] | None = None
        self._supervise_task: asyncio.Task[None] | None = None
        self._is_closing = False
        self._kill_reason: str | None = None
        self._is_stopping = False
        self._queued_hooks: list[HooksRequest] = []
        self._exited: asyncio.Future[RunOutcome] | None = None

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
        self._supervise_task = asyncio.create_task(self._supervise(), name=f"child {self.number}")

    async def _supervise(self) -> None:
        while not self._is_closing:
            delay_s = _START_DELAYS_S[min(self._failed_starts, len(_START_DELAYS_S) - 1)]
            await asyncio.sleep(delay_s)
            try:
                await self._start()
            except (OSError, TimeoutError) as error:
                self._failed_starts += 1
                self._log(f"child {self.number} did not start: {error or type(error).__name__}")
                await self._reap_child()
                continue
            await self._wait_until_disconnected()
            await self._reap_child()
            self.restarts += 1
            if not self._has_received_run:  # it ended without a run, and so may the next child
                self._failed_starts += 1

    async def _wait_until_disconnected(self) -> None:
        """Wait until the child disconnects; an unreadable message ends the child, not the worker."""
        if self._read_task is None:
            return
        try:
            await self._read_task
        except Exception as error:
            self._log(f"child {self.number} sent a message that cannot be read: {error!r}")

    async def _start(self) -> None:
        worker_socket, child_socket = socket.socketpair()
        try:
            command = [
                sys.executable,
                "-m",
                "deployments.warm_worker.child.main",
                str(child_socket.fileno()),
                *self._preload,
            ]
            command = with_start_log(f"child {self.number}", command)
            self.state, self._kill_reason, self._is_stopping = "starting", None, False
            self._has_received_run = False
            self._exited = asyncio.get_running_loop().create_future()
            self._process = await asyncio.create_subprocess_exec(
                *command,
                env=self._environment,
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=(child_socket.fileno(),),
                start_new_session=True,
            )
        except BaseException:
            worker_socket.close()
            raise
        finally:
            child_socket.close()
        reader, self._writer = await asyncio.open_connection(sock=worker_socket, limit=1 << 24)
        ready: asyncio.Future[ChildReady] = asyncio.get_running_loop().create_future()
        self._last_message_at = time.monotonic()
        self._read_task = asyncio.create_task(self._read_messages(reader, ready))
        ready_message = await self._wait_until_ready(ready)
        self.child_runs, self._first_rss, self.warm_keys = 0, 0, OrderedDict()
        self._log(
            f"child {self.number} is ready after {ready_message.seconds:.1f} s, process {ready_message.pid}"
        )
        while self._queued_hooks:
            self._send(self._queued_hooks.pop(0))
        self._mark_free()

    async def _wait_until_ready(self, ready: "asyncio.Future[ChildReady]") -> ChildReady:
        """Wait while the child makes progress; raises TimeoutError if it stalls or takes too long."""
        monitor, logged_intervals = StartMonitor(self._limits), 0
        while not (await asyncio.wait({ready}, timeout=_PROGRESS_INTERVAL_S))[0]:
            monitor.update([self.pid] if self.pid else [])
            if failure := monitor.failure_reason():
                raise TimeoutError(f"process {self.pid} {failure}")
            if int(monitor.elapsed_s // 30) > logged_intervals:
                logged_intervals = int(monitor.elapsed_s // 30)
                self._log(
                    f"child {self.number}, process {self.pid}, has been starting"
                    f" for {monitor.elapsed_s:.0f} s"
                )
        return ready.result()

    async def _read_messages(self, reader: asyncio.StreamReader, ready: asyncio.Future[ChildReady]) -> None:
        try:
            async for line in reader:
                self._last_message_at = time.monotonic()
                self._on_message(decode(line), ready)
        except ConnectionError:
            return
        finally:
            if not ready.done():
                ready.set_exception(OSError("it ended during its start"))

    def _on_message(self, message: Message, ready: asyncio.Future[ChildReady]) -> None:
        match message:
            case ChildReady() as told if not ready.done():
                ready.set_result(told)
            case FlowLoaded() as loaded:
                self.has_hooks, self.totals.flow = loaded.hooks, loaded.flow
            case Heartbeat() as beat:
                self.totals.record(beat)
            case RunFinished() as done:
                self.totals.record(done.beat)
                if self._run_finished and not self._run_finished.done():
                    self._run_finished.set_result(done)
            case _:
                return

    def _mark_free(self) -> None:
        self.state, self.run_id = "idle", None
        self._on_free()

    async def execute(self, request: RunRequest, warm_keys: tuple[str, ...]) -> RunOutcome:
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
        self.state, self.run_id, self.has_hooks = "busy", request.run_id, False
        self.totals.start_run(request.run_id)
        self._has_received_run = True
        self._run_finished = asyncio.get_running_loop().create_future()
        self._last_message_at = time.monotonic()
        for name in warm_keys:
            self.warm_keys[name] = None
            self.warm_keys.move_to_end(name)
        while len(self.warm_keys) > _MAX_WARM_KEYS:
            self.warm_keys.popitem(last=False)
        self._send(request)
        limit_task = asyncio.create_task(self._enforce_limits())
        try:
            return await self._wait_for_outcome()
        finally:
            limit_task.cancel()
            self._run_finished = None

    async def _wait_for_outcome(self) -> RunOutcome:
        run_finished, exited = self._run_finished, self._exited
        if run_finished is None or exited is None:
            raise RuntimeError("no child")
        await asyncio.wait({run_finished, exited}, return_when=asyncio.FIRST_COMPLETED)
        if not run_finished.done():
            return exited.result()
        finished = run_finished.result()
        self.child_runs, self.total_runs, self._failed_starts = self.child_runs + 1, self.total_runs + 1, 0
        reason = (
            finished.retire_reason
            or self._retire_reason(finished)
            or ("its run was stopped" if self._is_stopping else None)
        )
        if reason or self.state != "busy":
            self.replace_child(reason or "")
        else:
            self._mark_free()
        return RunOutcome(finished.state, finished.code, start_error=finished.fault)

    def _retire_reason(self, finished: RunFinished) -> str | None:
        self._first_rss = self._first_rss or finished.beat.rss
        rules = self._rules
        if rules.max_runs and self.child_runs >= rules.max_runs:
            return f"it has served {self.child_runs} runs"
        growth_bytes = finished.beat.rss - self._first_rss
        if rules.growth_bytes and growth_bytes > rules.growth_bytes:
            return f"its memory has grown by {growth_bytes >> 20} MiB since its first run"
        if rules.memory_bytes and finished.beat.rss > rules.memory_bytes:
            return f"it uses {finished.beat.rss >> 20} MiB"
        return None

    async def _enforce_limits(self) -> None:
        """Kill the busy child if it sends no messages for `hang_s`, or exceeds `memory_bytes`."""
        rules = self._rules
        while True:
            await asyncio.sleep(0.5)
            silent_s = time.monotonic() - self._last_message_at
            if silent_s > rules.hang_s:
                self.replace_child(f"it sent no heartbeat for {silent_s:.0f} s")
                return
            if rules.memory_bytes and self.totals.heartbeat.rss > rules.memory_bytes:
                self.replace_child(
                    f"it used {self.totals.heartbeat.rss >> 20} MiB,"
                    f" over the limit of {rules.memory_bytes >> 20} MiB"
                )
                return

    async def stop(self, reason: StopReason) -> None:
        """
        Stop the current run: request it first, and kill the process group after `stop_grace_s`.

        The child is always replaced, because an interrupted run may leave it in an inconsistent state.
        """
        if self.state != "busy" or self._run_finished is None:
            return
        self._is_stopping = True
        self._send(StopRequest(reason))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(self._run_finished), self._rules.stop_grace_s)
        if self.state == "busy":
            self.replace_child(f"its run did not stop within {self._rules.stop_grace_s:.0f} s ({reason})")

    def request_hooks(self, run_id: str, state: dict[str, object]) -> None:
        """Let the present or the next child run the hooks of a run that another child could not finish."""
        request = HooksRequest(run_id, state)
        if self.state in ("idle", "busy"):
            self._send(request)
        else:
            self._queued_hooks.append(request)

    def replace_child(self, reason: str) -> None:
        """Kill the child and all processes it started; a new child is started."""
        if self.state in ("gone", "ending"):
            return
        self._kill_reason = self._kill_reason or reason
        self._log(f"child {self.number} is replaced: {reason}")
        self.state = "ending"
        self._kill_group()

    def _kill_group(self) -> None:
        if self._process and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)

    async def _reap_child(self) -> None:
        """Wait for the end of the process, kill the rest of its group, and publish the outcome."""
        process = self._process
        if process is None:
            return
        self._kill_group()
        code = await process.wait()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)  # processes that the child started and did not stop
        if self._writer:
            self._writer.close()
        self.state, self._writer, self._process = "gone", None, None
        self.totals.end_child()
        if self._exited and not self._exited.done():
            self._exited.set_result(RunOutcome(None, code, self._kill_reason))

    def _send(self, message: Message) -> None:
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(encode(message))

    async def close(self) -> None:
        """Stop the child without a restart; an idle child first sends Prefect's buffered logs and events."""
        self._is_closing = True
        if self.state == "idle" and self._read_task:
            self._send(Shutdown())
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(self._read_task), 3.0)
        self._kill_group()
        if self._supervise_task:
            self._supervise_task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._supervise_task
        await self._reap_child()
