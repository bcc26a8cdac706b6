"""The capacity model agrees with queueing theory, and the page of scaling has its output."""

import math
import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))
import capacity
from capacity_model import JobCost, Machines, ceilings, one_machine, simulate, size
from page import fill

COST = JobCost(
    api_s=0.01,
    server_s=0.5,
    database_s=0.1,
    light_s=0.05,
    start_s=0.5,
    gpu_s_per_s=0.1,
    prepare_s_per_s=1.0,
    new_faces=0.05,
    video_s=30.0,
)
AMPLE = Machines(apis=20, servers=20, database_cores=20, gpu_slots=50, light_workers=20)


def test_waits_agree_with_the_formula_of_pollaczek_and_khinchine():
    rate = 0.15
    only_gpu = replace(COST, api_s=0, server_s=0, database_s=0, light_s=0, new_faces=0)
    result = simulate(rate, only_gpu, replace(AMPLE, gpu_slots=1), jobs=60_000, seed=1)
    mean, variance = only_gpu.slot_s, (only_gpu.video_s * only_gpu.gpu_s_per_s) ** 2 * (math.exp(0.36) - 1)
    busy = rate * mean

    assert result.busy["gpu_slots"] == pytest.approx(busy, rel=0.03)
    assert result.mean_wait_s == pytest.approx(rate * (mean**2 + variance) / (2 * (1 - busy)), rel=0.07)
    assert result.jobs_per_s == pytest.approx(rate, rel=0.03)


def test_the_least_capable_process_limits_a_fleet_and_a_second_one_helps():
    limit = ceilings(COST)["servers"]

    crowded = simulate(1.5 * limit, COST, replace(AMPLE, servers=1), jobs=3_000, seed=1)
    helped = simulate(1.5 * limit, COST, replace(AMPLE, servers=2), jobs=3_000, seed=1)

    assert crowded.jobs_per_s == pytest.approx(limit, rel=0.15)
    assert crowded.wait_s[1] > 60 > 5 > helped.wait_s[1]
    assert helped.jobs_per_s == pytest.approx(1.5 * limit, rel=0.1)


def test_a_fleet_is_as_small_as_its_waits_allow():
    bounds = {"longest_wait_s": 10.0, "most_busy": 0.6, "jobs": 3_000, "seed": 1}

    machines, result = size(2.0, COST, **bounds)
    smaller = simulate(2.0, COST, replace(machines, gpu_slots=machines.gpu_slots - 1), jobs=3_000, seed=1)

    assert result.wait_s[1] <= 10.0
    assert smaller.wait_s[1] > 10.0 or machines.gpu_slots == math.ceil(2.0 * COST.slot_s)
    assert result.busy["servers"] <= 0.65


def test_jobs_on_one_machine_share_its_cores():
    cpu_s = {"api": 0.02, "server": 0.8, "database": 0.1, "gpu": 0.3, "s3": 0.1, "light": 0.1}

    both = one_machine(20, cpu_s, cores=2, slots=4, seed=1)

    assert both == pytest.approx(20 * sum(cpu_s.values()) / 2, rel=0.1)
    assert one_machine(20, cpu_s, cores=1, slots=4, seed=1) == pytest.approx(2 * both, rel=0.1)


def test_the_page_has_what_the_model_says():
    page = capacity.PAGE.read_text()

    assert fill(page, capacity.sections()) == page, "tests/benchmarks/capacity.py --write"
