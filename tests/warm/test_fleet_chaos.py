"""
A fleet under seeded faults: every job has its own result once, every slot is free, every webhook arrives.

Two servers on one PostgreSQL and Redis, two APIs, two workers that render and a light one, S3; two processes
at a time are killed or stopped, and links between them cut or frozen. A failing seed replays with
`.venv/bin/python tests/warm/fleet_chaos --jobs 200 --seconds 600 --seed N`; fewer jobs and seconds iterate.
"""

import pytest
from fleet_chaos.chaos import run_chaos

pytestmark = [pytest.mark.stack, pytest.mark.slow]
JOBS, SECONDS = 200, 600.0


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_two_hundred_jobs_have_one_right_result_each(tmp_path, seed):
    report = run_chaos(tmp_path, jobs=JOBS, seconds=SECONDS, seed=seed)
    print(report)
    assert report.broken == []
