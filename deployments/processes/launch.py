"""
Run a Python module and log the progress of its imports.

`python -m deployments.processes.launch NAME MODULE ARGUMENT…`
The first line is written before any large import, so the log of a slow start is never empty. Later lines make
the log grow, which is the sign of progress where /proc is not available. Uses the standard library only.
"""

import os
import runpy
import sys
import threading
import time
from typing import Final

_LOG_INTERVAL_S: Final = 2.0
_QUIET_INTERVALS: Final = 5
"""Number of intervals without a new module after which logging stops."""


def with_start_log(name: str, command: list[str]) -> list[str]:
    """
    Return a command line that runs through this module.

    Args:
        name:    name of the process in the log.
        command: `[PYTHON, "-m", MODULE, ARGUMENT…]`.
    """
    python, option, *module = command
    if option != "-m":
        raise ValueError(f"{command} does not start a module")
    return [python, "-m", "deployments.processes.launch", name.replace(" ", "-"), *module]


def _log(name: str, text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {name}: {text}", file=sys.stderr, flush=True)  # noqa: T201


def _log_imports(name: str, started_at: float) -> None:
    module_count = quiet_intervals = 0
    while quiet_intervals < _QUIET_INTERVALS:
        time.sleep(_LOG_INTERVAL_S)
        modules = list(sys.modules)
        quiet_intervals = quiet_intervals + 1 if len(modules) == module_count else 0
        if not quiet_intervals:
            module_count, elapsed = len(modules), time.monotonic() - started_at
            _log(name, f"{module_count} modules imported after {elapsed:.0f} s, the last one {modules[-1]}")


def main(name: str, module: str, arguments: list[str]) -> None:
    """
    Run a module as `python -m MODULE ARGUMENT…`, and log its imports.

    Args:
        name:      name of the process in the log.
        module:    dotted module name.
        arguments: command-line arguments of the module.
    """
    _log(name, f"process {os.getpid()} starts: importing {module}")
    threading.Thread(target=_log_imports, args=(name, time.monotonic()), daemon=True).start()
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
