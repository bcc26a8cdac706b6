"""A run that a worker has claimed, from its claim to its final state."""

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from deployments.warm_worker.child.protocol import StopReason
from deployments.warm_worker.run.attempt import Attempt

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun


@dataclass(slots=True)
class ClaimedRun:
    """A run that this worker has claimed."""

    run: "FlowRun"
    needs_child: bool = True
    """Whether a child executes it; False: the worker itself."""
    attempt: Attempt | None = None
    stop_reason: StopReason | None = None
    stop_requested: asyncio.Event = field(default_factory=asyncio.Event)

    def stop(self, reason: StopReason) -> None:
        """Request the end of the run; the first reason is kept."""
        self.stop_reason = self.stop_reason or reason
        self.stop_requested.set()
        if self.attempt is not None:
            self.attempt.stop(reason)

    @property
    def waits_for_child(self) -> bool:
        """Whether it needs a child and has none yet."""
        return self.needs_child and not (self.attempt and self.attempt.is_placed)

    @property
    def has_child(self) -> bool:
        """Whether a child executes it."""
        return self.needs_child and not self.waits_for_child
