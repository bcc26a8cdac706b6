"""Artifacts of a batch or pipeline run: progress, result and error, kept across restarts of the run."""

import json
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from prefect.artifacts import Artifact, create_progress_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactUpdate
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId, ArtifactFilterKey
from prefect.client.schemas.objects import FlowRun
from prefect.runtime import flow_run
from pydantic import BaseModel

from flows.chains.patience import patiently
from flows.control import read_control
from flows.outcome import PROGRESS
from musetalk_core.errors import RenderError
from tasks.event_names import NOTIFY_PROGRESS_TAG
from tasks.progress_event import tell_progress
from tasks.settings import get_settings
from tasks.stopping import Stopped
from tasks.tenancy import on_behalf_of

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

_PHASE: Final = "steps"
"""Phase of a batch or pipeline in its progress artifact."""


class Books:
    """The progress, result and error artifacts of one run."""

    def __init__(self, client: "SyncPrefectClient", run: FlowRun) -> None:
        """Find or create the progress artifact of the run, which may have been started before."""
        self.client, self.run = client, run
        self._shown = ""
        self._percent = 0.0
        self._progress = self._find_progress()
        self._telling = NOTIFY_PROGRESS_TAG in run.tags
        self._told = 0.0

    def _find_progress(self) -> UUID:
        wanted = ArtifactFilter(
            flow_run_id=ArtifactFilterFlowRunId(any_=[self.run.id]), key=ArtifactFilterKey(any_=[PROGRESS])
        )
        known = patiently(lambda: self.client.read_artifacts(artifact_filter=wanted, limit=1))
        if known:
            self._percent = float(str(known[0].data or 0.0))
            return known[0].id
        text = json.dumps({"phase": _PHASE, "done": 0, "total": 0})
        made: Any = patiently(lambda: create_progress_artifact(progress=0.0, key=PROGRESS, description=text))
        return made

    def show(self, done: int, total: int, percent: float | None = None) -> None:
        """
        Update the progress; it never decreases.

        Args:
            done:    child jobs that have ended.
            total:   number of child jobs.
            percent: more precise progress, if known.
        """
        share = 100.0 * done / max(total, 1) if percent is None else percent
        self._percent = max(self._percent, min(share, 99.0))  # 100 only after the result is written
        text = json.dumps({"phase": _PHASE, "done": done, "total": total})
        said = f"{self._percent:.0f} {text}"
        if said == self._shown:
            return
        self._shown = said
        self._update(text)
        # one progress event per 5 percent
        if self._telling and self._percent >= self._told + 5:
            self._told = self._percent
            tell_progress(max(1, int(self._percent)))

    def _update(self, text: str) -> None:
        update: Any = ArtifactUpdate(data=self._percent, description=text)
        patiently(lambda: self.client.update_artifact(self._progress, update))

    def finish(self, result: BaseModel, done: int, total: int) -> None:
        """Write the result, then set the progress to 100 percent, in this order."""
        self._write("result", result.model_dump(mode="json"))
        self._percent = 100.0
        self._update(json.dumps({"phase": _PHASE, "done": done, "total": total}))

    def fail(self, error: RenderError) -> None:
        """Write the error artifact."""
        details = {name: str(value) for name, value in error.details.items()}
        data = {"code": error.code, "message": str(error), "retryable": error.retryable, "details": details}
        self._write("error", data)

    @staticmethod
    def _write(key: str, data: Any) -> None:
        made: Any = Artifact(type="json", key=key, data=data)
        patiently(made.create)


@contextmanager
def books() -> Generator[Books]:
    """
    Open the report of this flow run; a `RenderError` becomes its `error` artifact.

    The body runs on behalf of the job's tenant.
    """
    with get_client(sync_client=True) as client:
        run = patiently(lambda: client.read_flow_run(UUID(str(flow_run.id))))
        open_books = Books(client, run)
        get_settings()  # report invalid settings before any work starts
        try:
            with on_behalf_of(read_control(run.parameters).tenant):
                yield open_books
        except Stopped:
            raise
        except RenderError as error:
            open_books.fail(error)
            raise
