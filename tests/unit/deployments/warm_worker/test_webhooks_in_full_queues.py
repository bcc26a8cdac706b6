"""Webhook runs are found behind a page of other runs, and behind attempts for one receiver."""

import asyncio
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from uuid import uuid4

from deployments.warm_worker.queue.run_queue import PAGE_SIZE, RunQueue
from flows.webhooks.deliveries import WEBHOOK_TAGS

NOW = datetime.now(UTC)


def run(due, tags, flow):
    return SimpleNamespace(
        id=uuid4(),
        tags=list(tags),
        flow=flow,
        next_scheduled_start_time=NOW - timedelta(hours=1, seconds=-due),
        expected_start_time=NOW,
        work_queue_id=None,
        parameters={},
    )


class Client:
    """Answers as the server does: the oldest first, a page at most."""

    def __init__(self, runs):
        self.runs = sorted(runs, key=lambda one: one.next_scheduled_start_time)

    async def get_scheduled_flow_runs_for_work_pool(self, **_):
        return [SimpleNamespace(flow_run=one) for one in self.runs[:PAGE_SIZE]]

    async def read_work_queues(self, **_):
        return [SimpleNamespace(id=uuid4(), name="normal", is_paused=False)]

    async def read_flow_runs(self, *, flow_filter, flow_run_filter, limit, offset, **_):
        tags = set(flow_run_filter.tags.all_)
        flows = set(flow_filter.name.any_) if flow_filter else {one.flow for one in self.runs}
        found = [one for one in self.runs if tags <= set(one.tags) and one.flow in flows]
        return found[offset : offset + min(limit, PAGE_SIZE)]


def fetched(queue):
    return {one.id for one in asyncio.run(queue.fetch(with_webhooks=True))}


def test_webhooks_are_found_behind_a_page_of_jobs():
    jobs = [run(number, ["job"], "batch") for number in range(300)]
    webhook = run(1000, [*WEBHOOK_TAGS, "receiver:a"], "notify")
    queue = RunQueue(Client([*jobs, webhook]), "light")
    assert webhook.id in fetched(queue)
    assert webhook.id not in {one.id for one in asyncio.run(queue.fetch())}


def test_other_receivers_and_announcements_are_found_behind_those_of_a_slow_one():
    slow = [run(number, [*WEBHOOK_TAGS, "receiver:slow"], "notify") for number in range(500)]
    quick = run(1000, [*WEBHOOK_TAGS, "receiver:quick"], "notify")
    announcement = run(1001, WEBHOOK_TAGS, "announce")
    queue = RunQueue(Client([*slow, quick, announcement]), "light")
    queue.note_tags(quick.tags)  # as the event of the queued run does

    found = fetched(queue)

    assert {quick.id, announcement.id} <= found
    order = queue.prioritize(asyncio.run(queue.fetch(with_webhooks=True)), {}, limit=None)
    assert quick in order and announcement in order
