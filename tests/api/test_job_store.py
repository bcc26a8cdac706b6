"""The door to Prefect, on a real server without workers: a test moves runs on by their states."""

import asyncio
import re
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import uuid4

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import LogCreate, WorkPoolCreate
from prefect.states import Cancelled, Completed, Crashed, Failed, Pending, Running, Scheduled
from prefect_server import flow_server

from api.errors import Problem
from api.jobs.model import FINAL_STATUSES, JobFilter, SubmitOptions, wait_until_final
from api.orchestrator.job_store import PrefectJobStore
from api.orchestrator.suspension import PrefectJobSuspender
from api.orchestrator.webhooks import PrefectDeliveryStore
from flows.registry import INTERNAL_FLOWS, JOB_TYPES
from flows.schemas.control import ENDED_AS_LABEL, PRIORITIES, REASON_ABORTED, Control, Notify
from flows.schemas.webhook import NotifyJob, webhook_id

SPEECH = JOB_TYPES["speech"]


@pytest.fixture(scope="module")
def deployed(tmp_path_factory):
    """A server on which every flow has its deployment."""
    with flow_server(tmp_path_factory.mktemp("server")), get_client(sync_client=True) as client:
        for pool in ("gpu", "light"):
            client.create_work_pool(WorkPoolCreate(name=pool, type="warm-process"))
            for queue in PRIORITIES:
                client.create_work_queue(name=queue, work_pool_name=pool)
        for job_type in [*JOB_TYPES.values(), *INTERNAL_FLOWS.values()]:
            flow = client.create_flow_from_name(job_type.name)
            client.create_deployment(flow_id=flow, name=job_type.title, work_pool_name=job_type.pool)
        yield client


@pytest.fixture
def on_prefect(deployed):
    """A function that lets a coroutine speak with the job system."""

    def act(story):
        async def scene():
            runs = PrefectJobStore()
            try:
                return await story(runs)
            finally:
                await runs.close()

        return asyncio.run(scene())

    return act


def speech(text="Hello."):
    return SPEECH.job(text=text)


def move(client, run, *states):
    for state in states:
        client.set_flow_run_state(run.id, state, force=True)


def test_a_job_comes_back_as_it_was_asked_for(on_prefect):
    terms = SubmitOptions(
        control=Control(priority="high", max_time=90), tags=("b", "a"), metadata={"order": "17", "x.y": "z"}
    )

    async def story(runs):
        made = await runs.create(SPEECH, speech(), terms)
        return made, await runs.read(made.id)

    made, read = on_prefect(story)
    assert (read.type, read.status, read.tags) == ("speech", "queued", ("a", "b"))
    assert (read.metadata, read.control) == (terms.metadata, terms.control)
    assert read.parameters == {"text": "Hello."} and not made.replayed
    assert made.metadata == terms.metadata and made.tags == read.tags


def test_fifty_requests_with_one_key_make_one_job(on_prefect):
    """Two API processes, as far as Prefect can tell: nothing but the server joins them."""

    async def story(runs):
        other = PrefectJobStore()
        try:
            doors = [runs, other] * 25
            made = await asyncio.gather(
                *(d.create(SPEECH, speech(), SubmitOptions(key="one key")) for d in doors)
            )
            with pytest.raises(Problem) as refused:
                await other.create(SPEECH, speech("Another text."), SubmitOptions(key="one key"))
            return made, refused.value.code
        finally:
            await other.close()

    made, code = on_prefect(story)
    assert len({run.id for run in made}) == 1 and code == "idempotency_mismatch"
    assert sum(not run.replayed for run in made) == 1


def test_a_run_is_named_after_its_files_and_no_two_are_one(on_prefect, deployed):
    """Equal requests without a key are two jobs; a repeated key finds the run although it was renamed."""
    job = JOB_TYPES["lip_sync"].job(video="s3://m3d/in/anna.mp4", audio="https://b.org/a%20b.wav?sig=secret")
    asked_twice = SubmitOptions(key="named")

    async def story(runs):
        make = partial(runs.create, JOB_TYPES["lip_sync"], job)
        plain, other, keyed = await make(), await make(), await make(asked_twice)
        await asyncio.to_thread(deployed.update_flow_run, keyed.id, name="renamed by hand")
        return plain, other, keyed, await make(asked_twice)

    plain, other, keyed, again = on_prefect(story)
    names = [deployed.read_flow_run(run.id).name for run in (plain, other)]
    assert all(re.fullmatch(r"lip_sync: anna\.mp4, a b\.wav \([0-9a-f]{8}\)", name) for name in names), names
    assert len({plain.id, other.id, keyed.id}) == 3 and again.id == keyed.id
    assert [run.replayed for run in (plain, other, keyed, again)] == [False, False, False, True]


def test_the_name_of_a_removed_job_names_no_file(on_prefect, deployed):
    name = f"secret-{uuid4().hex[:8]}.wav"

    async def story(runs):
        run = await runs.create(
            JOB_TYPES["transcribe"], JOB_TYPES["transcribe"].job(audio=f"s3://m3d/{name}")
        )
        assert name in (await asyncio.to_thread(deployed.read_flow_run, run.id)).name
        await runs.cancel(run.id)
        await runs.remove(run.id)
        return run.id

    kept = deployed.read_flow_run(on_prefect(story))
    assert kept.name == "transcribe (deleted)" and name not in kept.model_dump_json()


@pytest.mark.parametrize(
    ("states", "status"),
    [
        ((Pending(),), "queued"),
        ((Running(),), "running"),
        ((Running(), Completed()), "succeeded"),
        ((Running(), Failed()), "failed"),
        ((Cancelled(),), "canceled"),
        ((Scheduled(scheduled_time=datetime.now(UTC) + timedelta(hours=1)),), "scheduled"),
    ],
)
def test_states_are_read(on_prefect, deployed, states, status):
    async def story(runs):
        run = await runs.create(SPEECH, speech())
        await asyncio.to_thread(move, deployed, run, *states)
        return await runs.read(run.id)

    assert on_prefect(story).status == status


def test_who_waits_hears_of_the_end_at_once(on_prefect, deployed):
    async def story(runs):
        run = await runs.create(SPEECH, speech())
        await runs.read(run.id)
        await asyncio.sleep(1.0)  # the stream of events is there
        waiting = asyncio.create_task(wait_until_final(runs, run.id, 20))
        await asyncio.to_thread(move, deployed, run, Running(), Completed())
        ended = time.monotonic()
        return (await waiting).status, time.monotonic() - ended

    status, late_s = on_prefect(story)
    assert status == "succeeded" and late_s < 10, "without the event it waits for 20 s"


def test_a_job_is_cancelled_once(on_prefect):
    async def story(runs):
        run = await runs.create(SPEECH, speech())
        return await runs.cancel(run.id, "timed_out"), await runs.cancel(run.id)

    first, second = on_prefect(story)
    assert first.status == second.status == "canceled" and second.ended_as == "timed_out"


def test_lists_are_walked_whole_while_jobs_are_made(on_prefect, deployed):
    async def story(runs):
        old = [
            await runs.create(SPEECH, speech(), SubmitOptions(tags=("walk", f"n{n % 2}"))) for n in range(11)
        ]
        seen, cursor = [], None
        while True:
            page = await runs.find(JobFilter(tags=("walk",), limit=3, cursor=cursor))
            seen += [run.id for run in page.jobs]
            await runs.create(SPEECH, speech(), SubmitOptions(tags=("walk",)))  # newer: in no later page
            if (cursor := page.next) is None:
                return [run.id for run in old], seen

    old, seen = on_prefect(story)
    assert seen == list(reversed(old))


async def walk(runs, between=None, **filters):
    """All jobs of a list, three a page; `between` acts on the server after each page."""
    seen, cursor = [], None
    while True:
        page = await runs.find(JobFilter(limit=3, cursor=cursor, **filters))
        seen += [run.id for run in page.jobs]
        if between:
            await asyncio.to_thread(between)
        if (cursor := page.next) is None:
            return seen


def test_jobs_that_are_due_later_are_listed_and_filtered_by_their_creation(on_prefect, deployed):
    deployment = deployed.read_deployment_by_name("speech/Text to speech").id

    def make(hours):
        state = Scheduled(scheduled_time=datetime.now(UTC) + timedelta(hours=hours))
        return deployed.create_flow_run_from_deployment(deployment, state=state, tags=["tag:due"])

    made = [make(hours) for hours in (0, 5, -0.5, 1, 0, 200)]
    middle = made[2].created + (made[3].created - made[2].created) / 2

    async def story(runs):
        scheduled = await runs.find(JobFilter(tags=("due",), statuses=frozenset({"scheduled"})))
        return (
            await walk(runs, tags=("due",)),
            [run.id for run in scheduled.jobs],
            await walk(runs, tags=("due",), created_before=middle),
            await walk(runs, tags=("due",), created_after=middle),
            await walk(runs, tags=("due",), created_after=made[1].created, created_before=made[4].created),
        )

    def of(*numbers):
        return [made[number].id for number in numbers]

    all_, scheduled, before, after, within = on_prefect(story)
    assert all_ == of(5, 1, 3, 4, 0, 2) and scheduled == of(5, 1, 3)
    assert (before, after, within) == (of(1, 0, 2), of(5, 3, 4), of(1, 3, 4, 2))


def test_a_search_finds_names_of_files_in_any_case_and_no_pattern(on_prefect, deployed):
    names = ("Größe_100%.mp4", "grösse_1000.mp4", "GRÖSSE_100%.MP4", "o'neil.mp4", "anna.mp4")

    async def story(runs):
        job_type, options = JOB_TYPES["lip_sync"], SubmitOptions(tags=("search",))
        for name in names:
            job = job_type.job(video=f"s3://media/{name}", audio="s3://media/hello.wav")
            await runs.create(job_type, job, options)
        made = await runs.find(JobFilter(tags=("search",)))
        numbers = {run.id: number for number, run in enumerate(reversed(made.jobs))}

        async def found(text, **more):
            page = await runs.find(JobFilter(tags=("search",), search=text, **more))
            return [numbers[run.id] for run in page.jobs]

        walked = await walk(runs, tags=("search",), search="HELLO.wav")
        return [await found(text) for text in ("grö", "_100%", "O'N", "ANNA", "%", "\\")], len(walked)

    found, walked = on_prefect(story)
    assert found == [[2, 1, 0], [2, 0], [3], [4], [2, 0], []] and walked == len(names)


def test_no_job_is_skipped_while_others_are_made_and_deleted(on_prefect, deployed):
    deployment = deployed.read_deployment_by_name("speech/Text to speech").id
    made = [deployed.create_flow_run_from_deployment(deployment, tags=["tag:moving"]).id for _ in range(20)]
    gone = iter(made[::-1][:6:2])

    def change():
        if (run := next(gone, None)) is not None:  # read already: those behind it move forward
            deployed.delete_flow_run(run)
        else:
            deployed.create_flow_run_from_deployment(deployment, tags=["tag:moving"])

    assert on_prefect(lambda runs: walk(runs, change, tags=("moving",))) == made[::-1]


def test_lists_tell_what_prefect_calls_the_same(on_prefect, deployed):
    async def story(runs):
        made = [await runs.create(SPEECH, speech(), SubmitOptions(tags=("told",))) for _ in range(6)]
        canceled, aborted, failed = made[:3]
        deployed.update_flow_run_labels(aborted.id, {ENDED_AS_LABEL: REASON_ABORTED})
        for run, state in ((canceled, Cancelled()), (aborted, Cancelled()), (failed, Failed())):
            await asyncio.to_thread(move, deployed, run, state)

        async def found(*statuses, **more):
            page = await runs.find(JobFilter(statuses=frozenset(statuses), tags=("told",), **more))
            return [run.id for run in page.jobs]

        return made, {
            "aborted": await found("aborted", limit=1),
            "canceled": await found("canceled"),
            "ended": await found(*FINAL_STATUSES),
            "queued": await found("queued"),
            "other type": await found(types=frozenset({"lip_sync"})),
            "before": await found(created_before=made[0].created - timedelta(seconds=1)),
            "after": await found(created_after=made[0].created - timedelta(seconds=1), limit=200),
        }

    made, found = on_prefect(story)
    ids = [run.id for run in made]
    assert (found["aborted"], found["canceled"]) == ([ids[1]], [ids[0]])
    assert found["ended"] == [ids[2], ids[1], ids[0]] and found["queued"] == ids[:2:-1]
    assert found["other type"] == found["before"] == [] and found["after"] == ids[::-1]


@pytest.mark.parametrize("cursor", ["x", "e30", "W10", "WyIyMDI2Il0"])
def test_a_cursor_of_somebody_s_own_is_refused(on_prefect, cursor):
    async def story(runs):
        with pytest.raises(Problem) as refused:
            await runs.find(JobFilter(cursor=cursor))
        return refused.value.code

    assert on_prefect(story) == "invalid_input"


def test_runs_of_other_flows_are_no_jobs(on_prefect, deployed):
    other = deployed.create_flow_run_from_deployment(
        deployed.read_deployment_by_name("janitor/Housekeeping: maintenance").id
    )

    async def story(runs):
        with pytest.raises(Problem) as refused:
            await runs.read(other.id)
        page = await runs.find(JobFilter(limit=200))
        return refused.value.code, other.id in {run.id for run in page.jobs}

    assert on_prefect(story) == ("not_found", False)


def test_logs_are_read_on_from_where_an_earlier_part_ended(on_prefect, deployed):
    moment = datetime.now(UTC)

    async def story(runs):
        run = await runs.create(SPEECH, speech())
        lines = [  # three of one moment: a part may end between them
            LogCreate(
                name="x",
                level=level,
                message=f"line {n}",
                timestamp=moment + timedelta(seconds=n // 3),
                flow_run_id=run.id,
            )
            for n, level in enumerate([20, 20, 20, 10, 40, 20])
        ]
        deployed.create_logs(lines)
        first = await runs.logs(run.id, None, 20, 2)
        second = await runs.logs(run.id, first.next, 20, 100)
        third = await runs.logs(run.id, second.next, 20, 100)
        return first, second, third

    first, second, third = on_prefect(story)
    told = [line.message for page in (first, second) for line in page.lines]
    assert sorted(told) == ["line 0", "line 1", "line 2", "line 4", "line 5"] and len(first.lines) == 2
    assert third.lines == ()


def test_ten_that_wait_know_their_places_and_when_they_will_be_done(on_prefect, deployed):
    async def story(runs):
        for _ in range(3):  # a history: each took a moment
            run = await runs.create(SPEECH, speech())
            await asyncio.to_thread(move, deployed, run, Running(), Completed())
        for old in (
            await runs.find(JobFilter(statuses=frozenset({"queued", "running", "scheduled"}), limit=200))
        ).jobs:
            await asyncio.to_thread(move, deployed, old, Cancelled())
        normal = [await runs.create(SPEECH, speech()) for _ in range(9)]
        first = await runs.create(SPEECH, speech(), SubmitOptions(control=Control(priority="high")))
        read = [await runs.read(run.id) for run in (first, *normal)]
        return read, {queue.pool: queue for queue in await runs.queues()}

    read, queues = on_prefect(story)
    queue = queues[SPEECH.pool]
    assert queue.waiting == {"high": 1, "normal": 9, "low": 0} and queue.running == 0
    assert 0 < queue.oldest_waiting_s < 600
    assert queue.waiting_jobs["high", "none"] == 1 and queue.waiting_jobs["normal", "none"] == 9
    assert len(queue.waiting_jobs) == 6  # three priorities, with and without a tenant
    assert [run.position for run in read] == list(range(1, 11))
    times = [run.eta.p50 for run in read]
    assert times == sorted(times) and times[0] < times[-1]
    assert all(run.eta.p50 <= run.eta.p90 for run in read)


def test_unfinished_jobs_of_a_tenant_are_counted(on_prefect, deployed):
    async def story(runs):
        mine = SubmitOptions(control=Control(tenant="counted"))
        made = [await runs.create(SPEECH, speech(), mine) for _ in range(3)]
        await asyncio.to_thread(move, deployed, made[0], Running())
        await asyncio.to_thread(move, deployed, made[1], Running(), Completed())
        return [await runs.count_unfinished(tenant) for tenant in ("counted", "nobody", None)]

    counted, nobody, all_ = on_prefect(story)
    assert (counted, nobody) == (2, 0) and all_ >= 2


def test_a_key_is_known_once_its_job_is_made(on_prefect):
    async def story(runs):
        before = await runs.has_idempotency_key("known key")
        await runs.create(SPEECH, speech(), SubmitOptions(key="known key"))
        return before, await runs.has_idempotency_key("known key")

    assert on_prefect(story) == (False, True)


def test_a_removed_job_is_found_nowhere_and_its_words_are_gone(on_prefect, deployed):
    secret = f"A word that nobody else says: {uuid4().hex}"

    async def story(runs):
        terms = SubmitOptions(control=Control(notify=Notify(url="https://example.org/hook")), key=uuid4().hex)
        run = await runs.create(SPEECH, speech(secret), terms)
        await runs.cancel(run.id)
        assert (await runs.read(run.id)).status == "canceled"
        await runs.remove(run.id)
        with pytest.raises(Problem, match="Job not found"):
            await runs.read(run.id)
        listed = await runs.find(JobFilter(limit=200))
        assert run.id not in {one.id for one in listed.jobs}
        return run.id

    job = on_prefect(story)
    kept = deployed.read_flow_run(job)
    assert secret not in kept.model_dump_json()
    assert kept.parameters["control"]["notify"]["url"] == "https://example.org/hook", "whom the webhook tells"


def paused(on_prefect, job, act="pause"):
    """Pause or resume a job through the store; gives the code of the refusal, or None."""

    async def story(runs):
        try:
            await getattr(PrefectJobSuspender(runs.connection), act)(job)
        except Problem as problem:
            return problem.code
        return None

    return on_prefect(story)


@pytest.mark.parametrize(
    "state", [Completed(), Failed(), Cancelled(), Crashed()], ids=lambda state: state.name
)
def test_what_has_ended_is_not_paused_and_not_resumed(on_prefect, deployed, state):
    run = deployed.create_flow_run_from_deployment(deployed.read_deployment_by_name("batch/Batch").id)
    move(deployed, run, Running(), state)

    assert paused(on_prefect, run.id) == "not_ready" and paused(on_prefect, run.id, "resume") is None
    assert deployed.read_flow_run(run.id).state_type == state.type


def test_a_job_that_ends_while_it_is_paused_stays_ended(on_prefect, deployed):
    run = deployed.create_flow_run_from_deployment(deployed.read_deployment_by_name("batch/Batch").id)
    move(deployed, run, Running())

    async def story(runs):
        suspender = PrefectJobSuspender(runs.connection)
        read = suspender._read_run

        async def read_and_end(job_id):
            found = await read(job_id)
            if found.state_type == "RUNNING":
                await asyncio.to_thread(move, deployed, run, Completed())
            return found

        suspender._read_run = read_and_end
        with pytest.raises(Problem) as refused:
            await suspender.pause(run.id)
        return refused.value.code

    assert on_prefect(story) == "not_ready" and deployed.read_flow_run(run.id).state.is_completed()


@pytest.mark.parametrize("states", [(), (Pending(),), (Running(),)], ids=["queued", "pending", "running"])
def test_what_has_not_ended_is_paused_and_goes_on(on_prefect, deployed, states):
    run = deployed.create_flow_run_from_deployment(deployed.read_deployment_by_name("batch/Batch").id)
    move(deployed, run, *states)

    assert paused(on_prefect, run.id) is None and deployed.read_flow_run(run.id).state_name == "Suspended"
    assert paused(on_prefect, run.id) is None
    assert paused(on_prefect, run.id, "resume") is None
    assert deployed.read_flow_run(run.id).state_name == "Resuming"


def test_a_status_is_read_although_its_estimate_fails(on_prefect, monkeypatch):
    async def story(runs):
        run = await runs.create(SPEECH, speech())
        for queue in runs._estimator._queues.values():
            monkeypatch.setattr(queue, "get", lambda: 1 / 0)
        return await runs.read(run.id)

    read = on_prefect(story)
    assert (read.status, read.position, read.eta) == ("queued", None, None)


def test_a_replay_keeps_the_number_and_its_key_is_new_whatever_is_left(on_prefect, deployed):
    job = deployed.create_flow_run_from_deployment(
        deployed.read_deployment_by_name("speech/Text to speech").id
    ).id
    notify = deployed.read_deployment_by_name("notify/Housekeeping: webhook delivery").id

    def attempted(**fields):
        attempt = NotifyJob(run=job, event="progress", number=7, **fields)
        return deployed.create_flow_run_from_deployment(
            notify,
            parameters={"job": attempt.model_dump(mode="json")},
            tags=attempt.tags,
            idempotency_key=attempt.idempotency_key,
        ).id

    first, second = attempted(attempt=1), attempted(attempt=2, replay=True)
    message = webhook_id(job, "progress", 7)

    async def replayed(runs):
        return await PrefectDeliveryStore(runs.connection).replay(job, message)

    assert on_prefect(replayed).number == 3
    deployed.delete_flow_run(first)  # as retention does
    assert on_prefect(replayed).number == 4

    async def listed(runs):
        return await PrefectDeliveryStore(runs.connection).list_for_job(job)

    (delivery,) = on_prefect(listed)
    assert delivery.webhook_id == message and [one.number for one in delivery.attempts] == [2, 3, 4]
    assert second in {run.id for run in deployed.read_flow_runs(limit=200)}
