"""Context of a media job: waits for tasks, tracks cache hits, and records provenance and timings."""

import logging
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from prefect.futures import PrefectFuture
from prefect.runtime import flow_run
from pydantic import BaseModel

from flows.lineage.recorder import ProvenanceFacts, write_manifest
from flows.media.publication import publish
from flows.media.statements import OutputKind
from flows.schemas.base import JobParameters, Output, PhaseTimes
from flows.schemas.control import read_control
from flows.schemas.provenance import Provenance
from flows.storage.job_access import check_access
from musetalk_core.errors import ModelChanged
from musetalk_core.model_registry.pins import PinnedModel
from tasks.artifact_pages.warnings import show_warnings
from tasks.cache.artefacts import artefact_cache
from tasks.catalog.outputs import PublishedFile
from tasks.refs import Artefact, ObjectRef, SourceFile
from tasks.run.counters import CACHE_LOOKUPS, count
from tasks.run.reports import Report, finish_report, open_report
from tasks.run.tenancy import on_behalf_of
from tasks.steps.fetch import FetchedInput
from tasks.steps.preview_frames import remove_preview_frame
from tasks.tracing.spans import add_event

T = TypeVar("T")

_MAX_ATTEMPTS: Final = 3
"""Maximum number of attempts if models are replaced while the work runs."""
_UNCACHED_STEPS: Final = frozenset({"fetch", "verify"})
"""Steps whose tasks run every time."""
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class JobContext:
    """The context of one flow run: report, provenance facts and cache hits."""

    report: Report
    facts: ProvenanceFacts
    cached: list[str] = field(default_factory=list[str])
    warnings: list[str] = field(default_factory=list[str])
    """Warnings for the result, each `code: sentence`, without duplicates."""
    finalizers: list[Callable[[], None]] = field(default_factory=list[Callable[[], None]])
    """Called after the result is published, for example to write the preview page. They must not raise."""

    def wait_for(self, step: str, future: PrefectFuture[T]) -> T:
        """Wait for a task and return its result; record a cache hit. Raises the task's errors."""
        value, was_cached = self.wait_with_cache_flag(step, future)
        if was_cached and step not in self.cached:
            self.cached.append(step)
        return value

    def count_as_made(self, step: str) -> None:
        """Remove a step from the cache hits, because a part of it was made."""
        if step in self.cached:
            self.cached.remove(step)

    @staticmethod
    def wait_with_cache_flag(step: str, future: PrefectFuture[T]) -> tuple[T, bool]:
        """Wait for a task; return its result and whether it came from the cache. Raises the task's errors."""
        value: Any = future.result()
        was_cached = future.state.name == "Cached"
        if was_cached:
            add_event("cached", {"cache.step": step})
        if step not in _UNCACHED_STEPS:
            count(CACHE_LOOKUPS, step, "hit" if was_cached else "miss")
        return value, was_cached

    def wait_for_input(
        self, future: PrefectFuture[FetchedInput], *, is_rendered: bool = True
    ) -> FetchedInput:
        """
        Wait for an input file and record it for the provenance manifest.

        Args:
            future:      task that fetches the file.
            is_rendered: whether the warnings about rendering the file apply.
        """
        found = self.wait_for("fetch", future)
        self.warn(*(found.warnings if is_rendered else ()))
        if found.given is not None:
            self.record_input(found.given, found.source)
        return found

    def warn(self, *warnings: str) -> None:
        """Add warnings to the job's result; repeated ones count once."""
        self.warnings.extend(text for text in dict.fromkeys(warnings) if text not in self.warnings)

    def record_input(self, reference: str, file: SourceFile) -> None:
        """Record an input file by its reference in the request."""
        self.facts.record_input(reference, file)

    def record_output(self, output: PublishedFile) -> ObjectRef:
        """Record an output file and return its location."""
        self.facts.outputs.append(output)
        self.report.meter.add_stored_bytes(output.ref.size)
        return output.ref

    def publish(
        self, made: Artefact, files: Mapping[str, str], output: Output, kind: OutputKind
    ) -> list[PublishedFile]:
        """Sign and store files of a cache entry, and record them; see `flows.media.publication.publish`."""
        return publish(self, made, files, output, kind)

    @property
    def provenance(self) -> Provenance:
        """Return how the published outputs are signed, for the job's result."""
        return self.facts.credentials

    def record_models(self, *models: PinnedModel) -> None:
        """Record the models used, pinned by content."""
        self.facts.models |= {model.name: model for model in models}

    def run_with_pinned_models(self, work: Callable[[], T]) -> T:
        """
        Run work that pins models, and repeat it if a model is replaced before it is loaded (ADR 21).

        Raises:
            ModelChanged: models were replaced during each of three attempts.
        """
        cached_before = list(self.cached)
        for _ in range(_MAX_ATTEMPTS - 1):
            try:
                return work()
            except ModelChanged as error:
                _log.warning("%s Starting again with the new files.", error)
                self.cached[:] = cached_before
        return work()

    def record_choice(self, **facts: Any) -> None:
        """Record values chosen for what the request left open."""
        self.facts.choices |= facts

    def record_engine(self, name: str) -> None:
        """Record the rendering engine or voice that the run uses, for its metrics and its costs."""
        self.report.meter.engine = name

    def timings(self) -> dict[str, float]:
        """Return the seconds per phase so far."""
        return {name: round(seconds, 3) for name, seconds in self.report.seconds.items()}

    def usage(self) -> dict[str, PhaseTimes]:
        """Return the CPU and GPU time per phase so far."""
        phases = self.report.meter.read().phases
        return {
            name: PhaseTimes(cpu_s=round(used.cpu_s, 3), device_s=round(used.device_s, 3))
            for name, used in phases.items()
        }

    def finish(self, result: BaseModel) -> None:
        """Publish the result with what was used, write the provenance manifest, and run the finalizers."""
        if "usage" in type(result).model_fields:
            result = result.model_copy(update={"usage": self.usage()})
        finish_report(self.report, result.model_dump(mode="json"))
        show_warnings(getattr(result, "warnings", []))
        write_manifest(self.facts, self.report, self.cached)
        for finalizer in self.finalizers:
            finalizer()


@contextmanager
def job_context(job: JobParameters, **shares: tuple[float, float]) -> Generator[JobContext]:
    """
    Open the context of a run, and release the cache entries in use when it ends.

    Args:
        job:    request of the job.
        shares: share of the progress per phase, see `tasks.run.reports.open_report`.

    Raises:
        BucketNotAllowed, LocalPathDisabled, InputError: the job may not use an input or output location.
    """
    try:
        tenant = read_control(flow_run.parameters or {}).tenant
        with on_behalf_of(tenant), open_report(**shares) as report:
            check_access(job)
            try:
                yield JobContext(report, ProvenanceFacts(job, tenant))
            finally:
                remove_preview_frame(report)
    finally:
        artefact_cache().release()
