"""Making a waiting run ours: of many workers only one succeeds."""

import contextlib
import os
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID, uuid4

import httpx
from prefect.exceptions import Abort, ObjectNotFound
from prefect.states import Pending, Submitting
from prefect.utilities.engine import propose_state

from deployments.warm.identity import process_mark
from deployments.warm.settle import is_outage, patiently

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient

WORKER_NAME: Final = "prefect.worker.name"
WORKER_TYPE: Final = "prefect.worker.type"
PROCESS: Final = "musetalk.worker.process"
"""Labels of a run: who executes it."""


async def claim(client: "PrefectClient", run_id: UUID, worker: str, worker_type: str) -> bool:
    """
    Bring a run from Scheduled to Submitting, in this worker's name.

    Args:
        client:      of the caller's.
        run_id:      the run.
        worker:      name of the worker.
        worker_type: its type.

    Returns:
        False when somebody else has the run, or it was cancelled or deleted, or the server is away.
    """
    labels: dict[str, Any] = {
        WORKER_NAME: worker,
        WORKER_TYPE: worker_type,
        PROCESS: process_mark(os.getpid()) or "",
    }
    try:
        if not await _pending(client, run_id, f"Taken by {worker}, attempt {uuid4().hex[:8]}."):
            return False
        await patiently(partial(client.update_flow_run_labels, run_id, labels), 60)
        with contextlib.suppress(Abort):
            await patiently(partial(propose_state, client, Submitting(), run_id), 60)
    except (Abort, ObjectNotFound, httpx.HTTPError, OSError):
        return False
    return True


async def _pending(client: "PrefectClient", run_id: UUID, message: str) -> bool:
    """
    Win or lose the race for a run.

    An answer may get lost after the server has decided in our favour: the message tells whose Pending it is.
    """
    try:
        state = await propose_state(client, Pending(message=message), run_id)
    except (httpx.HTTPError, OSError) as error:
        if not is_outage(error):
            raise
        state = (await patiently(partial(client.read_flow_run, run_id), 60)).state
        return state is not None and state.is_pending() and state.message == message
    return state.is_pending()
