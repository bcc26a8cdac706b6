"""Where jobs stand, kept for a second: never older, and asked once by many."""

import asyncio
import time
from uuid import uuid4

import pytest

from api.errors import Problem
from api.jobs.model import Job
from api.orchestrator.job_cache import JobCache


class Source:
    """Says how often it was asked; the job's name counts its answers."""

    def __init__(self, status="running", pause_s=0.0):
        self.asked, self.status, self.pause_s = 0, status, pause_s

    async def read(self, job_id):
        self.asked += 1
        answer = self.asked
        await asyncio.sleep(self.pause_s)
        if self.status == "gone":
            raise Problem("not_found", "Job not found")
        return Job(id=job_id, type=f"answer {answer}", status=self.status)


@pytest.fixture(autouse=True)
def deaf(monkeypatch):
    """No stream of events: each test says itself when a job has changed."""

    async def listen(self):
        await asyncio.Event().wait()

    monkeypatch.setattr(JobCache, "_listen", listen)


def run(story, source, **options):
    async def scene():
        live = JobCache(source.read, **options)
        try:
            return await story(live)
        finally:
            await live.close()

    return asyncio.run(scene())


def test_many_readers_at_once_cost_one_question():
    source, job = Source(pause_s=0.05), uuid4()

    async def story(live):
        return await asyncio.gather(*(live.read(job) for _ in range(300)))

    assert {found.type for found in run(story, source)} == {"answer 1"} and source.asked == 1


def test_an_answer_is_never_older_than_its_time():
    source, job = Source(), uuid4()

    async def story(live):
        first = await live.read(job)
        await asyncio.sleep(0.1)
        second = await live.read(job)
        await asyncio.sleep(0.12)
        return first.type, second.type, (await live.read(job)).type

    assert run(story, source, max_age_s=0.2) == ("answer 1", "answer 1", "answer 2")


def test_the_time_counts_from_the_question_not_from_the_answer():
    source, job = Source(pause_s=0.3), uuid4()

    async def story(live):
        await live.read(job)
        return (await live.read(job)).type

    assert run(story, source, max_age_s=0.2) == "answer 2"


def test_a_reader_does_not_wait_for_the_answer_to_a_question_that_is_too_old():
    source, job = Source(pause_s=0.5), uuid4()

    async def story(live):
        first = asyncio.create_task(live.read(job))
        await asyncio.sleep(0.05)
        joined = asyncio.create_task(live.read(job))
        await asyncio.sleep(0.25)
        late = await live.read(job)
        return (await first).type, (await joined).type, late.type

    assert run(story, source, max_age_s=0.2) == ("answer 1", "answer 1", "answer 2")


def test_a_change_ends_it_early_even_while_the_question_is_out():
    source, job = Source(pause_s=0.1), uuid4()

    async def story(live):
        early = asyncio.create_task(live.read(job))
        await asyncio.sleep(0.02)
        live.invalidate(job)
        late = await live.read(job)
        return (await early).type, late.type, (await live.read(job)).type

    assert run(story, source, max_age_s=5) == ("answer 1", "answer 2", "answer 2")


def test_who_waits_for_a_change_is_woken():
    source, job = Source(), uuid4()

    async def story(live):
        began = time.monotonic()
        waiting = [asyncio.create_task(live.wait_for_change(job, 30)) for _ in range(3)]
        await asyncio.sleep(0.05)
        live.invalidate(job)
        await asyncio.gather(*waiting)
        return time.monotonic() - began

    assert run(story, source) < 15


def test_a_job_that_has_ended_is_not_asked_for_again_soon():
    source, job = Source(status="succeeded"), uuid4()

    async def story(live):
        for _ in range(3):
            await live.read(job)
            await asyncio.sleep(0.05)

    run(story, source, max_age_s=0.01)
    assert source.asked == 1


def test_errors_are_not_kept_and_a_reader_that_leaves_takes_nothing_away():
    source, job = Source(status="gone", pause_s=0.05), uuid4()

    async def story(live):
        with pytest.raises(Problem):
            await live.read(job)
        source.status = "running"
        leaving, staying = (asyncio.create_task(live.read(job)) for _ in range(2))
        await asyncio.sleep(0.01)
        leaving.cancel()
        return (await staying).type

    assert run(story, source) == "answer 2"
