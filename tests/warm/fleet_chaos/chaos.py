"""Run jobs on a fleet under a seeded schedule of faults, and check what the guarantees promise of them."""

import contextlib
import os
import random
import signal
import threading
import time
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

from links import linking
from own_postgres import own_database
from own_redis import own_redis
from prefect.client.orchestration import get_client
from prefect_settings import prefect_settings
from receiver import receiving
from stage import HTTP
from standardwebhooks import Webhook
from webhook_stage import SECRET

from fleet_chaos import work
from fleet_chaos.faults import schedule
from fleet_chaos.fleet import Fleet
from fleet_chaos.usage import usage_of
from flows.schemas.webhook import webhook_id

TENANT, LIMIT = "chaos", 3
FREE_AFTER_S = 60.0
ENDED_AFTER_S = 900.0
TOLD_AFTER_S = 420.0
"""A webhook that no automation sent is found by maintenance, which runs every five minutes."""
UNFINISHED = ["SCHEDULED", "PENDING", "RUNNING", "CANCELLING", "PAUSED"]


@dataclass(slots=True)
class Report:
    """Figures of a run, and a line for each broken guarantee."""

    figures: dict[str, object] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)

    def expect(self, holds, line):
        if not holds:
            self.broken.append(line)

    def __str__(self):
        lines = [f"{name}: {value}" for name, value in self.figures.items()]
        return "\n".join([*lines, *(f"BROKEN {line}" for line in self.broken)])


class Watcher:
    """Questions to the servers, past all faults."""

    def __init__(self, url):
        self.url = url

    def post(self, path, body):
        answer = HTTP.post(f"{self.url}{path}", json=body, timeout=60)
        answer.raise_for_status()
        return answer.json()

    def count(self, pool, states):
        body = {"work_pools": {"name": {"any_": [pool]}}}
        return self.post("/flow_runs/count", body | {"flow_runs": {"state": {"type": {"any_": states}}}})

    def runs(self, flow):
        found = []
        while page := self.post(
            "/flow_runs/filter",
            {"flows": {"name": {"any_": [flow]}}, "limit": 200, "offset": len(found), "sort": "ID_DESC"},
        ):
            found += page
        return found

    def taken_slots(self):
        return HTTP.get(f"{self.url}/v2/concurrency_limits/tenant:{TENANT}", timeout=60).json()[
            "active_slots"
        ]


def run_chaos(folder, *, jobs, seconds, seed, idle_s=0.0, say=print):
    """
    Run a number of jobs under the faults of a seed; returns a report.

    Args:
        folder:  of everything that the processes write.
        jobs:    number of jobs.
        seconds: time in which faults begin; submissions take two thirds of it. Less than five: no faults.
        seed:    of the schedule.
        idle_s:  time without jobs before; what it uses is subtracted from the figures of a job.
        say:     called with each line of the log.
    """
    with (
        own_database() as database,
        own_redis() as redis_number,
        linking() as links,
        receiving() as receiver,
    ):
        fleet = Fleet(folder, database, redis_number, links, receiver, tenant=TENANT)
        try:
            fleet.start()
            at_first = usage_of(fleet)
            time.sleep(idle_s)
            before, started = usage_of(fleet), time.monotonic()
            report = _run(fleet, receiver, jobs, seconds, seed, say)
            if not any(member.restarts for member in fleet.members.values()):
                used = usage_of(fleet).since(before)
                if idle_s:
                    used = used.without(before.since(at_first), (time.monotonic() - started) / idle_s)
                report.figures |= used.per(jobs)
            return report
        finally:
            fleet.end()


def _run(fleet, receiver, jobs, seconds, seed, say):
    report, watcher, stop = Report(), Watcher(fleet.server_url), threading.Event()
    with prefect_settings(api={"url": fleet.server_url}), get_client(sync_client=True) as client:
        limit = {"name": f"tenant:{TENANT}", "limit": LIMIT}
        client._client.post("/v2/concurrency_limits/", json=limit).raise_for_status()
    work.put_inputs(fleet.s3(), jobs)
    bodies = [work.job_of(number, fleet.webhook) for number in range(jobs)]
    names = [*fleet.members, "gpu-1.child", "gpu-2.child", "light.child"]
    faults = schedule(seed, seconds, names, sorted(fleet.links))
    say(f"seed {seed}, {jobs} jobs, {len(faults)} faults in {seconds:.0f} s")
    started = time.monotonic()
    with ThreadPoolExecutor(1) as pool:
        try:
            submitting = pool.submit(
                work.submit_all, fleet.api_urls, fleet.api_key, bodies, seconds * 2 / 3, stop
            )
            _inflict(fleet, faults, seed, started, say)
            while not submitting.done():
                fleet.watch()
                time.sleep(0.2)
            ids, repeats = submitting.result()
        finally:
            stop.set()
    calm = time.monotonic()
    report.expect(
        _until(fleet, ENDED_AFTER_S, lambda: not watcher.count("gpu", UNFINISHED)), "jobs did not end"
    )
    ended = time.monotonic()
    say(
        f"jobs ended {ended - calm:.0f} s after the last fault,"
        f" {ended - started:.0f} s after the first submission"
    )
    free = _until(fleet, FREE_AFTER_S, lambda: not watcher.taken_slots())
    report.expect(free, f"{watcher.taken_slots()} slots of the tenant are taken after {FREE_AFTER_S:.0f} s")
    report.figures["slots free after, s"] = round(time.monotonic() - ended, 1)
    _check_jobs(report, fleet, watcher, ids, jobs)
    wanted = {webhook_id(UUID(run), "completed") for run in ids}
    _until(fleet, TOLD_AFTER_S, lambda: wanted <= _arrived(receiver))
    report.figures["webhooks after, s"] = round(time.monotonic() - ended, 1)
    time.sleep(5.0)
    _check_webhooks(report, receiver, wanted)
    report.figures |= {
        "seconds from the first submission to the last end": round(ended - started, 1),
        "jobs/s": round(jobs / (ended - started), 2),
        "repeated submissions": repeats,
        "faults": dict(Counter(fault.kind for fault in faults)),
        "ended by themselves": {name: one.exits for name, one in fleet.members.items() if one.exits},
    }
    return report


def _until(fleet, limit_s, look):
    """Wait until a question is answered with true, while ended processes are started again."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        fleet.watch()
        with contextlib.suppress(OSError, RuntimeError):
            if look():
                return True
        time.sleep(1.0)
    return False


def _inflict(fleet, faults, seed, started, say):
    """Cause the faults in time and end each; returns when all have ended."""
    chance, ends = random.Random(seed), []
    todo = sorted(faults, key=lambda fault: fault.at_s)
    while todo or ends:
        now = time.monotonic() - started
        while todo and todo[0].at_s <= now:
            fault = todo.pop(0)
            say(str(fault))
            if end := _begin(fleet, fault, chance):
                ends.append((now + fault.for_s, end))
        for due in [item for item in ends if item[0] <= now]:
            ends.remove(due)
            due[1]()
        fleet.watch()
        time.sleep(0.1)


def _begin(fleet, fault, chance):
    """Cause a fault; returns what ends it."""
    if fault.kind in {"cut", "freeze"}:
        link = fleet.links[fault.target]
        (link.cut if fault.kind == "cut" else link.freeze)()
        return link.heal
    name, _, is_child = fault.target.partition(".")
    member = fleet.members[name]
    if is_child:
        children = member.children()
        if not children:
            return None
        pid = chance.choice(children)
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL if fault.kind == "kill" else signal.SIGSTOP)
        return None if fault.kind == "kill" else lambda: _continue(pid)
    if fault.kind == "kill":
        member.kill()
        return member.start
    member.signal(signal.SIGSTOP)
    return lambda: member.signal(signal.SIGCONT)


def _continue(pid):
    with contextlib.suppress(OSError):
        os.kill(pid, signal.SIGCONT)


def _check_jobs(report, fleet, watcher, ids, jobs):
    report.expect(len(set(ids)) == jobs, f"{jobs} keys gave {len(set(ids))} jobs")
    runs = watcher.runs("lip_sync")
    states = Counter(run["state_name"] for run in runs)
    report.figures["states of jobs"] = dict(states)
    report.expect(states == {"Completed": jobs}, f"states of jobs: {dict(states)}")
    report.expect({run["id"] for run in runs} == set(ids), "the server has other jobs than the APIs named")
    report.figures["attempts"] = sum(run["run_count"] for run in runs)
    for line in work.wrong_results(fleet.s3(), jobs):
        report.broken.append(line)


def _arrived(receiver):
    return {got.id for got in receiver.got if got.status < 300}


def _check_webhooks(report, receiver, wanted):
    bodies = defaultdict(set)
    for got in receiver.got:
        at = datetime.fromtimestamp(int(got.headers["webhook-timestamp"]), UTC)
        # not `verify`, which refuses what arrived more than five minutes ago
        report.expect(
            Webhook(SECRET).sign(got.id, at, got.body.decode()) in got.headers["webhook-signature"].split(),
            f"the signature of webhook {got.id} is wrong",
        )
        bodies[got.id].add(got.body)
    arrived = _arrived(receiver)
    report.figures["webhooks"] = f"{len(arrived)} in {len(receiver.got)} requests"
    report.expect(
        arrived == wanted, f"{len(wanted - arrived)} webhooks missing, {len(arrived - wanted)} not due"
    )
    report.expect(
        all(len(said) == 1 for said in bodies.values()), "a webhook was repeated with other contents"
    )
