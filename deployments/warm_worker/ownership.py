"""Owner of a claimed run: the worker and process that execute it and its lease, from its claim and labels."""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from uuid import UUID

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

WORKER_NAME_LABEL: Final = "prefect.worker.name"
WORKER_TYPE_LABEL: Final = "prefect.worker.type"
PROCESS_LABEL: Final = "musetalk.worker.process"
"""Labels of a run that name the worker executing it, its type and its process."""
LEASE_LABEL: Final = "musetalk.worker.lease"
"""Label of a run: id of the lease on a slot of its tenant; empty if its tenant has no limit."""
_CLAIM_MESSAGE: Final = re.compile(
    r"Claimed by (?P<worker>.*), process (?P<process>\S*), attempt [0-9a-f]+(, lease (?P<lease>\S+))?\.",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class RunOwner:
    """The owner of a claimed run. Empty strings: unknown."""

    worker: str
    """Name of the worker."""
    process: str
    """Token of the worker's process (`child.process_identity`)."""


def claim_message(owner: RunOwner, attempt: str, lease: UUID | None = None) -> str:
    """
    Return the message of the state with which a worker claims a run.

    Args:
        owner:   the claiming worker.
        attempt: hexadecimal digits that no other claim has.
        lease:   id of the lease on a slot of the run's tenant; None if its tenant has no limit.
    """
    lease_text = f", lease {lease}" if lease else ""
    return f"Claimed by {owner.worker}, process {owner.process}, attempt {attempt}{lease_text}."


def owner_of(run: "FlowRun") -> RunOwner:
    """
    Return the owner of a claimed run.

    A worker labels a run after it has claimed it. In between, the labels are missing, or name the
    worker of an earlier attempt, which may have ended; the state of the claim names the owner.
    """
    if claim := _read_claim(run):
        return RunOwner(claim["worker"], claim["process"])
    return RunOwner(str(run.labels.get(WORKER_NAME_LABEL, "")), str(run.labels.get(PROCESS_LABEL, "")))


def lease_of(run: "FlowRun") -> UUID | None:
    """Return the lease on a slot of a claimed run's tenant; None if the tenant has no limit."""
    claim = _read_claim(run)
    lease = claim["lease"] if claim else run.labels.get(LEASE_LABEL)
    try:
        return UUID(str(lease)) if lease else None
    except ValueError:
        return None


def _read_claim(run: "FlowRun") -> "re.Match[str] | None":
    """Return the worker, process and lease in the message of a claim; None in other states."""
    if run.state is None or not run.state.is_pending():
        return None
    return _CLAIM_MESSAGE.fullmatch(run.state.message or "")
