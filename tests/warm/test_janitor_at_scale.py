"""A database of either kind with thousands of old runs: the janitor bounds it, and readers hardly notice."""

import asyncio
import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from statistics import median, quantiles

import pytest
from old_runs import TABLES, count_rows, write_runs
from own_postgres import own_database
from prefect_settings import prefect_settings
from stage import Server, deploy_jobs

from api.jobs.model import JobFilter
from api.orchestrator.job_store import PrefectJobStore

pytestmark = [pytest.mark.stack, pytest.mark.slow]

OLD, YOUNG = {"postgresql": 20_000, "sqlite": 4_000}, 200
"""By kind of database."""
WHOLE = 0.05
"""The share of old runs that have all that a job has; the others are like those of chores."""
KEPT_DAYS = 30

MEASURED = 8
"""Rounds beside which lists are read, each after some reading alone: the machine has other things to do."""

# as the light pool's worker would run it, a round for each line that is sent; "fast" is without rests
JANITOR = """
import json, sys, time
from flows.janitor import janitor
from flows.schemas.maintenance import JanitorJob
from flows.maintenance import finished_runs
from flows.maintenance.context import Throttle

print("ready", flush=True)
for line in sys.stdin:
    if line.strip() == "fast":
        finished_runs.Throttle = lambda _: Throttle(60, pause_factor=0)
    began = time.monotonic()
    sweeps = {sweep.what: sweep.count for sweep in janitor(JanitorJob()).sweeps}
    told = {"removed": sweeps.get(finished_runs.OLD_RUN, 0), "seconds": time.monotonic() - began}
    print(json.dumps(told), flush=True)
"""


class Janitor:
    """The janitor in a process of its own."""

    def __init__(self, folder, environment):
        self.process = subprocess.Popen(
            [sys.executable, "-c", JANITOR],
            env=environment,
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout.readline() == "ready\n"

    def round(self, how="usual"):
        self.process.stdin.write(f"{how}\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def round_beside(self, work):
        """Run one round during `work`, which gets a function that tells whether the round is over."""
        with ThreadPoolExecutor(1) as pool:
            going = pool.submit(self.round)
            return work(lambda _: going.done()), going.result()


@pytest.fixture(scope="module", params=OLD)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def database(kind):
    """Address for the server; None for a file of SQLite's in its home."""
    with own_database() if kind == "postgresql" else nullcontext() as address:
        yield address


@pytest.fixture(scope="module")
def server(database, tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("janitor"), database)
    server.start()
    deploy_jobs(server)
    yield server
    server.kill()


@pytest.fixture(scope="module")
def address(server, database):
    """Address for the test itself."""
    return (database or f"sqlite:///{server.folder}/prefect/prefect.db").replace("+asyncpg", "")


def read_lists(until, pause_s=0.05):
    """Seconds that each read of the newest jobs took, uncached, one after another."""

    async def read():
        runs, took = PrefectJobStore(), []
        try:
            while not until(took):
                began = time.perf_counter()
                page = await runs.find(JobFilter(limit=20))
                took.append(time.perf_counter() - began)
                assert len(page.jobs) == 20
                await asyncio.sleep(pause_s)
        finally:
            await runs.close()
        return took

    return asyncio.run(read())


def in_ms(took):
    """Median and 95th percentile."""
    return [round(1000 * value, 1) for value in (median(took), quantiles(took, n=20)[-1])]


def test_the_database_stays_bounded_and_quick(server, address, kind, tmp_path):
    count = OLD[kind]
    write_runs(address, days=KEPT_DAYS + 1, count=count, share=WHOLE, apart_s=60)
    write_runs(address, days=0, count=YOUNG, share=1, apart_s=3600)
    before = count_rows(address, KEPT_DAYS)
    assert before["flow_run"] == (count, YOUNG) and all(before[table][0] >= count * WHOLE for table in TABLES)

    environment = server.environment | {
        "MUSETALK_HOME": str(tmp_path / "home"),
        "MUSETALK_STORE__MIN_FREE_BYTES": "0",
        "MUSETALK_RETENTION__JOBS_DAYS": str(KEPT_DAYS),
        "PREFECT_LOGGING_TO_API_ENABLED": "false",
    }
    janitor = Janitor(tmp_path, environment)
    alone, during, rounds = [], [], []
    try:
        with prefect_settings(api={"url": server.url}):
            read_lists(lambda took: len(took) == 5)
            for _ in range(MEASURED):
                alone += read_lists(lambda took: len(took) == 40)
                took, done = janitor.round_beside(read_lists)
                during += took
                rounds.append(done)
        told = {
            "alone_ms": in_ms(alone),
            "during_ms": in_ms(during),
            "reads": (len(alone), len(during)),
            "removed": [done["removed"] for done in rounds],
            "seconds": [round(done["seconds"], 1) for done in rounds],
        }
        print(json.dumps(told), flush=True)
        while rounds[-1]["removed"]:
            rounds.append(janitor.round("fast"))
    finally:
        janitor.process.kill()
        janitor.process.wait()

    assert sum(done["removed"] for done in rounds) == count
    # logs go later, by the server itself, a run at a time; without rests they lag behind
    left = [count_rows(address, KEPT_DAYS)["log"][0]]
    while left[-1]:
        time.sleep(10)
        left.append(count_rows(address, KEPT_DAYS)["log"][0])
        assert left[-1] == 0 or left[-1] < max(left[-7:-1]), f"logs stay: {left}"
    print(json.dumps({"logs_left_each_10_s": left}), flush=True)
    after = count_rows(address, KEPT_DAYS)
    assert {table: after[table][0] for table in TABLES} == dict.fromkeys(TABLES, 0)
    assert all(after[table][1] >= before[table][1] for table in TABLES)  # the janitor's own runs are new
    assert max(told["seconds"]) < 40  # so long may a webhook have to wait for it, on a busy machine
    assert median(during) < 2 * median(alone)
