"""One process of a fleet: started as its command line starts it, killed, stopped, and started again."""

import contextlib
import json
import os
import signal
import sys
import time
from pathlib import Path

from fork_server import NAMESPACE, popen
from stage import is_child

RESTART_S = 1.0
"""A process that ends by itself is started again after this time, as by systemd."""
_TELL = """
import json, os, sys
os.execve = lambda _, command, environment: (print(json.dumps([command, environment])), sys.exit(0))
from deployments.cli.main import main
sys.argv = ["musetalk", *sys.argv[1:]]
main()
"""


def replaced_by(arguments, environment, folder):
    """
    Return the command and environment by which `musetalk worker` or `musetalk server` replaces its process.

    That command can be forked from a process with all imports; a fleet starts a hundred of them.
    """
    command = [sys.executable, "-c", _TELL, *arguments]
    process = popen(command, env=environment, cwd=folder, stdout=-1, text=True)
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 0, said
    command, environment = json.loads(said.splitlines()[-1])
    return command, environment


class Member:
    """One process, which is started again whenever it ends."""

    def __init__(self, name, command, environment, folder, *, own_namespace=False, is_renamed=False):
        """
        Describe the process; `start` starts it.

        Args:
            name:          of the process and its log.
            command:       command line; without a program, arguments of `musetalk`.
            environment:   its variables.
            folder:        its working directory.
            own_namespace: run it in a process namespace of its own, as in a container.
            is_renamed:    give a worker another name at each start.
        """
        self.name, self.command, self.environment, self.folder = name, command, environment, folder
        self.own_namespace, self.is_renamed = own_namespace, is_renamed
        self.process, self.is_down, self.exits, self.restarts = None, False, [], -1
        self._ended_at = None
        folder.mkdir(parents=True, exist_ok=True)
        self.log = folder / f"{name}.log"

    def start(self):
        if not self.command[0].startswith("/"):
            self.command, self.environment = replaced_by(self.command, self.environment, self.folder)
        self.restarts += 1
        command, environment = list(self.command), dict(self.environment)
        if "--name" in command:
            suffix = f"-{self.restarts}" if self.is_renamed else ""
            command[command.index("--name") + 1] = f"{self.name}{suffix}"
        if self.own_namespace:
            environment[NAMESPACE] = "1"
        with self.log.open("ab") as log:
            self.process = popen(
                command, env=environment, stdout=log, stderr=log, cwd=self.folder, start_new_session=True
            )
        self.is_down, self._ended_at = False, None

    def signal(self, number):
        with contextlib.suppress(OSError):
            os.kill(self.process.pid, number)

    def kill(self):
        self.is_down = True
        self.signal(signal.SIGKILL)
        self.process.wait(20)

    def children(self):
        """Return the ids of a worker's processes."""
        found, todo = [], [self.process.pid]
        while todo:
            pid = todo.pop()
            for task in Path(f"/proc/{pid}/task").glob("*/children"):
                with contextlib.suppress(OSError):
                    todo += map(int, task.read_text().split())
            found += [pid] if is_child(pid) else []
        return found

    def watch(self):
        """Start the process again if it has ended by itself."""
        if self.is_down or self.process is None or self.process.poll() is None:
            return
        if self._ended_at is None:
            self._ended_at = time.monotonic()
            self.exits.append(self.process.returncode)
        elif time.monotonic() - self._ended_at > RESTART_S:
            self.start()

    def end(self):
        self.is_down = True
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
