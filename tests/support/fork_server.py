"""
Start Python processes without their imports: each is forked from a process that has made them.

A worker, its children, a Prefect server and the API import for one to three seconds of CPU time each, and
tests start hundreds. `popen` returns an ordinary `subprocess.Popen`: a child of the caller with
its own command line, environment, folder, files and session. A forked worker starts its children in this way.

Only Linux has what this needs (child subreapers). Elsewhere, for other commands and with
MUSETALK_TEST_FORKS=0, which `./run test --slow` sets, `popen` is `subprocess.Popen`.
"""

import atexit
import contextlib
import ctypes
import fcntl
import gc
import importlib
import inspect
import json
import os
import random
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from functools import partial
from pathlib import Path

IMPORTS = (
    "uvicorn.protocols.http.auto",
    "uvicorn.lifespan.on",
    "prefect.cli.worker",
    "prefect.flow_engine",
    "prefect.server.api.server",
    "deployments.stack.prefect_server",
    "deployments.warm_worker.worker",
    "deployments.cli.main",
    "deployments.cli.services",
    "api.main",
    "flows.batch",
    "flows.lip_sync",
    "flows.pipeline",
)
MODULES = {
    "prefect",
    "uvicorn",
    "deployments.cli",
    "deployments.processes.launch",
    "deployments.stack.prefect_server",
}
"""Modules that are run from a fork; others, and other programs, get a process of their own."""
ROOM = " " * 4096
"""An argument of a process that forks others: its command line becomes theirs."""
NAMESPACE = "MUSETALK_TEST_NAMESPACE"
"""Variable of a process that starts as the first of a process namespace of its own, as in a container."""
_NEW_NAMESPACES, _PRIVATE = 0x20020000, 0x44000
_SUBREAPER = 36
_installed = [path for path in sys.path[1:] if path not in os.environ.get("PYTHONPATH", "").split(os.pathsep)]
_spawn = subprocess.Popen._execute_child
_signature = inspect.signature(_spawn)


class _Popen(subprocess.Popen):
    """A `Popen` whose process is forked by the fork server of this process."""

    def _execute_child(self, *args, **kwargs):
        start(self, *args, **kwargs)


def popen(command, **options):
    """Start a command as `subprocess.Popen` does; forks `python -c`, and `python -m` with one of MODULES."""
    return (_Popen if _can_fork(command) else subprocess.Popen)(command, **options)


def run_program(command, timeout=240, **options):
    """Run a command to its end as `subprocess.run` does with `capture_output`."""
    with popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options) as process:
        try:
            out, err = process.communicate(timeout=timeout)
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def _can_fork(command):
    if isinstance(command, str) or sys.platform != "linux" or os.environ.get("MUSETALK_TEST_FORKS") == "0":
        return False
    python, option, word = [*command, None, None][:3]
    return python == sys.executable and (option == "-c" or (option == "-m" and word in MODULES))


def start(process, *args, **kwargs):
    """Do what `Popen._execute_child` does, whose arguments these are."""
    words = _signature.bind(process, *args, **kwargs).arguments
    if not _can_fork(words["args"]):
        return _spawn(process, *args, **kwargs)
    files = [
        number if number != -1 else standard
        for standard, number in enumerate((words["p2cread"], words["c2pwrite"], words["errwrite"]))
    ]
    order = {
        "arguments": list(words["args"][1:]),
        "environment": dict(words["env"] if words["env"] is not None else os.environ),
        "folder": os.fspath(words["cwd"] or Path.cwd()),
        "is_session": words["start_new_session"],
        "numbers": [0, 1, 2, *words["pass_fds"]],
    }
    process.pid = _connection().fork(order, [*files, *words["pass_fds"]])
    process._child_created = True
    process._close_pipe_fds(
        *(words[name] for name in ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite"))
    )


class Connection:
    """A process's end of the line to its fork server."""

    current = None

    def __init__(self, line):
        self._line, self._lock = line, threading.Lock()

    def fork(self, order, files):
        """Return the id of a new child of this process."""
        # A child of a process that has ended becomes a child of its nearest ancestor that is a subreaper.
        prctl = ctypes.CDLL(None).prctl
        with self._lock:
            prctl(_SUBREAPER, 1, 0, 0, 0)
            try:
                socket.send_fds(self._line, [json.dumps(order).encode()], files)
                answer = self._line.recv(64)
            finally:
                prctl(_SUBREAPER, 0, 0, 0, 0)
        if not answer:
            raise OSError("the fork server has ended")
        return int(answer)


def _connection():
    if Connection.current is None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, __file__, str(theirs.fileno()), ROOM]
        server = subprocess.Popen(command, pass_fds=[theirs.fileno()])
        theirs.close()
        Connection.current = Connection(ours)
        atexit.register(_end, ours, server)
    return Connection.current


def _end(line, server):
    line.close()
    server.wait()


def serve(line):
    """Fork until the line is closed; returns the order in each forked process."""
    while True:
        data, files, _, _ = socket.recv_fds(line, 1 << 20, 32)
        if not data:
            os._exit(0)
        pids, go = os.pipe(), os.pipe()
        order = json.loads(data)
        if not (middle := os.fork()):
            if NAMESPACE in order["environment"]:
                _libc("unshare", _NEW_NAMESPACES)
            if pid := os.fork():
                os.write(pids[1], str(pid).encode())
                os._exit(0)
            os.close(go[1])
            os.read(go[0], 1)  # returns when the process in the middle has ended
            line.detach()  # its number is used anew
            if NAMESPACE in order["environment"]:
                _libc("mount", b"none", b"/", None, _PRIVATE, None)
                _libc("mount", b"proc", b"/proc", b"proc", 0, None)
                del order["environment"][NAMESPACE]
            return order, files
        os.waitpid(middle, 0)
        line.send(os.read(pids[0], 64))
        for number in (*pids, *go, *files):
            os.close(number)


def _libc(name, *arguments):
    """Make a system call that Python 3.11 does not offer."""
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments):
        raise OSError(ctypes.get_errno(), name)


def take_over(order, files):
    """Make a forked process what Python would have started."""
    if order["is_session"]:
        os.setsid()
    numbers = order["numbers"]
    above = max(100, *numbers) + 1
    moved = [fcntl.fcntl(file, fcntl.F_DUPFD, above + index) for index, file in enumerate(files)]
    os.closerange(3, above)
    for source, target in zip(moved, numbers, strict=True):
        os.dup2(source, target, inheritable=True)
    os.closerange(above, above + 1000)
    os.chdir(order["folder"])
    os.environ.clear()
    os.environ.update(order["environment"])
    show_arguments(["python", *order["arguments"]])
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = list(order["arguments"])
    own = order["environment"].get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:] = [order["folder"], *filter(None, own), *_installed]
    tempfile.tempdir = None
    random.seed()


def show_arguments(words):
    """Show other words as the command line of this process, in the memory of the present ones."""
    start, end = map(int, Path("/proc/self/stat").read_text().rpartition(")")[2].split()[45:47])
    text = b"\0".join(word.encode() for word in words)[: end - start - 1]
    ctypes.memmove(start, text.ljust(end - start, b"\0"), end - start)


def serve_own_forks():
    """
    Give this process a fork server of its own, made while it has one thread and all imports.

    Returns in this process; and with an order, in each that is forked later.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if not os.fork():
        ours.close()
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # it ends with this process
        for number in (0, 1, 2):
            os.dup2(os.open(os.devnull, os.O_RDWR), number)
        show_arguments(["fork-server"])
        return serve(theirs)
    theirs.close()
    Connection.current = Connection(ours)
    return None


def leave(work):
    """
    End this forked process after some work with its exit status.

    Handlers of `atexit` are called. What the imports made is left as it is: to delete those objects takes
    half a second, and some libraries then write to standard error.
    """
    status = 1
    try:
        result = work()
        status = result if isinstance(result, int) else 0
    except SystemExit as left:
        status = left.code if isinstance(left.code, int) else int(left.code is not None)
        if isinstance(left.code, str):
            print(left.code, file=sys.stderr)
    except KeyboardInterrupt:
        traceback.print_exc()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    except BaseException:
        traceback.print_exc()
    threading._shutdown()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(status & 0xFF)


def run(forked):
    """Run what is ordered in this forked process."""
    while forked:
        order, files = forked
        take_over(order, files)
        forked = None
        if "prefect" in order["arguments"][:4]:  # a worker, which starts others
            forked = serve_own_forks()
            if not forked:
                subprocess.Popen._execute_child = start
    from prefect.context import refresh_global_settings_context
    from prefect.logging import configuration

    refresh_global_settings_context()
    configuration.PROCESS_LOGGING_CONFIG.clear()
    configuration.setup_logging()
    option = sys.argv.pop(0)
    if option == "-m":
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    else:
        code, sys.argv[0] = sys.argv[0], "-c"
        exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})


def main():
    """Import, then run what is ordered, each in a fork."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in IMPORTS:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    forked = serve(socket.socket(fileno=int(sys.argv[1])))
    leave(partial(run, forked))


if __name__ == "__main__":
    main()
