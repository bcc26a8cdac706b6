"""Owner of a claimed run: the worker and the process that execute it, from its claim and its labels."""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

WORKER_NAME_LABEL: Final = "prefect.worker.name"
WORKER_TYPE_LABEL: Final = "prefect.worker.type"
PROCESS_LABEL: Final = "musetalk.worker.process"
"""Labels of a run that name the worker executing it, its type and its process."""
_CLAIM_MESSAGE: Final = re.compile(
    r"Claimed by (?P<worker>.*), process (?P<process>\S*), attempt [0-9a-f]+\.", re.DOTALL
)


@dataclass(frozen=True, slots=True)
class RunOwner:
    """The owner of a claimed run. Empty strings: unknown."""

    worker: str
    """Name of the worker."""
    process: str
    """Token of the worker's process (`child.process_identity`)."""


def claim_message(owner: RunOwner, attempt: str) -> str:
    """
    Return the message of the state with which a worker claims a run.

    Args:
        owner:   the claiming worker.
        attempt: hexadecimal digits that no other claim has.
    """
    return f"Claimed by {owner.worker}, process {owner.process}, attempt {attempt}."


def owner_of(run: "FlowRun") -> RunOwner:
    """
    Return the owner of a claimed run.

    A worker labels a run after it has claimed it. In between, the labels are missing, or name the
    worker of an earlier attempt, which may have ended; the state of the claim names the owner.
    """
    if run.state is not None and run.state.is_pending():
        claim = _CLAIM_MESSAGE.fullmatch(run.state.message or "")
        if claim is not None:
            return RunOwner(claim["worker"], claim["process"])
    return RunOwner(str(run.labels.get(WORKER_NAME_LABEL, "")), str(run.labels.get(PROCESS_LABEL, "")))
