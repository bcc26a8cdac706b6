"""
Reports of a flow run as Prefect artifacts: progress, timings, result and error.

Keys: `progress` (its description is JSON: phase, done, total), `timings` (a table), `result` (JSON, the
return value of the flow) or `error` (JSON: code, message, retryable, details). The REST API reads these and
nothing else.
"""

import json
import logging
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Literal
from uuid import UUID

from prefect.artifacts import (
    Artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.runtime import flow_run
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from musetalk_core.engine import Counts
from musetalk_core.errors import RenderError
from tasks.event_names import NOTIFY_PROGRESS_TAG
from tasks.progress_event import tell_progress
from tasks.settings import get_settings
from tasks.stopping import Stopped, stop_if_asked

Phase = Literal["fetch", "speak", "prepare", "features", "render", "encode", "join", "upload"]

_SHARES: dict[str, tuple[float, float]] = {
    # start and end of each phase in percent; render and encode overlap and share one range
    "fetch": (0, 5),
    "speak": (5, 30),  # a speech job gives it a larger range
    "features": (5, 5),  # concurrent with prepare, which is longer and shows the progress of both
    "prepare": (5, 40),
    "render": (40, 92),
    "encode": (40, 92),
    "join": (92, 96),
    "upload": (96, 99),
}
_EVERY_S = 1.0
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Report:
    """Progress, timings and render statistics of one flow run in this process."""

    artifact: UUID | None = None
    seconds: dict[str, float] = field(default_factory=dict[str, float])
    percent: float = 0.0
    rendering: Counts | None = None
    shares: dict[str, tuple[float, float]] = field(default_factory=lambda: _SHARES)
    closed: bool = False
    """The run has ended: a step that still works in another thread should stop."""
    telling: bool = False
    """Whether the run emits progress events for webhooks."""
    _told: int = 0
    _told_at: float = field(default_factory=time.monotonic)
    _shown_at: float = 0.0
    _shown_phase: Phase | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def spend(self, phase: Phase, seconds: float) -> None:
        """Add running time in seconds to a phase."""
        with self._lock:
            self.seconds[phase] = self.seconds.get(phase, 0.0) + seconds

    def rendered(self, counts: Counts) -> None:
        """Add the statistics of a rendered chunk: batch size, out-of-memory retries, fp32 retries."""
        with self._lock:
            known = self.rendering or Counts()
            self.rendering = replace(
                counts,
                out_of_memory=known.out_of_memory + counts.out_of_memory,
                fp32_retries=known.fp32_retries + counts.fp32_retries,
            )

    def advance(self, phase: Phase, done: int, total: int, force: bool = False) -> None:
        """
        Update the progress: it never decreases, and is sent at most once a second unless `force` is set.

        Every long loop calls this method, so it also checks for cancellation.

        Raises:
            Cancelled: the job was canceled.
        """
        stop_if_asked()
        low, high = self.shares[phase]
        with self._lock:
            self.percent = max(self.percent, low + (high - low) * done / max(total, 1))
            now = time.monotonic()
            force = force or phase != self._shown_phase  # show a new phase at once: it may take long
            if self.artifact is None or (not force and now - self._shown_at < _EVERY_S):
                return
            self._shown_at, self._shown_phase = now, phase
            shown, artifact = self.percent, self.artifact
            told = self._tell_at(now)
        text = json.dumps({"phase": phase, "done": done, "total": total})
        _show(artifact, shown, text)
        if told:
            tell_progress(told)

    def _tell_at(self, now: float) -> int:
        """Return the number of the progress event that is due, 0 if none is; the caller holds the lock."""
        if not self.telling or now - self._told_at < get_settings().webhook.progress_every_s:
            return 0
        self._told_at, self._told = now, self._told + 1
        return self._told


def _show(artifact: UUID, percent: float, text: str) -> None:
    try:
        # no retries: rendering must not wait for an unavailable server
        with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}):
            update_progress_artifact(artifact_id=artifact, progress=percent, description=text)
    except Exception as error:
        _log.warning("progress was not recorded: %s", error)


_reports: dict[str, Report] = {}
_nobody = Report()


def current() -> Report:
    """Return the report of the current flow run; outside of a run, a report that sends nothing."""
    run = flow_run.id
    return _reports.get(str(run), _nobody) if run else _nobody


@contextmanager
def phase(name: Phase, total: int = 1, *, beside: bool = False) -> Generator[Report]:
    """
    Measure the time of the `with` block as one phase of the current run.

    Args:
        name:       the phase.
        total:      number of items in the phase, for progress.
        concurrent: the phase runs concurrently with an earlier phase, whose progress is shown.
    """
    report, began = current(), time.monotonic()
    if not beside:
        report.advance(name, 0, total)
    try:
        yield report
    finally:
        report.spend(name, time.monotonic() - began)


@contextmanager
def reported(**shares: tuple[float, float]) -> Generator[Report]:
    """
    Open the report of a flow run. A RenderError in the `with` block becomes the `error` artifact.

    Args:
        shares: start and end of phases in percent, where this job type differs from the default.
    """
    report, run = Report(shares=_SHARES | shares), str(flow_run.id)
    _reports[run] = report
    report.artifact = _start_progress()
    report.telling = NOTIFY_PROGRESS_TAG in flow_run.tags
    try:
        yield report
    except Stopped:
        raise
    except RenderError as error:
        _write("error", _public(error))
        raise
    finally:
        report.closed = True
        _write_timings(report)
        _reports.pop(run, None)


def finish(report: Report, result: dict[str, Any]) -> None:
    """Write the `result` artifact and then 100 percent progress: a finished job must have its result."""
    _write("result", result)
    report.percent = 100.0
    if report.artifact is not None:
        _show(report.artifact, 100.0, json.dumps({"phase": "upload", "done": 1, "total": 1}))


def _start_progress() -> UUID:
    text = json.dumps({"phase": "fetch", "done": 0, "total": 1})
    made: Any = create_progress_artifact(progress=0.0, key="progress", description=text)
    return made


def note(key: str, data: dict[str, Any], description: str) -> None:
    """
    Create a JSON artifact of the current run.

    Args:
        key:         key of the artifact.
        data:        JSON, for programs.
        description: Markdown, for people.
    """
    _write(key, data, description)


def _write(key: str, data: dict[str, Any], description: str | None = None) -> None:
    made: Any = Artifact(type="json", key=key, data=data, description=description)  # pyright: ignore[reportArgumentType]  dict is JSON
    made.create()


def _write_timings(report: Report) -> None:
    rows = [{"phase": name, "seconds": round(s, 3)} for name, s in report.seconds.items()]
    create_table_artifact(key="timings", table=rows, description="Running time per phase")


def _public(error: RenderError) -> dict[str, Any]:
    details = {name: str(value) for name, value in error.details.items()}
    return {"code": error.code, "message": str(error), "retryable": error.retryable, "details": details}
