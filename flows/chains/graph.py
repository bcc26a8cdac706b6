"""Dependency graph of a pipeline: which steps are ready, blocked or finished."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from flows.chains.parts import Work, work
from flows.pipeline_schemas import Step, resolved


@dataclass(slots=True)
class Graph:
    """The steps of a pipeline and their state."""

    steps: Sequence[Step]
    done: dict[str, UUID] = field(default_factory=dict[str, UUID])
    """Job of each step that succeeded, by step name."""
    failed: set[str] = field(default_factory=set[str])
    """Names of the steps whose job failed."""

    def ready(self) -> list[Work]:
        """Return the child jobs of all steps that have not ended and whose inputs are available."""
        return [
            work(step.name, step.type, resolved(step.job, self.done.__getitem__))
            for step in self.steps
            if not self._has_ended(step) and step.needs <= self.done.keys()
        ]

    @property
    def is_over(self) -> bool:
        """True if no step is running and none can start."""
        return all(self._has_ended(step) or self._is_blocked(step) for step in self.steps)

    @property
    def ended(self) -> int:
        """Number of steps that have ended."""
        return len(self.done) + len(self.failed)

    def _has_ended(self, step: Step) -> bool:
        return step.name in self.done or step.name in self.failed

    def _is_blocked(self, step: Step) -> bool:
        """Return whether a step depends, directly or indirectly, on a failed step."""
        by_name: Mapping[str, Step] = {one.name: one for one in self.steps}
        open_needs, seen = set(step.needs), set[str]()
        while open_needs:
            name = open_needs.pop()
            if name in self.failed:
                return True
            if name not in seen and name not in self.done:
                seen.add(name)
                open_needs |= by_name[name].needs
        return False
