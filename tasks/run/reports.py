"""
Reports of a flow run as Prefect artifacts: progress, timings, result and error.

The result and the error are part of the job and must be written. Progress and timings are for people: a
failed write is logged and never decides how the job ends.

Keys: `progress` (its description is JSON: phase, done, total, preview), `timings` (a table), `result` (JSON,
the return value of the flow) or `error` (JSON: code, message, retryable, details). The REST API reads these
and nothing else.
"""

import json
import logging
import threading
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager, nullcontext
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

from musetalk_core.engine_protocol import RenderStats
from musetalk_core.errors import RenderError
from tasks.run.cancellation import Cancelled, raise_if_cancelled
from tasks.run.event_names import NOTIFY_PROGRESS_TAG
from tasks.run.prefect_settings import settings_without_client_retries
from tasks.run.progress_event import emit_progress
from tasks.run.retry import retry_while_unavailable
from tasks.run.usage import UsageMeter, run_meter
from tasks.settings import get_settings
from tasks.tracing.spans import current_traceparent, span

Phase = Literal[
    "fetch", "speak", "prepare", "features", "render", "encode", "join", "quality", "sign", "upload", "verify"
]

_PHASE_SHARES: dict[str, tuple[float, float]] = {
    # start and end of each phase in percent; render and encode overlap and share one range
    "fetch": (0, 5),
    "speak": (5, 30),  # a speech job gives it a larger range
    "features": (5, 5),  # concurrent with prepare, which is longer and shows the progress of both
    "prepare": (5, 40),
    "render": (40, 92),
    "encode": (40, 92),
    "join": (92, 94),
    "quality": (94, 95),
    "sign": (95, 96),
    "upload": (96, 99),
    "verify": (5, 99),
}
_PROGRESS_INTERVAL_S = 1.0
_QUIET_S = 1.5
"""Time in seconds without progress after which a phase in the background is shown."""
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class PreviewState:
    """The newest preview frame of a run."""

    number: int = 0
    """Number of preview frames so far."""
    frame: int = 0
    """Number of the output frame that it shows."""
    due_at: float = 0.0
    """Monotonic time of the next one."""
    cpu_s: float = 0.0
    """CPU time in seconds that preview frames have used."""
    started_at_cpu_s: float = field(default_factory=time.process_time)
    """CPU time of the process when the run began."""


@dataclass(slots=True)
class Report:
    """Progress, timings and render statistics of one flow run in this process."""

    artifact: UUID | None = None
    meter: UsageMeter = field(default_factory=run_meter)
    """Time of the phases, and the CPU and GPU time that they use."""
    percent: float = 0.0
    rendering: RenderStats | None = None
    preview: PreviewState = field(default_factory=PreviewState)
    shares: dict[str, tuple[float, float]] = field(default_factory=lambda: _PHASE_SHARES)
    is_closed: bool = False
    """The run has ended: a step that still works in another thread should stop."""
    encoded_faces: int = 0
    """Faces of the avatar that the run encoded because its parts lacked them."""
    should_notify: bool = False
    """Whether the run emits progress events for webhooks."""
    _notification_count: int = 0
    _notified_at: float = field(default_factory=time.monotonic)
    _updated_at: float = 0.0
    _updated_phase: Phase | None = None
    _shown: tuple[Phase, int, int] = ("fetch", 0, 1)
    """Phase, completed items and total that the artifact shows."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def seconds(self) -> Mapping[str, float]:
        """Running time in seconds by phase."""
        return self.meter.read().seconds

    def add_render_stats(self, counts: RenderStats) -> None:
        """Add the statistics of a rendered chunk: batch size, out-of-memory retries, fp32 retries."""
        with self._lock:
            previous = self.rendering or RenderStats()
            self.rendering = replace(
                counts,
                out_of_memory=previous.out_of_memory + counts.out_of_memory,
                fp32_retries=previous.fp32_retries + counts.fp32_retries,
            )

    def count_encoded_faces(self, faces: int) -> None:
        """Count faces of the avatar that the run encoded."""
        with self._lock:
            self.encoded_faces += faces

    def advance(
        self, phase: Phase, done: int, total: int, force: bool = False, *, background: bool = False
    ) -> None:
        """
        Update the progress: it never decreases, and is sent at most once a second unless `force` is set.

        Every long loop calls this method, so it also checks for cancellation.

        Args:
            phase:      the phase that advanced.
            done:       number of items done.
            total:      number of items in the phase.
            force:      send the progress at once.
            background: the phase runs beside others: it is shown only while they report nothing.

        Raises:
            Cancelled: the job was canceled.
        """
        raise_if_cancelled()
        low, high = self.shares[phase]
        with self._lock:
            self.percent = max(self.percent, low + (high - low) * done / max(total, 1))
            now = time.monotonic()
            if background and now - self._updated_at < _QUIET_S:
                return
            force = force or phase != self._updated_phase  # show a new phase at once: it may take long
            if self.artifact is None or (not force and now - self._updated_at < _PROGRESS_INTERVAL_S):
                return
            self._updated_at, self._updated_phase, self._shown = now, phase, (phase, done, total)
            percent, artifact, text = self.percent, self.artifact, self._describe()
            notification = self._next_notification(now)
        _update_progress(artifact, percent, text)
        if notification:
            emit_progress(notification)

    def show_preview(self) -> None:
        """
        Count a new preview frame.

        The next update of the progress shows the number. If there was none for a while, one is sent: such a
        request takes ten times the CPU time of the frame.
        """
        with self._lock:
            self.preview.number += 1
            now = time.monotonic()
            if self.artifact is None or self.is_closed or now - self._updated_at < _QUIET_S:
                return
            self._updated_at = now
            percent, artifact, text = self.percent, self.artifact, self._describe()
        _update_progress(artifact, percent, text)

    def _describe(self) -> str:
        """Return the description of the progress artifact; the caller holds the lock."""
        phase, done, total = self._shown
        return json.dumps({"phase": phase, "done": done, "total": total, "preview": self.preview.number})

    def _next_notification(self, now: float) -> int:
        """Return the number of the progress event that is due, 0 if none is; the caller holds the lock."""
        if not self.should_notify or now - self._notified_at < get_settings().webhook.progress_every_s:
            return 0
        self._notified_at, self._notification_count = now, self._notification_count + 1
        return self._notification_count


def _update_progress(artifact: UUID, percent: float, text: str) -> None:
    try:
        # no retries: rendering must not wait for an unavailable server
        with settings_without_client_retries():
            update_progress_artifact(artifact_id=artifact, progress=percent, description=text)
    except Exception as error:
        _log.warning("progress was not recorded: %s", error)


_reports: dict[str, Report] = {}
_null_report = Report()


def current_report() -> Report:
    """Return the report of the current flow run; outside of a run, a report that sends nothing."""
    run = flow_run.id
    return _reports.get(str(run), _null_report) if run else _null_report


@contextmanager
def phase(name: Phase, total: int = 1, *, concurrent: bool = False) -> Generator[Report]:
    """
    Measure the time of the `with` block as one phase of the current run.

    Args:
        name:       the phase.
        total:      number of items in the phase, for progress.
        concurrent: the phase runs concurrently with an earlier phase, whose progress is shown.
    """
    report = current_report()
    if not concurrent:
        report.advance(name, 0, total)
    with span(f"phase {name}", {"phase": name}), report.meter.phase(name):
        yield report


@contextmanager
def open_report(**shares: tuple[float, float]) -> Generator[Report]:
    """
    Open the report of a flow run. A RenderError in the `with` block becomes the `error` artifact.

    Args:
        shares: start and end of phases in percent, where this job type differs from the default.
    """
    report, run = Report(shares=_PHASE_SHARES | shares), str(flow_run.id)
    _reports[run] = report
    report.artifact = _start_progress()
    report.should_notify = NOTIFY_PROGRESS_TAG in flow_run.tags
    try:
        # a worker process has a span around the flow
        with nullcontext() if current_traceparent() else span("flow"):
            yield report
    except Cancelled:
        raise
    except RenderError as error:
        _write_error(error)
        raise
    finally:
        report.is_closed = True
        _write_timings(report)
        _reports.pop(run, None)


def finish_report(report: Report, result: dict[str, Any]) -> None:
    """
    Write the `result` artifact and then 100 percent progress: a finished job must have its result.

    Raises:
        Exception: the result could not be written, also not after an outage of the server.
    """
    retry_while_unavailable(lambda: _create_artifact("result", result))
    report.percent = 100.0
    if report.artifact is not None:
        _update_progress(report.artifact, 100.0, json.dumps({"phase": "upload", "done": 1, "total": 1}))


def _start_progress() -> UUID | None:
    text = json.dumps({"phase": "fetch", "done": 0, "total": 1})
    try:
        artifact_id: Any = create_progress_artifact(progress=0.0, key="progress", description=text)
    except Exception as error:
        _log.warning("progress was not recorded: %s", error)
        return None
    return artifact_id


def _write_error(job_error: RenderError) -> None:
    """Write the `error` artifact; if that fails, the job still ends with its own error."""
    try:
        retry_while_unavailable(lambda: _create_artifact("error", _error_details(job_error)))
    except Exception as error:
        _log.error("the error of the job was not recorded: %s", error)


def write_artifact(key: str, data: dict[str, Any], description: str) -> None:
    """
    Create a JSON artifact of the current run.

    Args:
        key:         key of the artifact.
        data:        JSON, for programs.
        description: Markdown, for people.
    """
    _create_artifact(key, data, description)


def _create_artifact(key: str, data: dict[str, Any], description: str | None = None) -> None:
    artifact: Any = Artifact(type="json", key=key, data=data, description=description)  # pyright: ignore[reportArgumentType]  dict is JSON
    artifact.create()


def _write_timings(report: Report) -> None:
    rows = [{"phase": name, "seconds": round(s, 3)} for name, s in report.seconds.items()]
    try:
        create_table_artifact(key="timings", table=rows, description="Running time per phase")
    except Exception as error:
        _log.warning("the timings were not recorded: %s", error)


def _error_details(error: RenderError) -> dict[str, Any]:
    details = {name: str(value) for name, value in error.details.items()}
    return {"code": error.code, "message": str(error), "retryable": error.retryable, "details": details}
