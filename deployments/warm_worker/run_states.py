"""Write the state of a run whose own process cannot: cancelled, crashed, failed or requeued."""

from typing import TYPE_CHECKING, Final
from uuid import UUID

from prefect.client.schemas.objects import StateType
from prefect.client.schemas.responses import SetStateStatus
from prefect.exceptions import Abort, ObjectNotFound
from prefect.states import Cancelled, Cancelling, Crashed, Failed

from deployments.warm_worker.ownership import RunOwner, owner_of
from flows.prefect_state.attempts import end_before_claim, state_after_loss, state_after_return
from flows.schemas.control import ENDED_AS_LABEL
from tasks.run.retry import is_outage, retry_while_unavailable_async

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import FlowRun, State

CLAIMED_STATE_TYPES: Final = frozenset({StateType.PENDING, StateType.RUNNING, StateType.CANCELLING})
"""Types of the states of a run that a worker has claimed."""
CRASH_COUNT_LABEL: Final = "musetalk.crashes"
"""Label with the number of crashes of the run's process."""


class RunStateWriter:
    """Writes the states of runs, with retries; runs that have ended or were deleted are not changed."""

    def __init__(self, client: "PrefectClient", owner: RunOwner | None = None) -> None:
        """
        Create a writer; sends nothing.

        Args:
            client: client of the server.
            owner:  worker that executes the runs. A run that another one has claimed is not changed either:
                while this worker had no connection, its run may have been counted as lost. None: any worker.
        """
        self._client, self._owner = client, owner

    async def read(self, run_id: UUID) -> "FlowRun | None":
        """Return a run; None if it was deleted, or claimed by another worker than the owner."""
        try:
            run = await retry_while_unavailable_async(lambda: self._client.read_flow_run(run_id))
        except ObjectNotFound:
            return None
        return None if self._is_claimed_by_another(run) else run

    def _is_claimed_by_another(self, run: "FlowRun") -> bool:
        if self._owner is None or run.state_type not in CLAIMED_STATE_TYPES:
            return False
        return owner_of(run).process not in ("", self._owner.process)

    async def set_cancelling(self, run_id: UUID, message: str, ended_as: str) -> None:
        """Set a run to Cancelling and label it with the reason, `ended_as`."""
        if await self.read(run_id) is None:
            return
        await self._update_labels(run_id, {ENDED_AS_LABEL: ended_as})
        await self._set_state(run_id, Cancelling(message=message))

    async def set_cancelled(
        self, run_id: UUID, message: str, ended_as: str | None = None, observed: "FlowRun | None" = None
    ) -> "State | None":
        """
        Set a stopped run to Cancelled.

        Args:
            run_id:   id of the run.
            message:  message of the state; the compatibility routes return it for exceeded time limits.
            ended_as: value of the `ended_as` label; None keeps the present one.
            observed: the run in the state in which it was judged; None if the caller executes the run.

        Returns:
            The new state; None if the run was deleted, is already Completed or Cancelled, or has left the
            observed state.
        """
        run = await self.read(run_id)
        if run is None or _has_ended(run, except_types={StateType.FAILED, StateType.CRASHED}):
            return None
        if observed is not None and run.state_id != observed.state_id:
            return None
        if ended_as:
            await self._update_labels(run_id, {ENDED_AS_LABEL: ended_as})
        return await self._set_state(run_id, Cancelled(message=message), force=True)

    async def set_crashed(self, run_id: UUID, message: str) -> "State | None":
        """Set a run to Crashed, or to Cancelled if that was requested meanwhile."""
        return await self._set_end_state(run_id, Crashed(message=message))

    async def set_failed(self, run_id: UUID, message: str) -> "State | None":
        """Set a run that cannot be started to Failed, or to Cancelled if that was requested meanwhile."""
        return await self._set_end_state(run_id, Failed(message=message))

    async def _set_end_state(self, run_id: UUID, state: "State") -> "State | None":
        run = await self.read(run_id)
        if run is None or _has_ended(run):
            return None
        if run.state_type == StateType.CANCELLING:
            return await self.set_cancelled(run_id, "Stopped on request.")
        return await self._set_state(run_id, state)

    async def end_claimed(
        self, run_id: UUID, claim: str, end: "State", *, read_first: bool
    ) -> "State | None":
        """
        End a run that this worker has claimed and executed itself, unless it has lost the run.

        Args:
            run_id:     id of the run.
            claim:      message of the claim.
            end:        final state.
            read_first: read the run before the first try, and not only before its repetitions; needed if
                other workers may have taken this one for lost meanwhile.

        Returns:
            The new state; None if the run was deleted or is no longer claimed by that claim.
        """
        must_read = read_first

        async def write() -> "State | None":
            nonlocal must_read
            if must_read:
                run = await self._client.read_flow_run(run_id)
                state = run.state
                if state is None or not (state.is_pending() and state.message == claim):
                    return None
            must_read = True
            response = await self._client.set_flow_run_state(run_id, end)
            return end if response.status == SetStateStatus.ACCEPT else None

        try:
            written = await retry_while_unavailable_async(write)
        except (ObjectNotFound, Abort):
            return None
        if written is None and (run := await self.read(run_id)) and run.state_type == StateType.CANCELLING:
            return await self.set_cancelled(run_id, "Stopped on request.", observed=run)
        return written

    async def requeue_or_crash(self, observed: "FlowRun", reason: str, max_starts: int) -> "State | None":
        """
        Requeue a run whose attempt was lost, after a delay, or set it to Crashed if its attempts are used up.

        Args:
            observed:   the run in the state in which its attempt was found lost.
            reason:     what happened to the attempt, as the end of a sentence.
            max_starts: maximum number of attempts of a run.

        Returns:
            The new state; None if the run has left the observed state, for example because another worker has
            claimed it.
        """
        history = await self._read_history(observed.id)
        run = await self.read(observed.id)
        if run is None or _has_ended(run) or owner_of(run) != owner_of(observed):
            return None
        if run.state_type == StateType.CANCELLING:
            return await self.set_cancelled(run.id, "Stopped on request.", observed=run)
        if run.state_id != observed.state_id:
            return None
        next_state = state_after_loss(history, reason, max_starts)
        state = await self._replace_state(run, next_state, force=next_state.is_scheduled())
        if state is not None and state.is_scheduled() and await self._undo_late_requeue(run.id):
            return None
        return state

    async def _undo_late_requeue(self, run_id: UUID) -> bool:
        """
        Restore the end of a run that ended between the last read and the requeue; return whether it had.

        A process that has outlived its worker may end the run at any time, and the server has no conditional
        write. If this worker gets no further, the next claim restores the end.
        """
        end = end_before_claim(await self._read_history(run_id))
        if end is not None:
            await self._set_state(run_id, end, force=True)
        return end is not None

    async def _read_history(self, run_id: UUID) -> "list[State]":
        try:
            return await retry_while_unavailable_async(lambda: self._client.read_flow_run_states(run_id))
        except ObjectNotFound:
            return []

    async def requeue(self, run_id: UUID, message: str) -> "State | None":
        """Queue a run again at a graceful shutdown; this attempt is not counted."""
        run = await self.read(run_id)
        if run is None or _has_ended(run):
            return None
        if run.state_type == StateType.CANCELLING:
            return await self.set_cancelled(run_id, "Stopped on request.")
        if run.state_type == StateType.SCHEDULED:
            return None
        return await self._replace_state(run, state_after_return(message), force=True)

    async def handle_preparation_error(self, run_id: UUID, error: Exception, max_starts: int) -> None:
        """
        Fail or requeue a claimed run whose job configuration could not be resolved.

        Args:
            run_id:     id of the run.
            error:      an outage requeues the run; any other error sets it to Failed.
            max_starts: maximum number of attempts, after which the run is set to Crashed.
        """
        reason = f"{type(error).__name__}: {error}"
        if not is_outage(error):  # for example, its deployment was deleted or a job variable is invalid
            await self.set_failed(run_id, f"The run could not be started: {reason}")
        elif run := await self.read(run_id):
            await self.requeue_or_crash(run, f"the Prefect server was unavailable ({reason})", max_starts)

    async def count_crash(self, run_id: UUID) -> int:
        """Increment the crash count of a run, stored as a label; return it, or 0 for a run left unchanged."""
        run = await self.read(run_id)
        if run is None:
            return 0
        crash_count = int(str(run.labels.get(CRASH_COUNT_LABEL, 0))) + 1
        await self._update_labels(run_id, {CRASH_COUNT_LABEL: crash_count})
        return crash_count

    async def _update_labels(self, run_id: UUID, labels: dict[str, "str | int | float | bool"]) -> None:
        try:
            await retry_while_unavailable_async(lambda: self._client.update_flow_run_labels(run_id, labels))
        except ObjectNotFound:
            return

    async def _replace_state(self, observed: "FlowRun", state: "State", force: bool) -> "State | None":
        """
        Set the state of a run that is still in the observed one; None if it is not.

        The run is read again before each try: if the response to the first was lost, another worker may have
        claimed the queued run, and a repeated request would queue it again while it runs.
        """

        async def replace() -> "State | None":
            run = await self._client.read_flow_run(observed.id)
            if run.state_id != observed.state_id:
                is_written = run.state_type == state.type and run.state and run.state.message == state.message
                return state if is_written else None
            response = await self._client.set_flow_run_state(observed.id, state, force=force)
            return state if response.status == SetStateStatus.ACCEPT else None

        try:
            return await retry_while_unavailable_async(replace)
        except (ObjectNotFound, Abort):
            return None

    async def _set_state(self, run_id: UUID, state: "State", force: bool = False) -> "State | None":
        try:
            response = await retry_while_unavailable_async(
                lambda: self._client.set_flow_run_state(run_id, state, force=force)
            )
        except (ObjectNotFound, Abort):
            return None
        return state if response.status == SetStateStatus.ACCEPT else None


def _has_ended(run: "FlowRun", except_types: set[StateType] | None = None) -> bool:
    state_type = run.state_type
    end_types = {StateType.COMPLETED, StateType.FAILED, StateType.CRASHED, StateType.CANCELLED} - (
        except_types or set()
    )
    return state_type in end_types
