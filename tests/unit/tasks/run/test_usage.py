"""CPU and GPU time of a run: all of it is charged, to the phases that used it."""

import json
import subprocess
import sys
import threading
import time

import pytest

from tasks.run import usage
from tasks.run.usage import RunUsage, UsageMeter, process_cpu_s, run_usage_of, thread_cpu_s


class Machine:
    """Clocks that a test moves; every thread has one of its own."""

    def __init__(self):
        self.now, self.cpu_s, self.threads = 0.0, 0.0, {}

    def meter(self, device_share=0.0):
        return UsageMeter(
            device_share,
            cpu_s=lambda: self.cpu_s,
            own_cpu_s=lambda thread: self.threads.get(thread, 0.0),
            clock=lambda: self.now,
        )

    def work(self, seconds, *, own_s=0.0, other_s=0.0):
        """Let time pass in which this thread uses `own_s`, and libraries and programs `other_s`."""
        thread = threading.get_ident()
        self.threads[thread] = self.threads.get(thread, 0.0) + own_s
        self.now, self.cpu_s = self.now + seconds, self.cpu_s + own_s + other_s


@pytest.fixture
def machine():
    return Machine()


def used(meter):
    return {name: (round(one.cpu_s, 6), round(one.device_s, 6)) for name, one in meter.read().phases.items()}


def test_time_outside_of_phases_is_charged_too(machine):
    meter = machine.meter(device_share=1.0)
    machine.work(2, own_s=1)
    with meter.phase("render"):
        machine.work(5, own_s=1, other_s=3)
    machine.work(1)
    assert used(meter) == {"other": (1, 3), "render": (4, 5)}
    assert meter.read().total.cpu_s == machine.cpu_s and meter.read().total.device_s == machine.now


def test_the_inner_phase_of_a_thread_gets_its_time(machine):
    meter = machine.meter()
    with meter.phase("fetch"):
        machine.work(1, own_s=1)
        with meter.phase("upload"):
            machine.work(1, own_s=2)
        machine.work(1, own_s=4)
    assert used(meter) == {"fetch": (5, 0), "upload": (2, 0)}
    assert dict(meter.read().seconds) == {"fetch": 3, "upload": 1}


def test_phases_at_once_get_their_threads_time_and_equal_shares_of_the_rest(machine):
    meter, inside, leave = machine.meter(device_share=0.5), threading.Event(), threading.Event()

    def encode():
        with meter.phase("encode"):
            inside.set()
            leave.wait()
            machine.work(0, own_s=1)

    with meter.phase("render"):
        thread = threading.Thread(target=encode)
        thread.start()
        inside.wait()
        machine.work(4, own_s=3, other_s=2)
        leave.set()
        thread.join()
    assert used(meter) == {"render": (4, 1), "encode": (2, 1)}


def test_a_clock_of_threads_that_runs_ahead_charges_no_more_than_the_process_used(machine):
    meter = machine.meter()
    with meter.phase("render"):
        machine.work(1, own_s=2)
        machine.cpu_s = 1.5
    assert used(meter) == {"render": (1.5, 0)}


def test_an_error_ends_a_phase(machine):
    meter = machine.meter()
    with pytest.raises(RuntimeError), meter.phase("render"):
        raise RuntimeError
    machine.work(1, own_s=1)
    assert used(meter)["other"] == (1, 0)


def test_the_clocks_of_this_system_count_threads_and_programs():
    before, own_before = process_cpu_s(), thread_cpu_s(threading.get_ident())
    meter = UsageMeter()
    with meter.phase("encode"):
        code = "import time\nwhile time.process_time() < 0.2: pass"
        subprocess.run([sys.executable, "-S", "-c", code], check=True)
        end = time.thread_time() + 0.05
        while time.thread_time() < end:
            pass
    assert process_cpu_s() - before >= 0.25
    assert 0.05 <= thread_cpu_s(threading.get_ident()) - own_before < 0.2
    assert 0.25 <= meter.read().phases["encode"].cpu_s <= process_cpu_s() - before


def test_usage_travels_as_json(machine):
    meter = machine.meter(device_share=1.0)
    meter.engine = "viseme"
    meter.add_stored_bytes(5)
    with meter.phase("render"):
        machine.work(1, own_s=0.5)
    assert run_usage_of(json.loads(json.dumps(meter.read().to_json()))) == meter.read()
    assert meter.read().stored_bytes == 5 and run_usage_of(RunUsage().to_json()) == RunUsage()


def test_a_worker_process_measures_one_run_at_a_time(monkeypatch):
    monkeypatch.setattr(usage, "_run_meter", None)
    assert usage.running_usage() is None
    usage.start_run_meter("first", 1.0)
    with usage.run_meter().phase("render"):
        time.sleep(0.02)
    first = usage.running_usage()
    assert first["run"] == "first" and first["phases"]["render"][1] >= 0.02
    usage.start_run_meter("second", 0.0)
    assert "render" not in usage.running_usage()["phases"]
    usage.stop_run_meter()
    assert usage.running_usage() is None


def test_measuring_a_phase_costs_microseconds():
    meter, count = UsageMeter(1.0), 2000
    start = time.thread_time()
    for _ in range(count):
        with meter.phase("render"):
            pass
    assert (time.thread_time() - start) / count < 0.0005
