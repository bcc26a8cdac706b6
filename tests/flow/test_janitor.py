"""Housekeeping on a real server: what is over ends, what is past its retention goes, all else stays."""

import contextlib
import json
import time
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from prefect import flow
from prefect.artifacts import Artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    FlowRunFilter,
    FlowRunFilterId,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import StateType
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.states import Cancelled, Cancelling, Completed, Pending, Running, Scheduled

from flows import janitor as janitor_module
from flows.janitor import janitor
from flows.maintenance.cache import OVER_QUOTA, evict_cache_entries
from flows.maintenance.context import SweepContext
from flows.maintenance.finished_runs import OLD_RUN, delete_old_runs
from flows.maintenance.lost_runs import (
    CONFIRM_AFTER,
    NO_HEARTBEAT,
    SILENT_SINCE_LABEL,
    SUSPECT_AFTER,
    WORKER_LABEL,
    end_lost_runs,
)
from flows.maintenance.orphaned_jobs import PARENT_CANCELED, cancel_orphans
from flows.prefect_state.labels import PARENT_TAG
from flows.schemas.control import (
    ENDED_AS_LABEL,
    EXPIRED_MESSAGE,
    NOTIFY_TAG,
    REASON_ABORTED,
    REASON_CANCELLED,
)
from flows.schemas.maintenance import JanitorJob
from tasks.cache.artefacts import artefact_cache
from tasks.errors import MaintenanceFailed
from tasks.settings import get_settings
from tasks.settings.retention import RetentionSettings


@flow
def waiting(control: dict | None = None):
    return None


@flow(name="speech")
def job_of_ours(job: dict | None = None):
    return None


@pytest.fixture
def client(home):
    with get_client(sync_client=True) as client:
        yield client


def made(client, **control):
    return client.create_flow_run(waiting, parameters={"control": control}, state=Scheduled()).id


def look_in(client, *, dry_run=False, retention=None, **later):
    now = datetime.now(UTC) + timedelta(**later)
    return SweepContext(client, now, retention or RetentionSettings(), dry_run)


def test_only_what_missed_its_deadline_is_ended_and_only_when_meant(home):
    with get_client(sync_client=True) as client:
        late, patient, endless = made(client, complete_in=1), made(client, complete_in=3600), made(client)
        time.sleep(1.1)

        told = janitor(JanitorJob(dry_run=True))
        assert told.expired == [str(late)]
        assert client.read_flow_run(late).state.is_scheduled()

        assert janitor(JanitorJob()).expired == [str(late)]
        ended = client.read_flow_run(late)
        assert ended.state.is_cancelled() and ended.state.message == EXPIRED_MESSAGE
        assert ended.labels[ENDED_AS_LABEL] == REASON_ABORTED
        assert all(client.read_flow_run(run).state.is_scheduled() for run in (patient, endless))
        assert janitor(JanitorJob()).expired == []


# -- the report --


def test_one_that_fails_keeps_no_other_from_its_work_and_is_told_of(client, monkeypatch):
    def breaks(look):
        yield from janitor_module.cancel_expired_jobs(look)
        raise OSError("the disk is gone")

    sweeps = {"deadlines": breaks, "cache": evict_cache_entries}
    monkeypatch.setattr(janitor_module, "SWEEPS", sweeps)
    monkeypatch.setenv("MUSETALK_STORE__CACHE_BYTES", "0")
    get_settings.cache_clear()
    artefact_cache().get_or_create("crops", "a" * 64, lambda folder: (folder / "x").write_text("12345"))
    artefact_cache().release()
    artefact_cache().get_or_create("crops", "b" * 64, lambda folder: (folder / "x").write_text("12345"))
    late = made(client, complete_in=1)
    time.sleep(1.1)

    state = janitor(JanitorJob(), return_state=True)

    assert state.is_failed()
    with pytest.raises(MaintenanceFailed, match="deadlines: OSError: the disk is gone") as told:
        state.result()
    assert told.value.code == "sweep_failed" and told.value.details == {"sweeps": ["deadlines"]}
    assert client.read_flow_run(late).state.is_cancelled()
    rows = report_of(client, state.state_details.flow_run_id)
    assert [row["what"] for row in rows] == [EXPIRED_MESSAGE, "Failed: deadlines"]
    artefact_cache().release()


def report_of(client, run):
    wanted = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run]))
    (table,) = [note for note in client.read_artifacts(artifact_filter=wanted) if note.key == "janitor"]
    return json.loads(table.data) if isinstance(table.data, str) else table.data


def test_a_dry_run_says_all_and_does_nothing(client, monkeypatch):
    key = "c" * 64
    monkeypatch.setenv("MUSETALK_STORE__CACHE_BYTES", "0")
    get_settings.cache_clear()
    artefact_cache().get_or_create("crops", key, lambda folder: (folder / "x").write_text("12345"))
    artefact_cache().release()
    half = get_settings().cache_folder / "tmp" / f"crops-{'d' * 64}.1-1"
    half.mkdir()

    told = janitor(JanitorJob(dry_run=True))
    over = next(sweep for sweep in told.sweeps if sweep.what == OVER_QUOTA)
    assert (over.count, over.bytes, over.examples) == (1, 5, (f"crops/{key}",))
    assert artefact_cache().exists("crops", key) and half.is_dir()

    assert [sweep.what for sweep in janitor(JanitorJob()).sweeps] == [sweep.what for sweep in told.sweeps]
    assert not artefact_cache().exists("crops", key) and not half.is_dir()
    assert janitor(JanitorJob()).sweeps == []


def test_what_is_in_use_stays_in_the_cache(client, monkeypatch):
    monkeypatch.setenv("MUSETALK_STORE__CACHE_BYTES", "0")
    get_settings.cache_clear()
    made = artefact_cache().get_or_create(
        "crops", "e" * 64, lambda folder: (folder / "x").write_text("1"), shared=False
    )
    assert list(evict_cache_entries(look_in(client))) == []
    assert artefact_cache().path(made).is_dir()
    artefact_cache().release()


# -- orphans --


@pytest.mark.parametrize("dry_run", [True, False])
def test_parts_of_what_was_cancelled_are_ended(client, dry_run):
    def part_of(parent, state):
        return client.create_flow_run(waiting, tags=[f"{PARENT_TAG}{parent}"], state=state).id

    cancelled, finished, running = (client.create_flow_run(waiting).id for _ in range(3))
    client.set_flow_run_state(cancelled, Cancelled(), force=True)
    client.set_flow_run_state(finished, Completed(), force=True)
    client.set_flow_run_state(running, Running(), force=True)
    waits, runs = part_of(cancelled, Scheduled()), part_of(cancelled, Running())
    ended = part_of(cancelled, Completed())
    others = [part_of(parent, Scheduled()) for parent in (finished, running, uuid4())]
    odd = client.create_flow_run(waiting, tags=[f"{PARENT_TAG}nobody"], state=Scheduled()).id

    deeds = list(cancel_orphans(look_in(client, dry_run=dry_run)))

    assert {deed.item for deed in deeds if UUID(deed.item) in {waits, runs}} == {str(waits), str(runs)}
    assert {deed.kind for deed in deeds} == {PARENT_CANCELED}
    assert not {str(run) for run in (ended, *others, odd)} & {deed.item for deed in deeds}
    kinds = {run: client.read_flow_run(run).state.type for run in (waits, runs, ended)}
    expected = ("SCHEDULED", "RUNNING") if dry_run else ("CANCELLED", "CANCELLING")
    assert (kinds[waits], kinds[runs], kinds[ended]) == (*expected, "COMPLETED")
    if not dry_run:
        assert client.read_flow_run(waits).labels[ENDED_AS_LABEL] == REASON_CANCELLED
        assert all(client.read_flow_run(run).state.is_scheduled() for run in (*others, odd))
    for run in (waits, runs, running, *others, odd):
        client.delete_flow_run(run)


# -- zombies --


POOL = "gpu"


@pytest.fixture
def pool(client):
    """One of our pools, other tests may have made it before, with a run of a deployment in it."""
    with contextlib.suppress(ObjectAlreadyExists):
        client.create_work_pool(WorkPoolCreate(name=POOL, type="process"))
    theirs = WorkPoolFilter(name=WorkPoolFilterName(any_=[POOL]))
    for left in client.read_flow_runs(work_pool_filter=theirs):
        client.delete_flow_run(left.id)
    deployment = client.create_deployment(
        flow_id=client.create_flow_from_name("speech"), name=POOL, work_pool_name=POOL
    )
    runs = []

    def run(*states, worker="w"):
        found = client.create_flow_run_from_deployment(deployment).id
        client.update_flow_run_labels(found, {WORKER_LABEL: worker})
        for state in states:
            client.set_flow_run_state(found, state, force=True)
        runs.append(found)
        return found

    yield run
    for found in runs:
        client.delete_flow_run(found)
    client.delete_deployment(deployment)


def ended_by(client, **later):
    return {deed.item for deed in end_lost_runs(look_in(client, **later)) if deed.kind == NO_HEARTBEAT}


def test_runs_whose_worker_stays_silent_are_ended(client, pool):
    running, pending, stopping = pool(Running()), pool(Pending()), pool(Running(), Cancelling())
    client.send_worker_heartbeat(POOL, "w")
    suspected = (SUSPECT_AFTER + timedelta(seconds=10)).total_seconds()
    proven = suspected + CONFIRM_AFTER.total_seconds()

    assert ended_by(client, seconds=0) == set()
    assert SILENT_SINCE_LABEL not in client.read_flow_run(running).labels
    assert ended_by(client, seconds=suspected) == set()
    assert ended_by(client, seconds=suspected + 60) == set()
    dry = list(end_lost_runs(look_in(client, dry_run=True, seconds=proven)))
    assert {deed.item for deed in dry} == {str(running), str(pending), str(stopping)}
    assert client.read_flow_run(running).state.is_running()

    assert ended_by(client, seconds=proven) == {str(running), str(pending), str(stopping)}
    kinds = [client.read_flow_run(run).state.type.value for run in (running, pending, stopping)]
    assert kinds == ["CRASHED", "CRASHED", "CANCELLED"]
    assert ended_by(client, seconds=proven) == set()


def test_a_mark_alone_ends_nothing_while_the_worker_lives(client, pool):
    run = pool(Running())
    mark = datetime.now(UTC) - timedelta(hours=1)
    client.update_flow_run_labels(run, {SILENT_SINCE_LABEL: mark.isoformat()})
    client.send_worker_heartbeat(POOL, "w")
    assert ended_by(client, seconds=200) == set()
    # silent since, but heard of after the mark: it is marked anew and not ended
    assert ended_by(client, seconds=600) == set()
    assert client.read_flow_run(run).state.is_running()


def test_a_run_that_beats_is_alive_whatever_its_worker(client, pool):
    run = pool(Running())
    time.sleep(3)
    own = f"prefect.flow-run.{run}"
    beat = {
        "occurred": (datetime.now(UTC)).isoformat(),
        "event": "prefect.flow-run.heartbeat",
        "resource": {"prefect.resource.id": own},
        "id": str(uuid4()),
    }
    client.request("POST", "/events", json=[beat])
    filter_ = {"event": {"name": ["prefect.flow-run.heartbeat"]}, "resource": {"id": [own]}}
    deadline = time.monotonic() + 30
    while not client.request("POST", "/events/filter", json={"filter": filter_}).json()["events"]:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    began = client.read_flow_run(run).state.timestamp
    client.update_flow_run_labels(run, {SILENT_SINCE_LABEL: datetime.now(UTC).isoformat()})

    def look(seconds):
        return SweepContext(client, began + SUSPECT_AFTER + timedelta(seconds=seconds), RetentionSettings())

    assert list(end_lost_runs(look(1))) == []
    assert [deed.item for deed in end_lost_runs(look(20))] == [str(run)]


def test_runs_that_no_pool_of_ours_has_are_nobodys_business(client):
    run = client.create_flow_run(waiting, state=Running()).id
    client.update_flow_run_labels(run, {SILENT_SINCE_LABEL: datetime.now(UTC).isoformat()})
    assert ended_by(client, hours=5) == set()
    client.delete_flow_run(run)


# -- Prefect's database --


def ended(client, tags=(), state=None, of=job_of_ours, **parameters):
    run = client.create_flow_run(of, parameters=parameters, tags=list(tags), state=Scheduled()).id
    client.set_flow_run_state(run, Running(), force=True)
    client.set_flow_run_state(run, state or Completed(), force=True)
    return run


def is_there(client, run):
    try:
        client.read_flow_run(run)
    except ObjectNotFound:
        return False
    return True


@pytest.fixture
def forget_runs(client):
    """No run of another test is there: this sweep sees all."""
    while runs := client.read_flow_runs(limit=200):
        for run in runs:
            client.delete_flow_run(run.id)


def removed(client, days, **more):
    deeds = list(delete_old_runs(look_in(client, days=days, **more)))
    assert all(deed.kind == OLD_RUN for deed in deeds)
    return {UUID(deed.item) for deed in deeds}


def notes_of(client, run):
    return client.read_artifacts(
        artifact_filter=ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run])), limit=200
    )


def test_old_runs_go_with_all_that_belongs_to_them(client, forget_runs):
    @flow(name="transcribe")
    def talks():
        for number in range(7):
            Artifact(type="json", key="progress", data={"n": number}).create()

    state = talks(return_state=True)
    old = state.state_details.flow_run_id
    waits = client.create_flow_run(job_of_ours, state=Scheduled()).id
    assert len(notes_of(client, old)) == 7

    assert removed(client, 29) == set()
    assert removed(client, 31, dry_run=True) == {old}
    assert len(notes_of(client, old)) == 7
    assert removed(client, 31, retention=RetentionSettings(jobs_days=0)) == set()

    assert removed(client, 31) == {old}
    assert not is_there(client, old) and is_there(client, waits)
    assert notes_of(client, old) == []


def test_only_runs_of_ours_go(client, forget_runs):
    foreign = ended(client, of=waiting)
    assert removed(client, 400) == set()
    assert is_there(client, foreign)


def test_chores_go_sooner(client, forget_runs):
    @flow(name="announce")
    def chore():
        return None

    old, job = ended(client, of=chore), ended(client)
    assert removed(client, 4) == {old}
    assert is_there(client, job)


def test_what_is_needed_stays(client, forget_runs):
    told, source, parent, subject = (ended(client) for _ in range(4))
    attempt = client.create_flow_run(job_of_ours, tags=[f"job:{told}"], state=Scheduled()).id
    user = client.create_flow_run(
        job_of_ours, parameters={"job": {"audio": f"job://{source}"}}, state=Scheduled()
    ).id
    child = client.create_flow_run(job_of_ours, tags=[f"{PARENT_TAG}{parent}"], state=Running()).id
    assert removed(client, 40) == {subject}

    for run in (attempt, user, child):
        client.set_flow_run_state(run, Completed(), force=True)
    assert removed(client, 40) == {told, source, parent, attempt, user, child}


def test_a_family_goes_with_its_parent(client, forget_runs):
    parent = ended(client)
    children = [ended(client, tags=[f"{PARENT_TAG}{parent}"]) for _ in range(30)]
    assert removed(client, 40, retention=RetentionSettings(jobs_days=0)) == set()
    assert removed(client, 40) == {parent, *children}


def test_a_younger_part_keeps_its_parent(client, forget_runs, monkeypatch):
    parent = ended(client)
    time.sleep(1)
    border = datetime.now(UTC)
    ended(client, tags=[f"{PARENT_TAG}{parent}"])
    old = ended(client)
    now = border + timedelta(days=30)
    deeds = list(delete_old_runs(SweepContext(client, now, RetentionSettings())))
    assert deeds == [] and is_there(client, parent) and is_there(client, old)


def test_a_job_whose_webhooks_may_come_stays_four_days(client, forget_runs):
    job = ended(client, tags=[NOTIFY_TAG])
    day = RetentionSettings(jobs_days=1)
    assert removed(client, 3, retention=day) == set()
    assert removed(client, 5, retention=day) == {job}


def test_one_that_was_set_going_again_is_not_deleted(client, forget_runs, monkeypatch):
    from flows.maintenance import finished_runs

    stays, goes = ended(client), ended(client)
    delete = finished_runs._delete_runs

    def late(server, ids, pace):
        server.set_flow_run_state(stays, Scheduled(), force=True)
        return delete(server, ids, pace)

    monkeypatch.setattr(finished_runs, "_delete_runs", late)
    assert removed(client, 40) == {goes}
    assert client.read_flow_run(stays).state.is_scheduled()


def test_many_go_over_several_looks(client, forget_runs, monkeypatch):
    from flows.maintenance import finished_runs

    monkeypatch.setattr(finished_runs, "MAX_DELETED_RUNS", 3)
    there = {ended(client) for _ in range(7)}
    counts = [len(removed(client, 40)) for _ in range(4)]
    assert counts == [3, 3, 1, 0]
    left = client.read_flow_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=list(there))))
    assert left == []


def test_a_run_that_was_cancelled_before_it_began_goes_too(client, forget_runs):
    run = client.create_flow_run(job_of_ours, state=Scheduled()).id
    client.set_flow_run_state(run, Cancelling())
    assert client.read_flow_run(run).state_type == StateType.CANCELLED
    assert removed(client, 40) == {run}
