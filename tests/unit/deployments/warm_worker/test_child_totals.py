"""Totals of a slot: what its children report reaches the worker's counters once."""

from dataclasses import replace

import pytest

from deployments.warm_worker.child.devices import device_share
from deployments.warm_worker.child.protocol import Heartbeat, RunFinished, decode, encode
from deployments.warm_worker.child.totals import ChildTotals
from tasks.run import counters
from tasks.run.counters import CPU_SECONDS, DEVICE_SECONDS, LOST_RUNS, read_series


@pytest.fixture(autouse=True)
def no_counts(monkeypatch):
    monkeypatch.setattr(counters, "_counts", {})


def usage(run, cpu_s, device_s):
    phases = {"render": [cpu_s, device_s]}
    return {"run": run, "phases": phases, "seconds": {}, "engine": "viseme", "stored_bytes": 0}


def seconds(spec):
    return dict(read_series(spec))["render",]


def test_time_of_a_run_is_counted_while_it_runs_and_once():
    totals = ChildTotals()
    totals.start_run("one")
    totals.record(Heartbeat(1, usage=usage("one", 1.0, 2.0)))
    assert (seconds(CPU_SECONDS), seconds(DEVICE_SECONDS)) == (1.0, 2.0)
    totals.record(Heartbeat(1, usage=usage("one", 1.5, 3.0)))
    totals.record(Heartbeat(1))  # between two runs
    totals.start_run("two")
    totals.record(Heartbeat(1, usage=usage("one", 9.0, 9.0)))  # read during the run before
    totals.record(Heartbeat(1, usage=usage("two", 0.5, 1.0)))
    assert (seconds(CPU_SECONDS), seconds(DEVICE_SECONDS)) == (2.0, 4.0)
    assert totals.usage.phases["render"].cpu_s == 0.5


def test_a_killed_child_keeps_its_counts_and_the_next_one_adds_to_them():
    totals = ChildTotals()
    totals.record(Heartbeat(1, counts={"musetalk_lost_runs|maintenance": 3.0}, loads={"m": 2}))
    totals.end_child()
    totals.record(Heartbeat(1, counts={"musetalk_lost_runs|maintenance": 1.0}, loads={"m": 1}))
    assert dict(read_series(LOST_RUNS))["maintenance",] == 4
    assert totals.load_counts == {"m": 3}


def test_heartbeats_cross_the_socket_whole():
    beat = Heartbeat(7, 8, ("m",), {"m": 1}, {"musetalk_webhook_dead_letters": 1.0}, usage("one", 1.0, 2.0))
    assert decode(encode(beat)) == beat
    finished = RunFinished("one", 0, "COMPLETED", None, replace(beat, usage=None))
    assert decode(encode(finished)) == finished


def test_children_share_a_gpu_that_is_named_for_each():
    environments = [{"CUDA_VISIBLE_DEVICES": gpu} for gpu in ("0", "0", "1", "")]
    assert [device_share(one, environments) for one in environments] == [0.5, 0.5, 1.0, 0.0]
