"""The steps of a pipeline: which can begin, which never will, and what they take in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from flows.chains.parts import Work, work
from flows.pipeline_schemas import Step, resolved


@dataclass(slots=True)
class Graph:
    """Where a pipeline stands."""

    steps: Sequence[Step]
    done: dict[str, UUID] = field(default_factory=dict[str, UUID])
    """The jobs of the steps that ended well, by step."""
    failed: set[str] = field(default_factory=set[str])

    def ready(self) -> list[Work]:
        """Return the work of all steps whose inputs are there and that have not ended."""
        return [
            work(step.name, step.type, resolved(step.job, self.done.__getitem__))
            for step in self.steps
            if not self._has_ended(step) and step.needs <= self.done.keys()
        ]

    @property
    def is_over(self) -> bool:
        """True when nothing is under way and nothing can begin any more."""
        return all(self._has_ended(step) or self._is_blocked(step) for step in self.steps)

    @property
    def ended(self) -> int:
        """How many steps have ended."""
        return len(self.done) + len(self.failed)

    def _has_ended(self, step: Step) -> bool:
        return step.name in self.done or step.name in self.failed

    def _is_blocked(self, step: Step) -> bool:
        """What it takes in will never be there."""
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
