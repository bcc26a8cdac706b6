"""Python programs that begin their work at the same moment, in processes of their own."""

import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence


def run_at_once(
    program: str,
    arguments: Sequence[Sequence[str]],
    environment: Mapping[str, str],
    limit_s: float,
    start: Callable[..., subprocess.Popen] = subprocess.Popen,
) -> list[str]:
    """
    Run a program several times at once and return what each run printed at its end.

    The program prints `ready` when it has imported what it needs, then waits for a line on standard input.
    `start` may be `fork_server.popen`, for programs that import flows.
    """
    processes = [
        start(
            [sys.executable, "-c", program, *words],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for words in arguments
    ]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    printed = [process.communicate(timeout=limit_s)[0].strip() for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes)
    return printed
