"""Spans of a worker: the time a run has waited, and its attempt."""

import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from flows.prefect_state.queue_order import due_time
from tasks.tracing.handle import SpanHandle
from tasks.tracing.spans import past_span, span
from tasks.tracing.traceparent import TRACE_LABEL

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

    from deployments.warm_worker.child.slot import Slot


@contextmanager
def attempt_span(run: "FlowRun", pool: str, slot: "Slot | None") -> Generator[SpanHandle]:
    """
    Record how long a run has waited, and the `with` block as its attempt, in the trace of its label.

    Args:
        run:  the run.
        pool: name of the work pool.
        slot: slot of the child that executes it; None: the worker itself does.
    """
    parent = run.labels.get(TRACE_LABEL)
    past_span("queue", {"pool": pool}, start_s=due_time(run).timestamp(), end_s=time.time(), parent=parent)
    attributes = {"pool": pool} if slot is None else {"pool": pool, "worker.child": slot.number}
    with span("attempt", attributes, kind="consumer", parent=parent) as handle:  # pyright: ignore[reportArgumentType]
        yield handle
