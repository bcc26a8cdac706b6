"""A worker whose child has ended leaves the run alone if another worker executes it by now."""

import asyncio
import logging
import os
from types import SimpleNamespace
from uuid import uuid4

import pytest
from prefect.client.schemas.objects import StateType

from deployments.warm_worker.child.process_identity import process_token
from deployments.warm_worker.child.slot import RunOutcome
from deployments.warm_worker.ownership import PROCESS_LABEL
from deployments.warm_worker.run.attempt import Attempt


class Writer:
    """Has a run, and records that it is queued again."""

    def __init__(self, run):
        self.run, self.requeued = run, []

    async def read(self, run_id):
        return self.run

    async def requeue_or_crash(self, observed, reason, max_starts):
        self.requeued.append(reason)


@pytest.mark.parametrize(("owner", "is_requeued"), [("own", True), ("", True), ("other/7/1", False)])
def test_only_the_owner_of_a_run_queues_it_again(owner, is_requeued):
    process = process_token(os.getpid()) if owner == "own" else owner
    run = SimpleNamespace(
        id=uuid4(),
        state=None,
        state_type=StateType.RUNNING,
        labels={PROCESS_LABEL: process},
        parameters={},
    )
    writer = Writer(run)
    attempt = Attempt(run, SimpleNamespace(crash_retries=1), writer, 5, logging.getLogger("test"))

    asyncio.run(attempt._ensure_final_state(RunOutcome(None, -9)))

    assert bool(writer.requeued) == is_requeued
