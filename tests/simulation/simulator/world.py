"""
The simulated world of one history: clock, random numbers, processes and their deaths.

All code of a history runs in one thread on `VirtualLoop`. Time passes only while nothing can run. Everything
random comes from the seed, so a seed replays its history step by step.
"""

import asyncio
import contextvars
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, NoReturn
from uuid import UUID

from greenlet import getcurrent, greenlet

EPOCH = datetime(2030, 1, 1, tzinfo=UTC)
EPOCH_S = EPOCH.timestamp()


class Deadlock(Exception):
    """Nothing can run, and no timer is set."""


class _Selector:
    """Lets virtual time pass instead of waiting for sockets."""

    def __init__(self, loop: "VirtualLoop") -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise Deadlock
        self._loop.now += max(0.0, timeout)
        return []

    def close(self) -> None:
        pass


class VirtualLoop(asyncio.BaseEventLoop):
    """An event loop whose time is virtual."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self._selector = _Selector(self)
        self._clock_resolution = 1e-6
        self.slow_callback_duration = float("inf")

    def time(self) -> float:
        return self.now

    def _process_events(self, events: list[Any]) -> None:
        pass

    def _write_to_self(self) -> None:
        pass

    def run_in_executor(self, executor: Any, function: Callable[..., Any], *args: Any) -> Any:
        """Run what the product gives to a thread: in a greenlet, so that it can wait for the simulation."""
        return self.create_task(run_sync(function, *args))


@dataclass(eq=False)
class Process:
    """A process that can die. Its coroutines and greenlets stop at their next step of the simulation."""

    name: str
    machine: str
    pid: int
    skew: timedelta = timedelta()
    is_alive: bool = True
    can_crash: bool = False
    is_cancelled: bool = False
    """Whether the worker has asked this child to stop its run."""
    run_id: UUID | None = None
    run_tags: tuple[str, ...] = ()
    children: "list[Process]" = field(default_factory=list)
    is_partitioned_until: float = 0.0
    died: "asyncio.Future[None] | None" = None
    locks: "list[int]" = field(default_factory=list)
    """Open lock files, which the kernel closes when the process dies."""
    making: "tuple[str, str] | None" = None
    """The cache entry that it is making."""
    worker: Any = None
    """The worker object of a worker process."""

    @property
    def token(self) -> str:
        """The process's token, in the format of `child.process_identity`."""
        return f"{self.machine}/{self.pid}/1"


current_process: contextvars.ContextVar[Process | None] = contextvars.ContextVar("process", default=None)


class World:
    """The world of one history."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.random = Random(f"world {seed}")
        self.ids = Random(f"ids {seed}")
        self.loop = VirtualLoop()
        self.is_closed = False
        self.faults_ended = False
        """Whether faults have ended: what was promised must now come true."""
        self.processes: dict[str, Process] = {}
        self.crash_share = 0.0
        """Probability of a crash at a step of a process that can crash."""
        self.crashes = 0
        self.max_crashes = 0
        self.steps = 0
        self.log: list[str] = []
        self.violations: list[str] = []
        self.seen: set[tuple[Any, ...]] = set()
        """Kinds of situations this history has covered."""
        self.network: Any = None
        self.server: Any = None
        self.bucket: Any = None
        self.receiver: Any = None
        self.monitor: Any = None
        self._next_pid = 100
        self._frozen: list[asyncio.Future[None]] = []

    # time and identity

    def wall(self, process: Process | None = None) -> datetime:
        """Return the wall clock time of a process, or the true time."""
        now = EPOCH + timedelta(seconds=self.loop.now)
        return now + process.skew if process else now

    def uuid(self) -> UUID:
        """Return a random version 4 UUID of this history."""
        return UUID(
            int=self.ids.getrandbits(128) & ~(0xF000 << 64) & ~(0xC000 << 48) | 0x4000 << 64 | 0x8000 << 48
        )

    # processes

    def spawn(self, name: str, machine: str = "m0", can_crash: bool = True) -> Process:
        """Create a process."""
        self._next_pid += 1
        process = Process(name, machine, self._next_pid, can_crash=can_crash)
        process.died = self.loop.create_future()
        self.processes[process.token] = process
        return process

    def kill(self, process: Process) -> None:
        """Kill a process: nothing that it has begun continues. Its children find out later."""
        if process.is_alive:
            process.is_alive = False
            self.note(f"{process.name} died")
            if process.died is not None and not process.died.done():
                process.died.set_result(None)

    def run_in(self, process: Process, coroutine: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        """Start a coroutine in a process."""
        context = contextvars.copy_context()
        context.run(current_process.set, process)
        return self.loop.create_task(coroutine, context=context)

    async def step(self) -> None:
        """A point at which a process may crash; a dead one gets no further."""
        process = current_process.get()
        if self.is_closed:
            raise asyncio.CancelledError
        if process is None:
            return
        self.steps += 1
        may_crash = process.is_alive and process.can_crash and not self.faults_ended
        if may_crash and self.crashes < self.max_crashes and self.random.random() < self.crash_share:
            self.crashes += 1
            self.kill(process)
        if not process.is_alive:
            await self.freeze()

    async def freeze(self) -> NoReturn:
        """Wait for the end of the history."""
        future: asyncio.Future[None] = self.loop.create_future()
        self._frozen.append(future)
        await future
        raise asyncio.CancelledError

    async def sleep(self, seconds: float) -> None:
        """Let time pass in a process."""
        await asyncio.sleep(seconds)
        await self.step()

    def on_task_ended(self, process: Process, task: "asyncio.Task[Any]") -> None:
        """Report a process that ended by an error of its own."""
        if self.is_closed or task.cancelled():
            return
        error = task.exception()
        if error is not None and process.is_alive:
            self.violate("no surprise", f"{process.name} ended by {describe(error)}")
            self.kill(process)

    # records

    def note(self, text: str) -> None:
        """Record what happened, for the report of a violation."""
        self.log.append(f"{self.loop.now - 1000:9.3f} {text}")

    def violate(self, promise: str, text: str) -> None:
        """Record that a promise was broken."""
        self.note(f"VIOLATION {promise}: {text}")
        self.violations.append(f"{promise}: {text}")

    def cover(self, *situation: Any) -> None:
        """Record a situation that this history has covered."""
        self.seen.add(situation)

    def close(self) -> None:
        """End all that still waits."""
        self.is_closed = True
        for _ in range(50):
            tasks = [task for task in asyncio.all_tasks(self.loop) if not task.done()]
            if not tasks:
                break
            for task in tasks:
                task.cancel()
            self.loop.call_soon(self.loop.stop)
            self.loop.run_forever()
        self.loop.set_exception_handler(lambda loop, context: None)
        self.loop.close()


# synchronous code that waits for coroutines


async def run_sync(function: Callable[..., Any], *args: Any) -> Any:
    """Run synchronous code in a greenlet, in which `wait` lets coroutines run."""
    worker = greenlet(function)
    worker.gr_context = contextvars.copy_context()
    awaited = worker.switch(*args)
    while not worker.dead:
        try:
            value = await awaited
        except BaseException as error:
            awaited = worker.throw(error)
        else:
            awaited = worker.switch(value)
    return awaited


def wait(awaitable: Awaitable[Any]) -> Any:
    """Wait for a coroutine in synchronous code that `run_sync` runs."""
    parent = getcurrent().parent
    if parent is None:
        raise RuntimeError("synchronous code of the product waits outside the simulation")
    return parent.switch(awaitable)


def describe(error: BaseException) -> str:
    """Return an error with those of its group, and where the first was raised."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    place = ""
    trace = error.__traceback__
    while trace is not None:
        place = f"{trace.tb_frame.f_code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}"
        trace = trace.tb_next
    return f"{type(error).__name__}: {error} at {place}"


_current: list[World] = []


def world() -> World:
    """Return the world of the current history."""
    return _current[-1]


def enter(new: World) -> None:
    """Make a world the current one."""
    _current[:] = [new]
