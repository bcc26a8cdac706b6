"""Claim a queued run for a worker: of several competing workers, exactly one succeeds."""

import contextlib
import os
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import httpx
from prefect.exceptions import Abort, ObjectNotFound, Pause
from prefect.states import Pending, Submitting
from prefect.utilities.engine import propose_state

from deployments.warm_worker.child.process_identity import process_token
from deployments.warm_worker.ownership import (
    LEASE_LABEL,
    PROCESS_LABEL,
    WORKER_NAME_LABEL,
    WORKER_TYPE_LABEL,
    RunOwner,
    claim_message,
)
from flows.prefect_state.attempts import end_before_claim
from tasks.run.retry import is_outage, retry_while_unavailable_async

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient


def this_worker(name: str) -> RunOwner:
    """Return this process as the owner of the runs that it claims under the name of a worker."""
    return RunOwner(name, process_token(os.getpid()) or "")


async def claim_run(
    client: "PrefectClient", run_id: UUID, worker: str, worker_type: str, lease: UUID | None
) -> bool:
    """
    Claim a Scheduled run: set it to Pending, label it with the worker, and set it to Submitting.

    Args:
        client:      client of the server.
        run_id:      id of the run.
        worker:      name of the worker.
        worker_type: type of the worker.
        lease:       lease on a slot of the run's tenant, which is released if the worker is lost; None if
                     the tenant has no limit.

    Returns:
        False if another worker has the run, it was cancelled, paused or deleted, it has ended, or the server
        is unavailable.
    """
    owner = this_worker(worker)
    labels: dict[str, Any] = {
        WORKER_NAME_LABEL: owner.worker,
        WORKER_TYPE_LABEL: worker_type,
        PROCESS_LABEL: owner.process,
        LEASE_LABEL: str(lease or ""),
    }
    try:
        if not await _propose_pending(client, run_id, new_claim(worker, lease)):
            return False
        if await _restore_end(client, run_id):
            return False
        await retry_while_unavailable_async(partial(client.update_flow_run_labels, run_id, labels), 60)
        with contextlib.suppress(Abort, Pause):  # neither is an Exception: it would end the worker
            await retry_while_unavailable_async(partial(propose_state, client, Submitting(), run_id), 60)
    except (Abort, Pause, ObjectNotFound, httpx.HTTPError, OSError):
        return False
    return True


async def claim_without_child(client: "PrefectClient", run_id: UUID, worker: str) -> str | None:
    """
    Claim a Scheduled run that the worker executes itself: set it to Pending, the state that it keeps.

    Args:
        client: client of the server.
        run_id: id of the run.
        worker: name of the worker.

    Returns:
        The message of the claim; None if it was not claimed, for the reasons that `claim_run` names.
    """
    message = new_claim(worker)
    try:
        if await _propose_pending(client, run_id, message) and not await _restore_end(client, run_id):
            return message
    except (Abort, Pause, ObjectNotFound, httpx.HTTPError, OSError):
        pass
    return None


def new_claim(worker: str, lease: UUID | None = None) -> str:
    """Return the message of a new claim of this process, under the name of a worker."""
    return claim_message(this_worker(worker), uuid4().hex[:8], lease)


async def _restore_end(client: "PrefectClient", run_id: UUID) -> bool:
    """Undo the claim of a run that had ended since it was read as queued; return whether it had."""
    history = await retry_while_unavailable_async(partial(client.read_flow_run_states, run_id), 60)
    end = end_before_claim(history)
    if end is None:
        return False
    await retry_while_unavailable_async(partial(client.set_flow_run_state, run_id, end, force=True), 60)
    return True


async def _propose_pending(client: "PrefectClient", run_id: UUID, message: str) -> bool:
    """
    Propose the state Pending and return whether this worker's proposal was accepted.

    The server's response may be lost after it accepted the proposal. The state's message, which is unique,
    then shows whose Pending it is.
    """
    try:
        state = await propose_state(client, Pending(message=message), run_id)
    except (httpx.HTTPError, OSError) as error:
        if not is_outage(error):
            raise
        state = (await retry_while_unavailable_async(partial(client.read_flow_run, run_id), 60)).state
        return state is not None and state.is_pending() and state.message == message
    return state.is_pending()
