"""The receiver of webhooks, which is slow, refuses, or accepts without its answer arriving."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from simulator.world import Process, World, current_process
from tasks.outbound.webhook_post import AttemptResult
from tasks.webhooks.retry_schedule import AttemptResponse


@dataclass(frozen=True, slots=True)
class Delivery:
    """One POST that arrived."""

    at: datetime
    webhook_id: str
    attempt: int
    job: UUID
    event: str
    status: str
    answered: int | None
    """The status that the sender saw."""
    accepted: bool
    job_state: str
    """The state of the job's run on the server when the POST arrived."""


class Receiver:
    """Keeps everything that arrived."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.refused_share = 0.0
        self.lost_share = 0.0
        self.deliveries: list[Delivery] = []
        self._senders: dict[tuple[str, str], list[Process]] = {}
        """Processes that wait for the answer to an attempt."""

    async def receive(self, url: str, body: bytes, headers: dict[str, str]) -> AttemptResult:
        """Receive one POST, and return what its sender sees."""
        named = {name.lower(): value for name, value in headers.items()}
        attempt, sender = (named["webhook-id"], named["webhook-attempt"]), current_process.get()
        senders = self._senders.setdefault(attempt, [])
        self._check_senders(attempt, sender)
        if sender is not None:
            senders.append(sender)
        try:
            return await self._answer(body, headers)
        finally:
            if sender in senders:
                senders.remove(sender)

    def _check_senders(self, attempt: tuple[str, str], sender: Process | None) -> None:
        cut_off = self.world.monitor.was_cut_off
        others = [one for one in self._senders[attempt] if one is not sender and one.is_alive]
        if sender is not None and any(one not in cut_off for one in others):
            self.world.violate(
                "Webhooks: one worker makes an attempt",
                f"{sender.name} and {others[0].name} make attempt {attempt[1]} of {attempt[0]} at once",
            )

    async def _answer(self, body: bytes, headers: dict[str, str]) -> AttemptResult:
        world = self.world
        await world.sleep(world.random.choice((0.01, 0.1, 2.0)))
        faults_ended, random = world.faults_ended, world.random
        if not faults_ended and random.random() < self.lost_share:
            world.cover("webhook unreachable")
            return AttemptResult(AttemptResponse(None), failure="The receiver does not respond.")
        status: int | None = 200
        if not faults_ended and random.random() < self.refused_share:
            status = random.choice((500, 503))
            world.cover("webhook refused", status)
        accepted = status == 200
        if accepted and not faults_ended and random.random() < self.lost_share:
            status = None
            world.cover("webhook answer lost")
        self._record(headers, json.loads(body), status, accepted)
        await world.sleep(0.01)
        failure = None if status else "The receiver does not respond."
        return AttemptResult(AttemptResponse(status), failure=failure)

    def _record(self, headers: dict[str, str], payload: Any, status: int | None, accepted: bool) -> None:
        data = payload["data"]
        job = UUID(str(data.get("id") or data.get("job_id")))
        run = self.world.server.runs[job]
        named = {name.lower(): value for name, value in headers.items()}
        delivery = Delivery(
            at=self.world.wall(),
            webhook_id=named["webhook-id"],
            attempt=int(named["webhook-attempt"]),
            job=job,
            event=str(payload["type"]).removeprefix("job."),
            status=str(data.get("status")),
            answered=status,
            accepted=accepted,
            job_state=run.state_type.value,
        )
        self.deliveries.append(delivery)
        self.world.note(
            f"webhook {delivery.event} of {str(job)[:8]} arrived, attempt {delivery.attempt}: {status}"
        )
