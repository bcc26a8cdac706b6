"""Which child gets which run: one that has its models and avatar warm, if that does not take long."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from flows.control import read_control

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

    from deployments.warm.slot import Slot

_FACES = ("video", "image")


def warm_names(run: "FlowRun") -> tuple[str, ...]:
    """
    Name what a run loads, least important first: its flow with its engine, then its face.

    Two runs that share a name share what is loaded for it.
    """
    job: Any = run.parameters.get("job")
    if not isinstance(job, Mapping):
        return (f"flow:{run.flow_id}",)
    models = ":".join(str(job.get(name) or "") for name in ("engine", "version", "model"))
    faces = [f"face:{job[name]}" for name in _FACES if isinstance(job.get(name), str)]
    return (f"flow:{run.flow_id}:{models}", *faces)


def is_worth_a_wait(run: "FlowRun") -> bool:
    """Say whether a run loads anything that would pay for waiting: of a flow that is no job nobody knows."""
    return isinstance(run.parameters.get("job"), Mapping)


def score(slot: "Slot", run: "FlowRun", names: Sequence[str]) -> int:
    """Say how well a child suits a run: the face most, then the models, then the card it hinted at."""
    points = sum(2 ** (place + 1) for place, name in enumerate(names) if name in slot.known)
    wanted = read_control(run.parameters).gpu_id
    return points + (wanted is not None and slot.card == str(wanted))


def best(slots: Sequence["Slot"], run: "FlowRun", names: Sequence[str]) -> "Slot":
    """
    Choose among children.

    Args:
        slots: at least one.
        run:   the run to place.
        names: what it loads.

    Returns:
        The best suited; of equals one that is free, then the one that holds least, so that what others have
        loaded stays loaded.
    """
    return max(slots, key=lambda slot: (score(slot, run, names), slot.is_free, -len(slot.known)))
