"""Invariants that are checked at the end of a history. Each names its row in docs/promises.md."""

import json
from collections import Counter
from typing import Any

from flows.prefect_state.labels import CHILD_KEY_LABEL, parent_tag
from flows.schemas.webhook import DELIVERED, FINAL_OUTCOME_TAGS, REPLAY, event_tag, job_tag, webhook_id
from simulator.rules import TERMINAL
from simulator.world import World
from tasks.webhooks.retry_schedule import DELAYS_S

CANCELLED_WITHIN_S = 15.0
"""Time after which a job that was cancelled may not end in another way; promised are 5 s on a worker."""
_EVENTS = {"COMPLETED": "completed", "FAILED": "failed", "CRASHED": "failed", "CANCELLED": "canceled"}


def check(world: World, accepted: list[Any]) -> None:
    """Check all promises about what a history has left behind."""
    _check_submissions(world, accepted)
    _check_ends(world, accepted)
    _check_slots(world)
    _check_batches(world, accepted)
    _check_webhooks(world)
    _check_exactly_once(world)


def _flow(world: World, run: Any) -> str:
    return world.server.flows[run.flow_id].name


def _check_submissions(world: World, accepted: list[Any]) -> None:
    texts = Counter(str((run.parameters.get("job") or {}).get("text")) for run in world.server.runs.values())
    for one in accepted:
        if one.kind != "batch" and not one.is_removed and texts[one.marker] != 1:
            world.violate(
                "Submission: each accepted request is one job", f"{one.marker}: {texts[one.marker]} jobs"
            )


def _check_ends(world: World, accepted: list[Any]) -> None:
    for run in world.server.runs.values():
        if run.state_type not in TERMINAL and _flow(world, run) != "notify":
            world.violate(
                "Execution: a job ends, whatever dies",
                f"{_flow(world, run)} {str(run.id)[:8]} is still {run.state_name}",
            )
    for run_id, end in world.monitor.ends.items():
        run = world.server.runs[run_id]
        is_late_stop = run.state_type.value == "CANCELLED" and end.value in {"FAILED", "CRASHED"}
        if run.state_type != end and not is_late_stop:
            world.violate(
                "State of a job: ended states are final",
                f"{_flow(world, run)} was {end.value}, is {run.state_name}",
            )
    for one in accepted:
        run = world.server.runs[one.job_id]
        if one.kind == "plain" and run.state_type.value not in {"COMPLETED", "FAILED", "CRASHED"}:
            world.violate("State of a job", f"{one.marker} was not cancelled and is {run.state_name}")
        ended_at = (run.end_time - world.wall()).total_seconds() + world.loop.now if run.end_time else 0.0
        is_late = one.cancelled_at is not None and ended_at > one.cancelled_at + CANCELLED_WITHIN_S
        if is_late and run.state_type.value != "CANCELLED":
            world.violate(
                "Submission: cancel",
                f"{one.marker} went on for {ended_at - one.cancelled_at:.0f} s and is {run.state_name}",
            )
        if run.state_type.value == "FAILED" and "fails" not in one.marker and one.kind in {"plain", "keyed"}:
            world.violate("State of a job", f"{one.marker} does not fail and is Failed: {run.state.message}")


def _check_slots(world: World) -> None:
    for limit in world.server.limits.values():
        if limit.active_slots:
            world.violate(
                "Execution: slots of a tenant come back", f"{limit.active_slots} of {limit.name} are taken"
            )


def _check_batches(world: World, accepted: list[Any]) -> None:
    for one in accepted:
        if one.kind != "batch":
            continue
        parent = world.server.runs[one.job_id]
        children = [run for run in world.server.runs.values() if parent_tag(parent.id) in run.tags]
        keys = Counter(run.labels.get(CHILD_KEY_LABEL) for run in children)
        if doubled := [key for key, count in keys.items() if count > 1]:
            world.violate(
                "Batches: a child job is created exactly once", f"{one.marker}: {len(doubled)} rows twice"
            )
        if parent.state_type.value == "COMPLETED":
            _check_counts(world, one, children)
        if parent.state_type.value == "FAILED" and not one.is_cancelled:
            world.violate("Batches", f"{one.marker} is Failed: {parent.state.message}")


def _check_counts(world: World, one: Any, children: list[Any]) -> None:
    results = [
        json.loads(artifact.data) if isinstance(artifact.data, str) else artifact.data
        for artifact in world.server.artifacts.values()
        if artifact.flow_run_id == one.job_id and artifact.key == "result"
    ]
    if not results:
        world.violate("Batches: the result reports each row", f"{one.marker} has no result")
        return
    ends = Counter(run.state_type.value for run in children)
    for result in results:
        counted = result["succeeded"] + result["failed"] + result["canceled"] + result["invalid"]
        if result["total"] != one.rows or counted != one.rows:
            world.violate(
                "Batches: the result reports each row", f"{one.marker}: {counted} of {one.rows} rows"
            )
        if result["succeeded"] != ends["COMPLETED"]:
            world.violate(
                "Batches: the result reports each row",
                f"{one.marker}: {result['succeeded']} succeeded, {ends['COMPLETED']} child jobs did",
            )


def due_webhooks(world: World) -> list[tuple[Any, str]]:
    """Return all webhook events that have happened."""
    due: list[tuple[Any, str]] = []
    for run in world.server.runs.values():
        notify = (run.parameters.get("control") or {}).get("notify")
        if not notify or _flow(world, run) in {"notify", "announce"}:
            continue
        events = {"started"} if run.run_count else set()
        if event := _EVENTS.get(run.state_type.value):
            events.add(event)
        due += [(run, event) for event in sorted(events & set(notify["events"]))]
    return due


def _attempts(world: World, run: Any, event: str) -> list[Any]:
    tags = {job_tag(run.id), event_tag(event)}  # pyright: ignore[reportArgumentType]
    return [one for one in world.server.runs.values() if tags <= set(one.tags)]


def open_webhooks(world: World) -> list[str]:
    """Return the webhooks that neither arrived nor have an attempt that is still to come."""
    arrived = {one.webhook_id for one in world.receiver.deliveries if one.accepted}
    missing: list[str] = []
    for run, event in due_webhooks(world):
        if webhook_id(run.id, event) in arrived:  # pyright: ignore[reportArgumentType]
            continue
        attempts = _attempts(world, run, event)
        if not any(one.state_type not in TERMINAL for one in attempts) and not _is_dead(attempts):
            missing.append(f"{event} of {str(run.id)[:8]}")
    return missing


def _is_dead(attempts: list[Any]) -> bool:
    last = max((int(one.parameters["job"]["attempt"]) for one in attempts), default=0)
    return last >= len(DELAYS_S)


def _check_webhooks(world: World) -> None:
    for missing in open_webhooks(world):
        world.violate("Webhooks: the end of a job is announced at least once", f"{missing} was never sent")
    ids: dict[tuple[Any, str], set[str]] = {}
    for one in world.receiver.deliveries:
        ids.setdefault((one.job, one.event), set()).add(one.webhook_id)
        if one.attempt > len(DELAYS_S) + 3:
            world.violate(
                "Webhooks: 10 attempts", f"{one.event} of {str(one.job)[:8]} had attempt {one.attempt}"
            )
        if one.event != "started" and _EVENTS.get(one.job_state) != one.event:
            world.violate(
                "Webhooks: the end of a job is announced",
                f"{one.event} of {str(one.job)[:8]} was sent while the run was {one.job_state}",
            )
        if one.event == "started" and not world.server.runs[one.job].run_count:
            world.violate("Webhooks", f"started of {str(one.job)[:8]} was sent before it had started")
    for (job, event), names in ids.items():
        if len(names) > 1:
            world.violate("Webhooks: one id", f"{event} of {str(job)[:8]} was sent under {len(names)} ids")


def _check_exactly_once(world: World) -> None:
    """Check that an attempt which is recorded as delivered was the last one, except for replays."""
    for run, event in due_webhooks(world):
        attempts = _attempts(world, run, event)
        delivered = [one for one in attempts if DELIVERED in one.tags and REPLAY not in one.tags]
        if len(delivered) > 1:
            world.violate(
                "Webhooks: what has arrived is not sent by a later attempt",
                f"{event} of {str(run.id)[:8]} was delivered {len(delivered)} times",
            )
        first = min((one.end_time for one in delivered if one.end_time), default=None)
        for one in attempts:
            is_later = first is not None and one not in delivered and one.created > first
            # an attempt that has not begun is dropped when it is due
            has_begun = one.state_type in TERMINAL and not FINAL_OUTCOME_TAGS & set(one.tags)
            if is_later and REPLAY not in one.tags and has_begun:
                world.violate("Webhooks", f"{event} of {str(run.id)[:8]} has an attempt after its delivery")
