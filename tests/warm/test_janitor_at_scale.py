"""A database with 20,000 old runs: the janitor keeps it bounded, and readers hardly notice."""

import asyncio
import json
import subprocess
import sys
import time
from statistics import median, quantiles

import pytest
from old_runs import TABLES, count_rows, write_runs
from own_postgres import own_database
from prefect.settings import PREFECT_API_URL, temporary_settings
from stage import Server, deploy_jobs, eventually

from api.prefect_runs import PrefectRuns
from api.runs import Wanted

pytestmark = [pytest.mark.stack, pytest.mark.slow]

OLD, YOUNG = 20_000, 200
WHOLE = 0.05
"""The share of old runs that have all that a job has; the others are like those of chores."""
KEPT_DAYS = 30

# as the light pool's worker would run it, every few minutes; here without the minutes between
JANITORS = """
import json, time
from flows.janitor import janitor
from flows.schemas import JanitorJob
from flows.sweeps.runs import OLD_RUN

while True:
    began = time.monotonic()
    sweeps = {sweep.what: sweep.count for sweep in janitor(JanitorJob()).sweeps}
    print(json.dumps({"removed": sweeps.get(OLD_RUN, 0), "seconds": time.monotonic() - began}), flush=True)
    if not sweeps.get(OLD_RUN):
        break
"""


@pytest.fixture(scope="module")
def database():
    with own_database() as address:
        yield address


@pytest.fixture(scope="module")
def address(database):
    return database.replace("+asyncpg", "")


@pytest.fixture(scope="module")
def server(database, tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("janitor"), database)
    server.start()
    deploy_jobs(server)
    yield server
    server.kill()


def read_lists(until, pause_s=0.05):
    """Seconds that each read of the newest jobs took, uncached, one after another."""

    async def read():
        runs, took = PrefectRuns(), []
        try:
            while not until(took):
                began = time.perf_counter()
                page = await runs.find(Wanted(limit=20))
                took.append(time.perf_counter() - began)
                assert len(page.runs) == 20
                await asyncio.sleep(pause_s)
        finally:
            await runs.close()
        return took

    return asyncio.run(read())


def test_the_database_stays_bounded_and_quick(server, address, tmp_path):
    write_runs(address, days=KEPT_DAYS + 1, count=OLD, share=WHOLE, apart_s=60)
    write_runs(address, days=0, count=YOUNG, share=1, apart_s=3600)
    before = count_rows(address, KEPT_DAYS)
    assert before["flow_run"] == (OLD, YOUNG) and all(before[table][0] > OLD * WHOLE for table in TABLES)

    environment = server.environment | {
        "MUSETALK_HOME": str(tmp_path / "home"),
        "MUSETALK_STORE__MIN_FREE_BYTES": "0",
        "MUSETALK_RETENTION__JOBS_DAYS": str(KEPT_DAYS),
        "PREFECT_LOGGING_TO_API_ENABLED": "false",
    }
    with temporary_settings({PREFECT_API_URL: server.url}):
        read_lists(lambda took: len(took) == 5)
        alone = read_lists(lambda took: len(took) == 60)
        process = subprocess.Popen(
            [sys.executable, "-c", JANITORS], env=environment, cwd=tmp_path, stdout=subprocess.PIPE, text=True
        )
        try:
            time.sleep(8)  # until it has imported everything
            during = read_lists(lambda _: process.poll() is not None)
        finally:
            process.kill()
            said = process.communicate()[0].splitlines()

    rounds = [json.loads(line) for line in said]
    told = {
        "rounds": len(rounds),
        "removed": sum(found["removed"] for found in rounds),
        "longest_round_s": max(found["seconds"] for found in rounds),
        "alone_ms": [round(1000 * value, 1) for value in (median(alone), quantiles(alone, n=20)[-1])],
        "during_ms": [round(1000 * value, 1) for value in (median(during), quantiles(during, n=20)[-1])],
        "reads": (len(alone), len(during)),
    }
    print(json.dumps(told))
    assert process.returncode == 0 and rounds[-1]["removed"] == 0
    assert told["removed"] == OLD
    assert max(found["seconds"] for found in rounds) < 40  # what else the light pool has to do, waits so long
    # logs go a little later, by the server itself
    eventually(lambda: count_rows(address, KEPT_DAYS)["log"][0] == 0, 60, 1)
    after = count_rows(address, KEPT_DAYS)
    assert {table: after[table][0] for table in TABLES} == dict.fromkeys(TABLES, 0)
    assert all(after[table][1] >= before[table][1] for table in TABLES)  # the janitor's own runs are new
    assert median(during) < 2 * median(alone)
