"""Processes of a stack: each has its own session and log file, and is stopped with its process group."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from deployments.processes import guard

_SIGTERM_INTERVAL_S = 0.2


class ManagedProcess:
    """A process that the supervisor starts and stops."""

    def __init__(
        self,
        name: str,
        command: list[str],
        environment: Mapping[str, str],
        logs: Path,
        sigterm_count: int = 1,
    ) -> None:
        """
        Configure a process without starting it.

        Args:
            name:          name in messages and of the log file.
            command:       absolute path of the program, and its arguments.
            environment:   complete environment.
            logs:          folder of the log files; the previous log is kept as `NAME.log.1`.
            sigterm_count: number of SIGTERMs after which the process exits at once.
        """
        self.name = name
        self.log_path = logs / f"{name}.log"
        self.started_at = 0.0
        self._command = command
        self._environment, self._sigterm_count = dict(environment), sigterm_count
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, cwd: Path) -> None:
        """
        Start the process in a session of its own, with a new log file.

        Args:
            cwd: working directory.

        Raises:
            OSError: the log file cannot be written, or the program cannot be executed.
        """
        if self.log_path.exists():
            self.log_path.replace(self.log_path.with_name(f"{self.log_path.name}.1"))
        with self.log_path.open("wb") as log:
            self._process = subprocess.Popen(
                self._command,
                env=self._environment,
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C in the terminal must reach the supervisor only
            )
        self.started_at = time.monotonic()

    @property
    def pid(self) -> int | None:
        """Process id; None unless the process is running."""
        return self._process.pid if self._process and self._process.poll() is None else None

    @property
    def exit_status(self) -> int | None:
        """Exit status; None before the start and while the process runs."""
        return self._process.poll() if self._process else None

    def stop(self, grace_s: float) -> None:
        """
        Stop the process and its process group: SIGTERM, then SIGKILL.

        Args:
            grace_s: seconds between the last SIGTERM and SIGKILL.
        """
        if self._process is None:
            return
        for number in range(self._sigterm_count):
            time.sleep(_SIGTERM_INTERVAL_S if number else 0.0)
            self._signal_group(signal.SIGTERM)
        deadline = time.monotonic() + grace_s
        while self._process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        self._signal_group(signal.SIGKILL)  # also reaches descendants that remain in the group
        self._process.wait()

    def _signal_group(self, number: signal.Signals) -> None:
        try:
            if self._process is not None:
                os.killpg(self._process.pid, number)
        except (ProcessLookupError, PermissionError):  # macOS raises EPERM for a group of zombies
            return

    @property
    def log_bytes(self) -> int:
        """Size of the log file in bytes."""
        return self.log_path.stat().st_size if self.log_path.exists() else 0

    def log_tail(self, lines: int = 20) -> str:
        """Return the last lines of the log file, from at most its last 20 kB."""
        if not self.log_path.exists():
            return ""
        with self.log_path.open("rb") as file:
            file.seek(max(0, self.log_path.stat().st_size - 20_000))
            return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])


def describe_process(process: ManagedProcess) -> str:
    """Return a process's name, id and last log line, for messages."""
    last_line = process.log_tail(1).strip()
    return f"{process.name} (process {process.pid})" + (f": {last_line[:160]}" if last_line else "")


class Guard:
    """A helper process that terminates a stack's processes when the supervisor ends, even by SIGKILL."""

    def __init__(self, marker: str) -> None:
        """
        Start the helper process.

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

    def terminate_stack(self, grace_s: float) -> None:
        """Terminate the remaining processes of the stack, then the helper process."""
        guard.terminate_marked_processes(self._marker, grace_s)
        if self._process.stdin:
            self._process.stdin.close()
        self._process.wait()
