"""One process of a stack: started in its own session, its output in a log file, ended for certain."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from deployments import guard

_BETWEEN_TERMS_S = 0.2


class Child:
    """A process that a supervisor owns."""

    def __init__(
        self, name: str, command: list[str], environment: Mapping[str, str], logs: Path, terms: int = 1
    ) -> None:
        """
        Describe a process; nothing is started yet.

        Args:
            name:        word for messages and the log file.
            command:     absolute program and arguments.
            environment: all of its environment.
            logs:        folder of the log files; the last log is kept as `NAME.log.1`.
            terms:       how many SIGTERMs make it leave at once.
        """
        self.name = name
        self.log = logs / f"{name}.log"
        self.started_at = 0.0
        self._command = command
        self._environment, self._terms = dict(environment), terms
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, cwd: Path) -> None:
        """
        Start it.

        Args:
            cwd: its working directory.
        """
        if self.log.exists():
            self.log.replace(self.log.with_name(f"{self.log.name}.1"))
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                self._command,
                env=self._environment,
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a Ctrl-C in the terminal reaches the supervisor alone
            )
        self.started_at = time.monotonic()

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""
        return self._process.pid if self._process and self._process.poll() is None else None

    @property
    def exit_status(self) -> int | None:
        """Its exit status once it has ended; None while it runs or before it was started."""
        return self._process.poll() if self._process else None

    def stop(self, grace_s: float) -> None:
        """
        End it and its process group: SIGTERM, then SIGKILL.

        Args:
            grace_s: seconds it may take to end by itself.
        """
        if self._process is None:
            return
        for number in range(self._terms):
            time.sleep(_BETWEEN_TERMS_S if number else 0.0)
            self._signal(signal.SIGTERM)
        deadline = time.monotonic() + grace_s
        while self._process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        self._signal(signal.SIGKILL)  # also what its children left in the group
        self._process.wait()

    def _signal(self, number: signal.Signals) -> None:
        try:
            if self._process is not None:
                os.killpg(self._process.pid, number)
        except (ProcessLookupError, PermissionError):  # macOS says EPERM of a group of zombies
            return

    @property
    def log_bytes(self) -> int:
        """How large its log is."""
        return self.log.stat().st_size if self.log.exists() else 0

    def tail(self, lines: int = 20) -> str:
        """Return the last lines of its log."""
        if not self.log.exists():
            return ""
        with self.log.open("rb") as file:
            file.seek(max(0, self.log.stat().st_size - 20_000))
            return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])


def describe(child: Child) -> str:
    """Name a process for people, with the last line of its log."""
    last = child.tail(1).strip()
    return f"{child.name} (process {child.pid})" + (f": {last[:160]}" if last else "")


class Guard:
    """A process that ends a stack's processes when its supervisor is gone, however that happened."""

    def __init__(self, marker: str) -> None:
        """
        Start it.

        Args:
            marker: value of the marker variable of the stack's processes.
        """
        self._marker = marker
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", guard.__file__, marker],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
        )

    def sweep(self, grace_s: float) -> None:
        """End what is left of the stack now, then the guard itself."""
        guard.sweep(self._marker, grace_s)
        if self._process.stdin:
            self._process.stdin.close()
        self._process.wait()
