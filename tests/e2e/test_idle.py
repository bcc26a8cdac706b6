"""Processor time of an idle stack, summed over its processes from /proc, and its schedule."""

import contextlib
import os
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.schedules import IntervalSchedule
from prefect.settings import PREFECT_API_URL, temporary_settings
from whole_stack import Stack, processes_of, running_stack

pytestmark = [pytest.mark.stack, pytest.mark.slow]

WATCHED_S = 90.0
SETTLED_S = 20.0
"""Children import what they need for some seconds after the stack is ready."""
BOUND = 0.08
"""Of one core. docs/LOG.md has what was measured, before and after."""
_TICKS = os.sysconf("SC_CLK_TCK")


def processor_seconds(home: Path) -> dict[int, float]:
    """Processor seconds of each process of the stack on this home so far, its ended children included."""
    found = {}
    for folder in processes_of(home):
        with contextlib.suppress(OSError):  # ended meanwhile
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            found[int(folder.name)] = sum(int(field) for field in fields[11:15]) / _TICKS
    return found


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running_stack(tmp_path_factory.mktemp("idle")) as stack:
        yield stack


def test_an_idle_stack_uses_little_processor_time(stack):
    time.sleep(SETTLED_S)
    before, began = processor_seconds(stack.home), time.monotonic()
    time.sleep(WATCHED_S)
    after, watched = processor_seconds(stack.home), time.monotonic() - began

    assert len(before) >= 6 and after.keys() == before.keys()  # none died and was started again
    used = sum(after.values()) - sum(before.values())
    assert used / watched < BOUND, f"{used:.1f} s in {watched:.0f} s"


def test_the_janitor_runs_by_schedule_on_an_idle_stack(stack):
    """The server's own scheduler, the schedule as it is deployed but for its interval."""
    with (
        temporary_settings({PREFECT_API_URL: f"{stack.prefect_url}/api"}),
        get_client(sync_client=True) as client,
    ):
        deployment = client.read_deployment_by_name("janitor/Housekeeping: maintenance")
        (schedule,) = deployment.schedules
        often = IntervalSchedule(interval=timedelta(seconds=10))
        client.update_deployment_schedule(deployment.id, schedule.id, schedule=often)
        deadline = time.monotonic() + 180  # the scheduler checks all deployments once a minute
        while not (runs := [run for run in client.read_flow_runs(limit=200) if run.state.is_final()]):
            assert time.monotonic() < deadline
            time.sleep(0.5)
    assert [run.state_name for run in runs] == ["Completed"] * len(runs)
