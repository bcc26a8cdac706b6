"""Clients of a history: each script is what one client does."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

from api.errors import Problem
from api.jobs.model import FINAL_STATUSES, JobFilter, SubmitOptions
from flows.registry import JOB_TYPES
from flows.schemas.control import Control, Notify
from simulator.apis import ApiDied, Client, with_key
from simulator.engine import FAILS, LONG
from simulator.world import World

SPEECH = JOB_TYPES["speech"]
BATCH = JOB_TYPES["batch"]
HOOK = Notify(url="https://example.org/hook", events=("started", "completed", "failed", "canceled"))


@dataclass(eq=False)
class Accepted:
    """A job that an API has accepted."""

    marker: str
    kind: str
    job_id: Any
    is_cancelled: bool = False
    cancelled_at: float | None = None
    """Virtual time of the first answer to its cancellation."""
    is_removed: bool = False
    rows: int = 0
    texts: tuple[str, ...] = ()


class ClientScripts:
    """The scripts of one history."""

    def __init__(self, world: World, client: Client, accepted: list[Accepted]) -> None:
        self.world, self.client, self.accepted, self.random = world, client, accepted, world.random
        self._number = 0

    def _marker(self) -> str:
        self._number += 1
        return f"text {self._number}"

    def _control(self) -> Control:
        tenant = self.random.choice((None, None, "anna", "bert"))
        notify = HOOK if self.random.random() < 0.5 else None
        priority = self.random.choice(("normal", "high", "low"))
        return Control(tenant=tenant, notify=notify, priority=priority)

    def _accept(self, marker: str, kind: str, job: Any, **others: Any) -> Accepted:
        one = Accepted(marker, kind, job.id, **others)
        self.accepted.append(one)
        self.world.cover("accepted", kind)
        return one

    async def one_key_at_both(self) -> None:
        """Send one request with a key several times at once, to both processes; then another one."""
        marker, key = self._marker(), f"key {self.world.uuid()}"
        options = with_key(SubmitOptions(control=self._control()), key)
        requests = [self.client.submit(SPEECH, SPEECH.job(text=marker), options) for _ in range(3)]
        answers = await asyncio.gather(*requests, return_exceptions=True)
        jobs = [one for one in answers if one is not None and not isinstance(one, BaseException)]
        for failure in (one for one in answers if isinstance(one, BaseException)):
            raise failure
        if len({job.id for job in jobs}) > 1:
            self.world.violate(
                "Submission: exactly one job per Idempotency-Key", f"{marker}: {len(jobs)} answers differ"
            )
        if jobs:
            self._accept(marker, "keyed", jobs[0])
            try:
                other = await self.client.submit(SPEECH, SPEECH.job(text=f"other than {marker}"), options)
            except Problem as problem:
                if problem.code != "idempotency_mismatch":
                    raise
            else:
                if other is not None:
                    self.world.violate(
                        "Submission: exactly one job per Idempotency-Key", f"{marker}: another was made"
                    )

    async def plain(self, word: str = "") -> Any:
        """Submit without a key, once; then watch the job until it ends."""
        marker = f"{self._marker()} {word}".strip()
        options = SubmitOptions(control=self._control())
        api = self.random.choice(self.client.apis)
        try:
            job = await api.call(lambda api: api.store.create(SPEECH, SPEECH.job(text=marker), options))
        except (ApiDied, Problem):
            return
        one = self._accept(marker, "plain", job)
        await self._watch(one)
        if self.random.random() < 0.3:
            await self._remove(one)

    async def _watch(self, one: Accepted, seconds: float = 60.0) -> str:
        """Poll a job until it has ended; an end does not change any more."""
        until, ended, ended_at = self.world.loop.now + seconds, "", 0.0
        while self.world.loop.now < until:
            job = await self.client.read(one.job_id)
            status = job.status if job is not None else ""
            is_old = self.world.loop.now - ended_at > 2.5  # the other process may answer what was true before
            if (
                ended
                and is_old
                and status in FINAL_STATUSES - {ended}
                and (ended, status) != ("failed", "canceled")
            ):
                self.world.violate(
                    "State of a job: ended states are final", f"{one.marker} was {ended}, is {status}"
                )
            if status in FINAL_STATUSES:
                if ended or self.random.random() < 0.5:
                    return status
                ended, ended_at = ended or status, ended_at or self.world.loop.now
            await asyncio.sleep(self.random.choice((0.05, 0.3, 1.0, 2.0)))
        return ""

    async def _remove(self, one: Accepted) -> None:
        status = await self._watch(one)
        if status not in FINAL_STATUSES:
            return
        one.is_removed = True  # from now on it may be hidden
        if await self.client.ask(lambda api: _done(api.store.remove(one.job_id))):
            self.world.cover("removed")

    async def watched_by_many(self) -> None:
        """Submit a job that several clients watch at once, at both processes."""
        marker = self._marker()
        options = with_key(SubmitOptions(), f"key {self.world.uuid()}")
        job = await self.client.submit(SPEECH, SPEECH.job(text=marker), options)
        if job is not None:
            one = self._accept(marker, "keyed", job)
            await asyncio.gather(*(self._watch(one, 20.0) for _ in range(5)))

    async def failing(self) -> None:
        await self.plain(FAILS)

    async def cancelled(self) -> None:
        """Cancel a job, twice, at some moment of its life; the API that answered knows it at once."""
        marker = f"{self._marker()} {self.random.choice((LONG, LONG, ''))}".strip()
        options = with_key(SubmitOptions(control=self._control()), f"key {self.world.uuid()}")
        job = await self.client.submit(SPEECH, SPEECH.job(text=marker), options)
        if job is None:
            return
        one = self._accept(marker, "cancelled", job)
        await asyncio.sleep(self.random.choice((0.0, 0.2, 1.0, 3.0, 8.0)))
        for _ in range(2):
            answer = await self.client.ask(lambda api: api.store.cancel(one.job_id))
            if answer is not None:
                one.is_cancelled = True
                one.cancelled_at = one.cancelled_at or self.world.loop.now
            if self.random.random() < 0.5:
                break
        await self._watch(one)

    async def with_deadline(self) -> None:
        """Submit a job that must be over in a few seconds."""
        marker = f"{self._marker()} {LONG}"
        control = self._control().model_copy(update={"complete_in": self.random.choice((2, 5, 10))})
        job = await self.client.submit(
            SPEECH,
            SPEECH.job(text=marker),
            with_key(SubmitOptions(control=control), f"key {self.world.uuid()}"),
        )
        if job is not None:
            await self._watch(self._accept(marker, "deadline", job), 20.0)

    async def in_batch(self) -> None:
        """Submit a batch, and perhaps pause, resume or cancel it."""
        count = self.random.randint(2, 4)
        texts = [
            f"{self._marker()} {self.random.choice(('', '', FAILS, LONG))}".strip() for _ in range(count)
        ]
        job = BATCH.job(job_type="speech", rows=tuple({"text": text} for text in texts), parallel=2)
        options = with_key(SubmitOptions(control=self._control()), f"key {self.world.uuid()}")
        created = await self.client.submit(BATCH, job, options)
        if created is None:
            return
        one = self._accept(f"batch {texts[0]}", "batch", created, rows=count, texts=tuple(texts))
        await asyncio.sleep(self.random.choice((0.5, 3.0, 10.0)))
        match self.random.choice(("leave", "leave", "cancel", "pause")):
            case "cancel":
                if await self.client.cancel(one.job_id) is not None:
                    one.is_cancelled = True
            case "pause":
                await self._pause_and_resume(one)
        await self._watch(one, 120.0)

    async def _pause_and_resume(self, one: Accepted) -> None:
        try:
            paused = await self.client.ask(lambda api: _done(api.suspender.pause(one.job_id)))
        except Problem:
            return  # it has ended, or its state keeps changing
        await asyncio.sleep(self.random.choice((0.5, 5.0)))
        resumed = None
        while paused and not resumed:
            resumed = await self.client.ask(lambda api: _done(api.suspender.resume(one.job_id)))
        self.world.cover("paused", bool(paused))

    async def listing(self) -> None:
        """Walk the list of all jobs, page by page, while jobs are made."""
        before = {one.job_id for one in self.accepted if not one.is_removed}
        seen: list[Any] = []
        cursor = None
        while True:
            asked = JobFilter(limit=3, cursor=cursor)
            page = await self.client.ask(lambda api, asked=asked: api.store.find(asked))
            if page is None:
                return
            seen += [job.id for job in page.jobs]
            cursor = page.next
            if cursor is None:
                break
        removed = {one.job_id for one in self.accepted if one.is_removed}
        if missing := before - set(seen) - removed:
            self.world.violate(
                "Submission: lists", f"{len(missing)} of {len(before)} jobs are missing in a walk"
            )
        if len(seen) != len(set(seen)):
            self.world.violate("Submission: lists", "a walk has shown a job twice")

    async def replay(self) -> None:
        """Ask for the deliveries of a job with a webhook, and for one more attempt."""
        await asyncio.sleep(self.random.choice((5.0, 20.0)))
        for one in self.accepted:
            found = await self.client.ask(
                lambda api, one=one: api.deliveries.list_for_job(one.job_id), tries=3
            )
            if found and found[0].delivered:
                await self.client.ask(
                    lambda api, one=one, id=found[0].webhook_id: api.deliveries.replay(one.job_id, id),
                    tries=3,
                )
                self.world.cover("replayed")
                return


async def _done(work: Any) -> bool:
    await work
    return True


def choose(world: World, client: Client, accepted: list[Accepted]) -> list[Coroutine[Any, Any, Any]]:
    """Return the scripts of a history, which begin at different times."""
    scripts, random = ClientScripts(world, client, accepted), world.random
    kinds = (
        scripts.one_key_at_both,
        scripts.plain,
        scripts.plain,
        scripts.failing,
        scripts.cancelled,
        scripts.with_deadline,
        scripts.in_batch,
        scripts.listing,
        scripts.replay,
    )
    count = random.randint(4, 9)
    chosen = [random.choice(kinds) for _ in range(count)]
    if world.network.slow_share:  # old answers are found by many readers only
        chosen += [scripts.watched_by_many] * random.randint(1, 3)
    return [_later(random.uniform(0, 10), script) for script in chosen]


async def _later(seconds: float, script: Any) -> None:
    await asyncio.sleep(seconds)
    await script()
