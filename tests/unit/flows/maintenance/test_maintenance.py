"""Selection of what the janitor deletes or cancels, given records and a time."""

import os
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from prefect.client.schemas.objects import FlowRun, State, StateType

from flows.janitor import summarize
from flows.maintenance.assets import (
    INCOMPLETE_ASSET,
    NEVER_UPLOADED,
    OLD_ASSET,
    group_by_asset,
    removal_reason,
)
from flows.maintenance.avatar_notes import stale_notes
from flows.maintenance.context import SweepAction, Throttle
from flows.maintenance.expired_jobs import expired
from flows.maintenance.finished_runs import RetentionHolds, deletable_runs, referenced_by
from flows.maintenance.log_files import old_files
from flows.maintenance.lost_runs import CONFIRM_AFTER, SILENT_SINCE_LABEL, SUSPECT_AFTER, judge_run
from flows.maintenance.orphaned_jobs import find_orphans
from flows.maintenance.references import owners_of, parents_of, referenced_assets, referenced_jobs
from flows.maintenance.results import expired_results
from flows.maintenance.unfinished_uploads import abandoned_uploads
from flows.prefect_state.labels import PARENT_TAG
from flows.schemas.control import NOTIFY_TAG
from tasks.storage.object_store import ObjectInfo, PendingUpload

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
NOTHING = RetentionHolds(frozenset(), frozenset())


def ago(**span):
    return NOW - timedelta(**span)


def made(kind=StateType.COMPLETED, *, since=None, tags=(), labels=None, parameters=None, **more):
    state = State(type=kind, timestamp=since or ago(days=40))
    return FlowRun(
        id=uuid4(),
        flow_id=uuid4(),
        state=state,
        state_type=kind,
        tags=list(tags),
        labels=labels or {},
        parameters=parameters or {},
        **more,
    )


def stored(key, modified, size=1):
    return ObjectInfo(f"s3://ours/{key}", key, size, "e:1", modified)


# -- names in tags and parameters --


def test_a_run_names_its_parents_and_the_job_it_tells_of():
    batch, job = uuid4(), uuid4()
    tags = [
        f"{PARENT_TAG}{batch}",
        f"job:{job}",
        f"tag:part-of:{uuid4()}",
        "part-of:nonsense",
        "job:",
        "notify",
    ]
    assert parents_of(tags) == {batch}
    assert owners_of(tags) == {batch, job}


def test_inputs_are_found_wherever_they_stand():
    job = uuid4()
    parameters = {"job": {"audio": f"job://{job}/x.wav", "more": [{"video": "asset://abc_-1"}]}, "n": NOW}
    assert referenced_jobs(parameters) == {job}
    assert referenced_assets(parameters) == {"abc_-1"}
    assert referenced_jobs({"job": {"text": "job://not-one"}}) == set()


# -- waiting, orphans, zombies --


def waiting(complete_in, created, **more):
    parameters = {"control": {"complete_in": complete_in} if complete_in else {}}
    return made(StateType.SCHEDULED, parameters=parameters, created=created, **more)


def test_only_what_never_began_and_is_past_its_deadline_is_late():
    now = datetime.now(UTC)
    past_it = waiting(60, now - timedelta(seconds=61))
    others = [
        waiting(3600, now - timedelta(seconds=61)),
        waiting(None, now - timedelta(days=9)),
        waiting(60, now - timedelta(seconds=61), run_count=1),
        past_it.model_copy(update={"id": uuid4(), "state_type": StateType.RUNNING}),
    ]
    assert expired([past_it, *others]) == [past_it]


def test_orphans_are_the_parts_of_what_was_cancelled():
    cancelled, other = uuid4(), uuid4()
    child = made(StateType.RUNNING, tags=[f"{PARENT_TAG}{cancelled}"])
    waits = made(StateType.SCHEDULED, tags=[f"{PARENT_TAG}{other}", f"{PARENT_TAG}{cancelled}"])
    asked = made(StateType.CANCELLING, tags=[f"{PARENT_TAG}{cancelled}"])
    safe = made(StateType.RUNNING, tags=[f"{PARENT_TAG}{other}"])
    assert find_orphans([child, waits, asked, safe, made(StateType.RUNNING)], {cancelled}) == [child, waits]


LONG_AGO = NOW - SUSPECT_AFTER - timedelta(seconds=1)


@pytest.mark.parametrize(
    ("since", "heard", "marked", "verdict"),
    [
        (ago(hours=9), ago(seconds=10), None, "alive"),
        (ago(hours=9), ago(seconds=10), ago(hours=1), "alive"),
        (ago(minutes=1), None, None, "alive"),  # just taken: it does not carry its worker's name yet
        (LONG_AGO, LONG_AGO, None, "suspect"),
        (LONG_AGO, None, None, "suspect"),
        (LONG_AGO, LONG_AGO, NOW - CONFIRM_AFTER + timedelta(seconds=1), "watched"),
        (LONG_AGO, LONG_AGO, NOW - CONFIRM_AFTER, "lost"),
        (ago(hours=9), None, ago(hours=1), "lost"),
        (ago(hours=9), LONG_AGO, ago(hours=1), "suspect"),  # it was heard of after the mark
        (ago(hours=1), None, ago(hours=2), "suspect"),  # the mark is of an earlier start
        (ago(hours=9), None, NOW + timedelta(hours=1), "suspect"),
    ],
)
def test_a_run_is_lost_when_its_worker_was_silent_before_the_mark_and_after(since, heard, marked, verdict):
    labels = {SILENT_SINCE_LABEL: marked.isoformat()} if marked else {}
    assert judge_run(made(StateType.RUNNING, since=since, labels=labels), heard, NOW) == verdict


def test_a_mark_that_is_none_is_made_anew():
    assert (
        judge_run(made(StateType.RUNNING, labels={SILENT_SINCE_LABEL: "yesterday"}), None, NOW) == "suspect"
    )


# -- the store --


def test_results_go_a_day_after_their_retention_and_nothing_else_does():
    key = f"outputs/{'a' * 32}/x.mp4"
    kept = [
        stored(key, ago(days=30, hours=23)),
        stored("outputs/theirs/x.mp4", ago(days=90)),
        stored(f"outputs/{'a' * 32}/more/x.mp4", ago(days=90)),
        stored("clients/x.mp4", ago(days=90)),
    ]
    gone = stored(key, ago(days=31, minutes=1))
    assert list(expired_results([*kept, gone], ago(days=30))) == [gone]


def asset(name, data=None, note=None):
    parts = [(f"assets/{name}/asset.json", note), (f"assets/{name}/data", data)]
    return [stored(key, modified) for key, modified in parts if modified]


@pytest.mark.parametrize(
    ("data", "note", "reason"),
    [
        (None, ago(hours=25), NEVER_UPLOADED),
        (None, ago(hours=23), None),
        (ago(hours=25), None, INCOMPLETE_ASSET),
        (ago(hours=23), None, None),
        (ago(days=8), ago(days=8), OLD_ASSET),
        (ago(days=6), ago(days=6), None),
        (ago(days=6), ago(days=8), None),  # sent long after it was announced: its bytes count
    ],
)
def test_assets_go_for_a_reason(data, note, reason):
    (upload,) = group_by_asset(asset("one", data, note))
    assert removal_reason(upload, set(), NOW, ago(days=7)) == reason


def test_assets_stay_for_jobs_that_wait_and_where_they_are_kept_for_ever():
    (upload,) = group_by_asset(asset("one", ago(days=80), ago(days=80)))
    assert removal_reason(upload, {"one"}, NOW, ago(days=7)) is None
    assert removal_reason(upload, set(), NOW, None) is None


def test_assets_are_put_together_and_foreign_things_left_out():
    foreign = stored("assets/a/other", NOW), stored("assets/x", NOW)
    found = [*asset("a", NOW, NOW), foreign[0], *asset("b", note=NOW), foreign[1]]
    assert [(up.asset, up.data is not None, up.note is not None) for up in group_by_asset(found)] == [
        ("a", True, True),
        ("b", False, True),
    ]


def test_notes_of_avatars_go_when_old_and_their_artefact_is_gone():
    gone, kept, young = (stored(f"avatars/acme/{c * 64}.json", ago(days=40)) for c in "abc")
    young = stored(young.key, ago(days=2))
    foreign = stored("avatars/acme/readme.json", ago(days=40))
    assert list(stale_notes([gone, kept, young, foreign], {"b" * 64}, ago(days=30))) == [gone]


def test_uploads_of_yesterday_have_broken_off():
    begun = [PendingUpload("a", "1", ago(hours=25)), PendingUpload("b", "2", ago(hours=23))]
    assert list(abandoned_uploads(begun, NOW)) == begun[:1]


def test_old_log_files(tmp_path):
    for name, days in (("a.log.1", 40), ("b.log.1", 3)):
        (tmp_path / name).write_text("word")
        os.utime(tmp_path / name, (ago(days=days).timestamp(),) * 2)
    files = [tmp_path / name for name in ("a.log.1", "b.log.1", "gone.log.1")]
    assert list(old_files(files, ago(days=30))) == [(files[0], 4)]


# -- Prefect's database --


def ended(days=40, **more):
    return made(end_time=ago(days=days), **more)


def test_what_nothing_holds_goes():
    runs = [ended(), ended()]
    assert deletable_runs(runs, NOTHING, NOW) == runs


def test_parts_stay_as_long_as_what_they_are_part_of():
    parent, stranger = ended(), uuid4()
    child = ended(tags=[f"{PARENT_TAG}{parent.id}"])
    orphan = ended(tags=[f"{PARENT_TAG}{stranger}"])
    there = RetentionHolds(frozenset({parent.id}), frozenset())
    assert deletable_runs([child, orphan], there, NOW) == [orphan]
    assert deletable_runs([parent, child], there, NOW) == [parent, child]
    assert deletable_runs([child, parent], there, NOW) == [parent]  # the child comes next time


def test_a_parent_that_is_held_holds_its_parts():
    parent = ended()
    child = ended(tags=[f"{PARENT_TAG}{parent.id}"])
    ties = RetentionHolds(frozenset({parent.id}), frozenset({parent.id}))
    assert deletable_runs([parent, child], ties, NOW) == []


def test_attempts_stay_as_long_as_their_job():
    job = ended()
    attempt = ended(tags=[f"job:{job.id}", "event:completed"])
    assert deletable_runs([attempt], RetentionHolds(frozenset({job.id}), frozenset()), NOW) == []
    assert deletable_runs([attempt], NOTHING, NOW) == [attempt]


def test_a_job_of_which_somebody_may_yet_be_told_stays():
    fresh, told = ended(days=3, tags=[NOTIFY_TAG]), ended(days=5, tags=[NOTIFY_TAG])
    quiet = ended(days=3)
    assert deletable_runs([fresh, told, quiet], NOTHING, NOW) == [told, quiet]


def test_what_is_needed_is_named_by_what_has_not_ended():
    job, batch, source = uuid4(), uuid4(), uuid4()
    unfinished = [
        made(StateType.SCHEDULED, tags=[f"job:{job}"]),
        made(
            StateType.RUNNING, tags=[f"{PARENT_TAG}{batch}"], parameters={"job": {"audio": f"job://{source}"}}
        ),
    ]
    assert referenced_by(unfinished) == {job, batch, source}
    assert all(isinstance(run, UUID) for run in referenced_by(unfinished))


# -- the report, and the pace --


def test_deeds_are_added_up_by_kind():
    deeds = [SweepAction("a", str(number), 10) for number in range(9)] + [SweepAction("b", "x")]
    first, second = summarize(deeds)
    assert (first.what, first.count, first.bytes, first.examples) == ("a", 9, 90, ("0", "1", "2", "3", "4"))
    assert (second.what, second.count, second.bytes, second.examples) == ("b", 1, 0, ("x",))


def test_each_step_is_rested_from(monkeypatch):
    clock = [100.0]
    rested = []
    monkeypatch.setattr("flows.maintenance.context.time.monotonic", lambda: clock[0])
    monkeypatch.setattr("flows.maintenance.context.time.sleep", rested.append)
    pace = Throttle(10, pause_factor=2)
    with pace.throttled():
        clock[0] += 3
    assert rested == [6] and not pace.is_spent
    clock[0] += 7
    assert pace.is_spent
