"""Context of a media job: waits for tasks, tracks cache hits, and records provenance and timings."""

import logging
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from prefect.futures import PrefectFuture
from prefect.runtime import flow_run
from pydantic import BaseModel

from flows.control import read_control
from flows.job import Job
from flows.job_access import check_access
from flows.lineage import Origins, record
from musetalk_core.errors import ModelChanged
from musetalk_core.weights.pins import PinnedModel
from tasks.artefacts import artefacts
from tasks.fetch import Fetched
from tasks.publish import Published
from tasks.refs import ObjectRef, SourceFile
from tasks.reports import Report, finish, reported
from tasks.tenancy import on_behalf_of

T = TypeVar("T")

_MAX_STARTS: Final = 3
"""Maximum number of attempts if models are replaced while the work runs."""
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Steps:
    """The context of one flow run: report, provenance facts and cache hits."""

    report: Report
    origins: Origins
    cached: list[str] = field(default_factory=list[str])
    afterwards: list[Callable[[], None]] = field(default_factory=list[Callable[[], None]])
    """Called after the result is published, for example to write the preview page. They must not raise."""

    def result(self, step: str, future: PrefectFuture[T]) -> T:
        """Wait for a task and return its result; record a cache hit. Raises the task's errors."""
        value, was_cached = self.outcome(future)
        if was_cached:
            self.cached.append(step)
        return value

    def outcome(self, future: PrefectFuture[T]) -> tuple[T, bool]:
        """Wait for a task; return its result and whether it came from the cache. Raises the task's errors."""
        value: Any = future.result()
        return value, future.state.name == "Cached"

    def fetched(self, future: PrefectFuture[Fetched]) -> Fetched:
        """Wait for an input file and record it for the provenance manifest."""
        found = self.result("fetch", future)
        if found.given is not None:
            self.took(found.given, found.source)
        return found

    def took(self, given: str, file: SourceFile) -> None:
        """Record an input file by its reference in the request."""
        self.origins.took(given, file)

    def stored(self, output: Published) -> ObjectRef:
        """Record an output file and return its location."""
        self.origins.outputs.append(output)
        return output.ref

    def used(self, *models: PinnedModel) -> None:
        """Record models that took part, pinned by content."""
        self.origins.models |= {model.name: model for model in models}

    def run_with_pinned_models(self, work: Callable[[], T]) -> T:
        """
        Run work that pins models, and repeat it if a model is replaced before it is loaded (ADR 21).

        Raises:
            ModelChanged: models were replaced during each of three attempts.
        """
        cached = list(self.cached)
        for _ in range(_MAX_STARTS - 1):
            try:
                return work()
            except ModelChanged as error:
                _log.warning("%s Starting again with the new files.", error)
                self.cached[:] = cached
        return work()

    def settled(self, **facts: Any) -> None:
        """Record values chosen for what the request left open."""
        self.origins.settled |= facts

    def timings(self) -> dict[str, float]:
        """Return the seconds per phase so far."""
        return {name: round(seconds, 3) for name, seconds in self.report.seconds.items()}

    def finish(self, result: BaseModel) -> None:
        """Publish the result, then write the provenance manifest, then run the finalizers."""
        finish(self.report, result.model_dump(mode="json"))
        record(self.origins, self.report, self.cached)
        for show in self.afterwards:
            show()


@contextmanager
def job_steps(job: Job, **shares: tuple[float, float]) -> Generator[Steps]:
    """
    Open the context of a run, and release the cache entries in use when it ends.

    Args:
        job:    request of the job.
        shares: share of the progress per phase, see `tasks.reports.reported`.

    Raises:
        BucketNotAllowed, LocalPathDisabled, InputError: the job may not use an input or output location.
    """
    try:
        tenant = read_control(flow_run.parameters or {}).tenant
        with on_behalf_of(tenant), reported(**shares) as report:
            check_access(job)
            yield Steps(report, Origins(job, tenant))
    finally:
        artefacts().release()
