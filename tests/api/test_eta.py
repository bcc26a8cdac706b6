"""Forecasts against a simulated queue whose truth is known."""

import heapq
import random
from statistics import median

import pytest

from api.jobs.eta import DurationStats, duration_stats, eta_for_queued, eta_for_running

LIP_SYNC, SPEECH = (60.0, 0.25), (8.0, 0.4)


def lasting(chance, kind):
    mean, spread = kind
    return mean * chance.lognormvariate(0, spread)


def test_nothing_is_known_of_nothing():
    assert duration_stats([]) is None
    assert eta_for_queued(None, [DurationStats(1, 2, 1)], 1) is None and eta_for_running(None, 5, 1) is None


def test_history_is_summed_up():
    assert duration_stats([10, 20, 30, 40, 50, 60, 70, 80, 90, 100]) == DurationStats(55, 90, 55)
    assert duration_stats([7]) == DurationStats(7, 7, 7)


@pytest.mark.parametrize("servers", [1, 4])
def test_the_median_error_over_200_waiting_jobs_is_below_a_quarter(servers):
    chance = random.Random(7)
    known = {kind: duration_stats([lasting(chance, kind) for _ in range(100)]) for kind in (LIP_SYNC, SPEECH)}
    jobs = [chance.choice((LIP_SYNC, SPEECH)) for _ in range(200)]
    free, errors, by_then = [0.0] * servers, [], 0
    heapq.heapify(free)
    for place, kind in enumerate(jobs):
        eta = eta_for_queued(known[kind], [known[before] for before in jobs[:place]], servers)
        done = heapq.heappop(free) + lasting(chance, kind)
        heapq.heappush(free, done)
        errors.append(abs(eta.p50 - done) / done)
        by_then += done <= eta.p90
    assert median(errors) < 0.25
    assert by_then > 150


def test_a_running_job_is_judged_by_its_own_pace_the_further_it_is():
    usual = DurationStats(100, 150, 110)
    early, late = eta_for_running(usual, 10, 2), eta_for_running(usual, 180, 90)
    assert early.p50 == 90 and early.p90 == 140
    assert late.p50 == pytest.approx(18, abs=1) and late.p50 <= late.p90 < 30
    assert eta_for_running(usual, 500, 2).p50 == 0  # long overdue, and nothing better is known
