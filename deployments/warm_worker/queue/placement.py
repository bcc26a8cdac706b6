"""Choice of a child process for a run: prefer one that already has the run's models and avatar loaded."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from flows.schemas.control import read_control

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

    from deployments.warm_worker.child.slot import Slot

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
