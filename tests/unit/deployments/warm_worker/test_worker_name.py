"""Names of workers: two that run at once never share one."""

import contextlib
import os
import platform
import subprocess
import sys

import pytest

from deployments.warm_worker.child.process_identity import worker_name

CODE = """
from deployments.warm_worker.child.process_identity import worker_name
print(worker_name('gpu'), flush=True)
input()
"""


@contextlib.contextmanager
def running_in(*namespaces):
    """Give the name of a worker in new namespaces, as a container has them, while its process runs."""
    command = ["unshare", *namespaces, "--fork", "--mount-proc", sys.executable, "-c", CODE]
    try:
        process = subprocess.Popen(
            command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
    except OSError:
        pytest.skip("unshare is not installed")
    name = process.stdout.readline().strip()
    yield name
    _, said = process.communicate("\n")
    if not name:
        pytest.skip(f"no namespaces can be made here: {said[-200:]}")


def test_processes_of_one_machine_are_told_apart_by_their_ids():
    assert worker_name("gpu") == f"gpu-{platform.node()}-{os.getpid()}"


def test_containers_with_the_host_name_of_their_machine_have_names_of_their_own():
    """Both are process 1 on the same host name: with one name each takes the other's runs for lost."""
    with running_in("--pid") as first, running_in("--pid") as second:
        pass
    assert first.startswith(f"gpu-{platform.node()}-1-")
    assert first != second


def test_a_container_that_is_restarted_under_its_own_host_name_keeps_its_name():
    with running_in("--pid", "--uts") as name:
        pass
    assert name == f"gpu-{platform.node()}-1"
