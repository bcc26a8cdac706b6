"""Artifacts of a batch or pipeline run: progress, result and error, kept across restarts of the run."""

import json
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from prefect.artifacts import Artifact, create_progress_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactUpdate
from prefect.client.schemas.objects import FlowRun
from prefect.runtime import flow_run

from flows.prefect_state.artifacts import read_latest_artifacts
from flows.prefect_state.status import PROGRESS_KEY
from flows.schemas.control import read_control
from musetalk_core.errors import RenderError
from tasks.artifact_pages.warnings import show_warnings
from tasks.run.cancellation import Cancelled
from tasks.run.event_names import NOTIFY_PROGRESS_TAG
from tasks.run.progress_event import emit_progress
from tasks.run.retry import retry_while_unavailable
from tasks.run.tenancy import on_behalf_of
from tasks.settings import get_settings

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

    from flows.schemas.batch import BatchResult
    from flows.schemas.pipeline import PipelineResult

_PHASE: Final = "steps"
"""Phase of a batch or pipeline in its progress artifact."""


class RunReport:
    """The progress, result and error artifacts of one run."""

    def __init__(self, client: "SyncPrefectClient", run: FlowRun) -> None:
        """Find or create the progress artifact of the run, which may have been started before."""
        self.client, self.run = client, run
        self._last_update = ""
        self._percent = 0.0
        self._progress_id = self._find_or_create_progress()
        self._emits_progress_events = NOTIFY_PROGRESS_TAG in run.tags
        self._last_emitted_percent = 0.0

    def _find_or_create_progress(self) -> UUID:
        own_artifacts = read_latest_artifacts(self.client, [self.run.id], [PROGRESS_KEY]).get(self.run.id, {})
        if existing := own_artifacts.get(PROGRESS_KEY):
            self._percent = float(str(existing.data or 0.0))
            return existing.id
        text = json.dumps({"phase": _PHASE, "done": 0, "total": 0})
        artifact_id: Any = retry_while_unavailable(
            lambda: create_progress_artifact(progress=0.0, key=PROGRESS_KEY, description=text)
        )
        return artifact_id

    def update_progress(self, done: int, total: int, percent: float | None = None) -> None:
        """
        Update the progress; it never decreases.

        Args:
            done:    child jobs that have ended.
            total:   number of child jobs.
            percent: more precise progress, if known.
        """
        new_percent = 100.0 * done / max(total, 1) if percent is None else percent
        self._percent = max(self._percent, min(new_percent, 99.0))  # 100 only after the result is written
        text = json.dumps({"phase": _PHASE, "done": done, "total": total})
        update_text = f"{self._percent:.0f} {text}"
        if update_text == self._last_update:
            return
        self._last_update = update_text
        self._write_progress(text)
        # one progress event per 5 percent
        if self._emits_progress_events and self._percent >= self._last_emitted_percent + 5:
            self._last_emitted_percent = self._percent
            emit_progress(max(1, int(self._percent)))

    def _write_progress(self, text: str) -> None:
        update: Any = ArtifactUpdate(data=self._percent, description=text)
        retry_while_unavailable(lambda: self.client.update_artifact(self._progress_id, update))

    def finish(self, result: "PipelineResult | BatchResult", done: int, total: int) -> None:
        """Write the result and its warnings, then set the progress to 100 percent, in this order."""
        self._create_artifact("result", result.model_dump(mode="json"))
        show_warnings(result.warnings)
        self._percent = 100.0
        self._write_progress(json.dumps({"phase": _PHASE, "done": done, "total": total}))

    def write_error(self, error: RenderError) -> None:
        """Write the error artifact."""
        details = {name: str(value) for name, value in error.details.items()}
        data = {"code": error.code, "message": str(error), "retryable": error.retryable, "details": details}
        self._create_artifact("error", data)

    @staticmethod
    def _create_artifact(key: str, data: Any) -> None:
        artifact: Any = Artifact(type="json", key=key, data=data)
        retry_while_unavailable(artifact.create)


@contextmanager
def run_report() -> Generator[RunReport]:
    """
    Open the report of this flow run; a `RenderError` becomes its `error` artifact.

    The body runs on behalf of the job's tenant.
    """
    with get_client(sync_client=True) as client:
        run = retry_while_unavailable(lambda: client.read_flow_run(UUID(str(flow_run.id))))
        report = RunReport(client, run)
        get_settings()  # report invalid settings before any work starts
        try:
            with on_behalf_of(read_control(run.parameters).tenant):
                yield report
        except Cancelled:
            raise
        except RenderError as error:
            report.write_error(error)
            raise
