"""Choice of a child process for a run: prefer one that already has the run's models and avatar loaded."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import anyio

from flows.schemas.control import read_control

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

    from deployments.warm_worker.child.slot import Slot
    from deployments.warm_worker.run.attempt import Attempt

_FACE_FIELDS = ("video", "image")


def affinity_keys(run: "FlowRun") -> tuple[str, ...]:
    """
    Return keys of what a run loads, least important first: its flow with its engine, then its video or image.

    Runs with a common key can use the same loaded data.
    """
    job: Any = run.parameters.get("job")
    if not isinstance(job, Mapping):
        return (f"flow:{run.flow_id}",)
    models = ":".join(str(job.get(name) or "") for name in ("engine", "version", "model"))
    face_keys = [f"face:{job[name]}" for name in _FACE_FIELDS if isinstance(job.get(name), str)]
    return (f"flow:{run.flow_id}:{models}", *face_keys)


def has_affinity(run: "FlowRun") -> bool:
    """Return whether waiting for a child with loaded data can pay off; only runs of jobs have such data."""
    return isinstance(run.parameters.get("job"), Mapping)


def affinity_score(slot: "Slot", run: "FlowRun", keys: Sequence[str]) -> int:
    """Return the score of a slot for a run: face loaded counts most, then models, then the GPU `gpu_id`."""
    points = sum(2 ** (place + 1) for place, name in enumerate(keys) if name in slot.warm_keys)
    requested_gpu = read_control(run.parameters).gpu_id
    return points + (requested_gpu is not None and slot.gpu == str(requested_gpu))


def choose_slot(slots: Sequence["Slot"], run: "FlowRun", keys: Sequence[str]) -> "Slot":
    """
    Return the best of several slots for a run.

    Args:
        slots: candidates, at least one.
        run:   the run to execute.
        keys:  affinity keys of the run.

    Returns:
        The slot with the highest score. Among equals a free one, then the one with the fewest warm keys, so
        that loaded data of other slots is kept.
    """
    return max(slots, key=lambda slot: (affinity_score(slot, run, keys), slot.is_free, -len(slot.warm_keys)))


async def wait_for_slot(
    slots: Sequence["Slot"], run: "FlowRun", attempt: "Attempt", max_wait_s: float
) -> "Slot | None":
    """
    Wait for the best slot for a run, then take a free one.

    Args:
        slots:      the slots of the worker.
        run:        the run to execute.
        attempt:    its attempt, which is marked as placed.
        max_wait_s: seconds to wait for a busy slot that is better than the free ones.

    Returns:
        A free slot; None if the attempt was stopped before there was one.
    """
    keys = affinity_keys(run)
    wait_until = anyio.current_time() + (max_wait_s if has_affinity(run) else 0.0)
    while not attempt.is_stop_requested:
        free_slots = [slot for slot in slots if slot.is_free]
        busy_slots = [slot for slot in slots if slot.state == "busy"]
        if free_slots:
            best_free = choose_slot(free_slots, run, keys)
            best_slot = choose_slot([*free_slots, *busy_slots], run, keys)
            is_better = affinity_score(best_slot, run, keys) > affinity_score(best_free, run, keys)
            if not is_better or anyio.current_time() >= wait_until:
                attempt.is_placed = True
                return best_free
        await anyio.sleep(0.02)
    return None
