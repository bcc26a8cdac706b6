"""Performance limits (bars) of the warm worker; they take minutes and require an otherwise idle machine."""

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.stack]


def test_warm_runs_are_many_times_faster_than_stock_ones():
    import warm

    found = warm.main()
    assert found["stock"] >= 10 and found["quick"] >= 4 and found["model"] >= 8 and found["cycle"] <= 1.3


def test_a_burst_of_jobs_loses_none_and_statuses_stay_cheap_while_they_run():
    import load

    ratio, good, working = load.main()
    assert (good, ratio >= 10, working > 0) == (load.BURST_SIZE, True, True)
