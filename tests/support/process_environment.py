"""Variables that Prefect, torch and numpy read when tests, or processes that tests start, import them."""

import os

PREFECT = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_LATE_RUNS_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_SCHEDULER_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_FOREMAN_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_TRIGGERS_ENABLED": "false",
    # takes more than half of the time of a server for a flow run; in tests of flows nothing reads task runs
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_ENABLED": "false",
    "PREFECT_LOGGING_TO_API_ENABLED": "false",
    # The servers speak plain HTTP; else each of some thousand clients reads all root certificates, 20 ms.
    "PREFECT_API_TLS_INSECURE_SKIP_VERIFY": "true",
}
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
"""
One each: the networks of the tests are small, and several processes run at once. Threads that wait for each
other cost more than they save, on a busy machine a hundred times.
"""


def set_environment() -> None:
    """Set the variables in this process; before the first import of Prefect, torch or numpy."""
    os.environ.update(PREFECT)
    for variable in THREADS:
        os.environ.setdefault(variable, "1")
