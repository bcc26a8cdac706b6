"""Dependency graph of a pipeline: which steps are ready, blocked or finished."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from flows.orchestration.child_jobs import ChildSpec, child_spec
from flows.schemas.pipeline import Step, resolve_step_references


@dataclass(slots=True)
class StepGraph:
    """The steps of a pipeline and their state."""

    steps: Sequence[Step]
    succeeded_jobs: dict[str, UUID] = field(default_factory=dict[str, UUID])
    """Job of each step that succeeded, by step name."""
    failed: set[str] = field(default_factory=set[str])
    """Names of the steps whose job failed."""

    def ready_jobs(self) -> list[ChildSpec]:
        """Return the child jobs of all steps that have not ended and whose inputs are available."""
        return [
            child_spec(
                step.name, step.type, resolve_step_references(step.job, self.succeeded_jobs.__getitem__)
            )
            for step in self.steps
            if not self._has_ended(step) and step.needs <= self.succeeded_jobs.keys()
        ]

    @property
    def is_finished(self) -> bool:
        """True if no step is running and none can start."""
        return all(self._has_ended(step) or self._is_blocked(step) for step in self.steps)

    @property
    def ended_count(self) -> int:
        """Number of steps that have ended."""
        return len(self.succeeded_jobs) + len(self.failed)

    def _has_ended(self, step: Step) -> bool:
        return step.name in self.succeeded_jobs or step.name in self.failed

    def _is_blocked(self, step: Step) -> bool:
        """Return whether a step depends, directly or indirectly, on a failed step."""
        by_name: Mapping[str, Step] = {one.name: one for one in self.steps}
        pending, visited = set(step.needs), set[str]()
        while pending:
            name = pending.pop()
            if name in self.failed:
                return True
            if name not in visited and name not in self.succeeded_jobs:
                visited.add(name)
                pending |= by_name[name].needs
        return False
