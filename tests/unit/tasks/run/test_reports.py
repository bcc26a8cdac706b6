"""Progress reports of a run."""

import json
from contextlib import suppress
from types import SimpleNamespace
from uuid import uuid4

import httpx
import pytest

from musetalk_core.errors import InputError
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


class Refused(Exception):
    """Prefect's server refuses."""


def refuse(*_, **__):
    raise Refused("no room")


@pytest.fixture
def written(monkeypatch):
    """Artifacts that a run writes, without a server: (key, data)."""
    out = []
    monkeypatch.setattr(reports, "flow_run", SimpleNamespace(id=uuid4(), tags=[]))
    monkeypatch.setattr(reports, "create_progress_artifact", lambda **_: uuid4())
    monkeypatch.setattr(reports, "update_progress_artifact", lambda **_: None)
    monkeypatch.setattr(
        reports, "create_table_artifact", lambda **more: out.append((more["key"], more["table"]))
    )
    monkeypatch.setattr(reports, "_create_artifact", lambda key, data, *_: out.append((key, data)))
    return out


@pytest.mark.parametrize(
    "call", ["create_progress_artifact", "update_progress_artifact", "create_table_artifact"]
)
def test_a_report_that_is_not_written_decides_no_jobs_fate(written, monkeypatch, call, caplog):
    monkeypatch.setattr(reports, call, refuse)

    with reports.open_report() as report:
        with reports.phase("render", 2):
            report.advance("render", 1, 2, force=True)
        reports.finish_report(report, {"name": "a.mp4"})

    assert ("result", {"name": "a.mp4"}) in written
    assert "no room" in caplog.text


@pytest.mark.parametrize("call", ["create_progress_artifact", "create_table_artifact", "_create_artifact"])
def test_a_report_that_is_not_written_hides_no_error(written, monkeypatch, call, caplog):
    monkeypatch.setattr(reports, call, refuse)

    with pytest.raises(InputError, match="no face"), reports.open_report():
        raise InputError("there is no face")

    assert "no room" in caplog.text
    assert call == "_create_artifact" or written[0][0] == "error"


def test_the_result_must_be_written(written, monkeypatch):
    monkeypatch.setattr(reports, "_create_artifact", refuse)

    with pytest.raises(Refused), reports.open_report() as report:
        reports.finish_report(report, {})


@pytest.mark.parametrize("key", ["result", "error"])
def test_the_result_and_the_error_are_written_after_an_outage(written, monkeypatch, key):
    outages = [httpx.ConnectError("away"), httpx.ReadTimeout("slow")]

    def write(name, data, *_):
        if outages:
            raise outages.pop()
        written.append((name, data))

    monkeypatch.setattr(reports, "_create_artifact", write)
    with suppress(InputError), reports.open_report() as report:
        if key == "error":
            raise InputError("bad")
        reports.finish_report(report, {})

    assert key in dict(written) and not outages


def test_a_phase_in_the_background_is_shown_while_the_others_report_nothing(written, monkeypatch):
    told, now = [], [100.0]
    monkeypatch.setattr(
        reports, "_update_progress", lambda _, __, text: told.append(json.loads(text)["phase"])
    )
    monkeypatch.setattr(reports.time, "monotonic", lambda: now[0])
    report = reports.Report(artifact=uuid4())
    for second in range(10):
        now[0] += 1
        if second < 4:
            report.advance("prepare", second, 10)
        report.advance("features", second, 10, background=True)

    assert told[:4] == ["prepare"] * 4
    assert 3 <= told.count("features") <= 6
