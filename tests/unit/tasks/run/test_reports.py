"""Progress reports of a run."""

import pytest

from tasks.run import reports


@pytest.fixture
def report(monkeypatch):
    made = reports.Report()
    monkeypatch.setattr(reports, "current_report", lambda: made)
    return made


def test_progress_tells_of_the_preparation_while_speech_and_sound_are_worked_on_beside_it(report):
    with reports.phase("fetch"), reports.phase("features"), reports.phase("encode", concurrent=True):
        report.advance("prepare", 1, 2)

    assert 5 < report.percent < 40
    assert set(report.seconds) == {"fetch", "features", "encode"}
