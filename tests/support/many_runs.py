"""A month of jobs, webhook deliveries and child jobs in Prefect's database, written there by SQL."""

import asyncio
import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import asyncpg

from flows.schemas.webhook import NotifyJob

SQLITE = "sqlite:///"
TENANTS = 20
PERIOD = timedelta(days=30)
CHILDREN_SHARE = 0.02
"""Share of the runs that are children of one batch."""
_TEXT = {"job": {"text": "a word " * 40}}


class Month:
    """Ids and times of the written runs that reads ask for."""

    def __init__(self, count):
        self.count = count
        self.jobs: list[UUID] = []
        self.batch = uuid4()
        self.batch_at = None
        self.tenant = "tenant-7"


def _run(
    flow, due, *, tags=(), key=None, parameters=None, state="COMPLETED", run=None, queue=None, deployment=None
):
    return {
        "id": run or uuid4(),
        "name": f"{flow}-{uuid4().hex[:6]}",
        "flow": flow,
        "deployment": deployment,
        "queue": queue,
        "state_type": state,
        "state_id": uuid4(),
        "due": due,
        "end": due + timedelta(minutes=1),
        "parameters": parameters or _TEXT,
        "tags": list(tags),
        "key": key or uuid4().hex,
    }


def make_month(count):
    """Return the rows of a month, newest first, and what was written."""
    month, rows, now = Month(count), [], datetime.now(UTC) - timedelta(minutes=5)
    step = PERIOD / count
    batch_rows = int(count * CHILDREN_SHARE)
    number = 0
    while len(rows) < count:
        due = now - step * len(rows)
        tenant = f"tenant-{number % TENANTS}"
        in_batch = count // 2 <= len(rows) and batch_rows > 0
        if in_batch and month.batch_at is None:
            month.batch_at = now - step * (len(rows) + batch_rows + 1)
        if in_batch:
            batch_rows -= 1
            rows.append(_run("speech", due, tags=[f"tenant:{tenant}", f"part-of:{month.batch}"]))
            if not batch_rows:
                rows.append(_run("batch", month.batch_at, tags=["tenant:tenant-1", "chain"], run=month.batch))
            continue
        kind = "lip_sync" if number % 3 else "speech"
        tags = [f"tenant:{tenant}", "notify", *(["tag:rare"] if number == count // 3 else [])]
        control = {"tenant": tenant, "notify": {"url": "https://listener.example/hook"}}
        state = "FAILED" if number % 20 == 0 else "COMPLETED"
        job = _run(kind, due, tags=tags, state=state, parameters=_TEXT | {"control": control})
        event = "failed" if state == "FAILED" else "completed"
        attempt = NotifyJob(run=job["id"], event=event)
        rows.append(job)
        rows.append(
            _run(
                "notify",
                due + timedelta(minutes=1, milliseconds=50),
                tags=["housekeeping", *attempt.tags, f"tenant:{tenant}", "delivered"],
                key=attempt.idempotency_key,
                parameters={"job": attempt.model_dump(mode="json"), "control": {"tenant": tenant}},
            )
        )
        month.jobs.append(job["id"])
        number += 1
    return month, rows


def _text(time):
    return time.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")


_RUN_COLUMNS = (
    "id", "name", "flow_id", "deployment_id", "work_queue_id", "state_type", "state_name", "state_id",
    "run_count",
    "expected_start_time", "start_time", "end_time", "state_timestamp", "created", "total_run_time",
    "parameters", "tags", "idempotency_key",
)  # fmt: skip
_STATE_COLUMNS = ("id", "flow_run_id", "type", "name", "timestamp")


def _sqlite_rows(rows, flows, deployments):
    for row in rows:
        run, end = str(row["id"]), _text(row["end"])
        due, state = _text(row["due"]), row["state_type"]
        deployment, queue = deployments.get(row["flow"], (None, None))
        yield (
            (
                run, row["name"], flows[row["flow"]], deployment, queue, state, state.capitalize(),
                str(row["state_id"]), 1,
                due, due, end, end, due, "1970-01-01 00:01:00.000000",
                json.dumps(row["parameters"]), json.dumps(row["tags"]), row["key"],
            ),
            (str(row["state_id"]), run, state, state.capitalize(), end),
        )  # fmt: skip


def _write_sqlite(path, rows):
    with closing(sqlite3.connect(path, timeout=60)) as database, database:
        flows = dict(database.execute("SELECT name, id FROM flow"))
        deployments = {
            name: (deployment, queue)
            for name, deployment, queue in database.execute(
                "SELECT flow.name, deployment.id, deployment.work_queue_id FROM deployment"
                " JOIN flow ON flow.id = deployment.flow_id"
            )
        }
        for start in range(0, len(rows), 10_000):
            pairs = list(_sqlite_rows(rows[start : start + 10_000], flows, deployments))
            for table, columns, number in (
                ("flow_run", _RUN_COLUMNS, 0),
                ("flow_run_state", _STATE_COLUMNS, 1),
            ):
                places = ", ".join("?" for _ in columns)
                database.executemany(
                    f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places})",
                    [pair[number] for pair in pairs],
                )


async def _write_postgres(address, rows):
    connection = await asyncpg.connect(address)
    try:
        flows = {row["name"]: row["id"] for row in await connection.fetch("SELECT name, id FROM flow")}
        deployments = {
            row["name"]: (row["id"], row["work_queue_id"])
            for row in await connection.fetch(
                "SELECT flow.name, deployment.id, deployment.work_queue_id FROM deployment"
                " JOIN flow ON flow.id = deployment.flow_id"
            )
        }
        runs, states = [], []
        for row in rows:
            deployment, queue = deployments.get(row["flow"], (None, None))
            state = row["state_type"]
            runs.append(
                (
                    row["id"], row["name"], flows[row["flow"]], deployment, queue, state, state.capitalize(),
                    row["state_id"], 1, row["due"], row["due"], row["end"], row["end"], row["due"],
                    timedelta(minutes=1), json.dumps(row["parameters"]), json.dumps(row["tags"]), row["key"],
                )
            )  # fmt: skip
            states.append((row["state_id"], row["id"], state, state.capitalize(), row["end"]))
        async with connection.transaction():
            # runs and states refer to each other
            await connection.execute("SET LOCAL session_replication_role = replica")
            for table, columns, values in (
                ("flow_run", _RUN_COLUMNS, runs), ("flow_run_state", _STATE_COLUMNS, states),
            ):  # fmt: skip
                casts = {"state_type": "::state_type", "type": "::state_type"}
                places = ", ".join(
                    f"${number}{casts.get(name, '')}" for number, name in enumerate(columns, 1)
                )
                await connection.executemany(
                    f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places})", values
                )
        await connection.execute("ANALYZE")
    finally:
        await connection.close()


def write_month(address, count):
    """Write so many runs of the last 30 days; the flows must be on the server. Returns the `Month`."""
    month, rows = make_month(count)
    if address.startswith(SQLITE):
        _write_sqlite(address.removeprefix(SQLITE), rows)
    else:
        asyncio.run(_write_postgres(address, rows))
    return month
