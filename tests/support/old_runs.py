"""Finished runs as a busy year leaves them in Prefect's database of either kind, written there by SQL."""

import asyncio
import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import asyncpg

TABLES = ("flow_run", "flow_run_state", "task_run", "task_run_state", "log", "artifact")

_RUNS = """
INSERT INTO flow_run (
  name, flow_id, state_type, state_name, run_count, expected_start_time, start_time, end_time,
  state_timestamp, created, total_run_time, parameters, tags
)
SELECT
  'speech-' || n, (SELECT id FROM flow WHERE name = 'speech'),
  CASE WHEN n % 10 = 0 THEN 'FAILED'::state_type ELSE 'COMPLETED'::state_type END,
  CASE WHEN n % 10 = 0 THEN 'Failed' ELSE 'Completed' END,
  1, t, t, t + interval '1 minute', t + interval '1 minute', t, interval '1 minute',
  jsonb_build_object('job', jsonb_build_object('text', repeat('a word ', 40))), '["tenant:acme"]'
FROM (
  SELECT n, now() - $1 * interval '1 day' - n * $2 * interval '1 second' AS t FROM generate_series(1, $3) AS n
) AS made
RETURNING id
"""
_STATES = """
INSERT INTO flow_run_state (flow_run_id, type, name, timestamp, created)
SELECT id, kind::state_type, initcap(kind), start_time + place * interval '1 second', start_time
FROM flow_run,
  unnest(ARRAY['SCHEDULED', 'PENDING', 'RUNNING', state_type::text]) WITH ORDINALITY AS s (kind, place)
WHERE flow_run.id = ANY ($1)
"""
_CURRENT = """
UPDATE flow_run SET state_id = s.id FROM flow_run_state AS s
WHERE s.flow_run_id = flow_run.id AND s.type = flow_run.state_type AND flow_run.id = ANY ($1)
"""
_TASKS = """
INSERT INTO task_run (
  name, flow_run_id, task_key, dynamic_key, state_type, state_name, run_count,
  start_time, end_time, expected_start_time, created
)
SELECT
  'task-' || n, id, 'task-' || n, '0', 'COMPLETED', 'Completed', 1,
  start_time, end_time, start_time, start_time
FROM flow_run, generate_series(1, 3) AS n WHERE flow_run.id = ANY ($1)
"""
_TASK_STATES = """
INSERT INTO task_run_state (task_run_id, type, name, timestamp)
SELECT task_run.id, kind::state_type, initcap(kind), start_time + place * interval '1 second'
FROM task_run, unnest(ARRAY['PENDING', 'RUNNING', 'COMPLETED']) WITH ORDINALITY AS s (kind, place)
WHERE task_run.flow_run_id = ANY ($1)
"""
_LOGS = """
INSERT INTO log (name, level, flow_run_id, message, timestamp)
SELECT
  'prefect.flow_runs', 20, id, 'line ' || n || repeat(' of some length', 6),
  start_time + n * interval '1 second'
FROM flow_run, generate_series(1, 12) AS n WHERE flow_run.id = ANY ($1)
"""
_ARTIFACTS = """
INSERT INTO artifact (key, type, data, flow_run_id, description, created)
SELECT
  key, 'json', to_json(repeat('{"x": 1}', 40)), id, '{"phase": "upload", "done": 1, "total": 1}', end_time
FROM flow_run, unnest(ARRAY['progress', 'timings', 'result', 'error']) AS key WHERE flow_run.id = ANY ($1)
"""


async def _write(address, days, apart_s, count, share):
    connection = await asyncpg.connect(address)
    try:
        async with connection.transaction():
            ids = [row["id"] for row in await connection.fetch(_RUNS, days, apart_s, count)]
            for statement in (_STATES, _CURRENT):
                await connection.execute(statement, ids)
            whole = ids[:: round(1 / share)]
            for statement in (_TASKS, _TASK_STATES, _LOGS, _ARTIFACTS):
                await connection.execute(statement, whole)
        await connection.execute("ANALYZE")
    finally:
        await connection.close()


SQLITE = "sqlite:///"


def _stored(time):
    return time.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")


def _spent(seconds):
    return _stored(datetime.fromtimestamp(seconds, UTC))


def _insert(database, table, rows):
    names = list(rows[0])
    places = ", ".join("?" for _ in names)
    database.executemany(
        f"INSERT INTO {table} ({', '.join(names)}) VALUES ({places})", [tuple(row.values()) for row in rows]
    )


def _states(owner, of, kinds, began):
    """Rows of states, a second apart; returns the id of the last too."""
    rows = [
        {
            "id": str(uuid4()),
            owner: of,
            "type": kind,
            "name": kind.capitalize(),
            "timestamp": _stored(began + timedelta(seconds=place)),
            "created": _stored(began),
        }
        for place, kind in enumerate(kinds, 1)
    ]
    return rows, rows[-1]["id"]


def _whole(run, began):
    """Tasks, logs and artifacts of one run, as the statements for PostgreSQL make them."""
    ended = _stored(began + timedelta(minutes=1))
    tasks = [
        {
            "id": str(uuid4()),
            "name": f"task-{number}",
            "flow_run_id": run,
            "task_key": f"task-{number}",
            "dynamic_key": "0",
            "state_type": "COMPLETED",
            "state_name": "Completed",
            "run_count": 1,
            "total_run_time": _spent(0),
            "start_time": _stored(began),
            "end_time": ended,
            "expected_start_time": _stored(began),
            "created": _stored(began),
        }
        for number in range(1, 4)
    ]
    kinds = ("PENDING", "RUNNING", "COMPLETED")
    states = [row for task in tasks for row in _states("task_run_id", task["id"], kinds, began)[0]]
    logs = [
        {
            "name": "prefect.flow_runs",
            "level": 20,
            "flow_run_id": run,
            "message": f"line {number}{' of some length' * 6}",
            "timestamp": _stored(began + timedelta(seconds=number)),
        }
        for number in range(1, 13)
    ]
    artifacts = [
        {
            "key": key,
            "type": "json",
            "data": json.dumps('{"x": 1}' * 40),
            "flow_run_id": run,
            "description": '{"phase": "upload", "done": 1, "total": 1}',
            "created": ended,
        }
        for key in ("progress", "timings", "result", "error")
    ]
    return {"task_run": tasks, "task_run_state": states, "log": logs, "artifact": artifacts}


def _write_sqlite(path, days, apart_s, count, share):
    parameters, now = json.dumps({"job": {"text": "a word " * 40}}), datetime.now(UTC)
    with closing(sqlite3.connect(path, timeout=60)) as database, database:
        (flow,) = database.execute("SELECT id FROM flow WHERE name = 'speech'").fetchone()
        rows = {table: [] for table in TABLES}
        for number in range(1, count + 1):
            began = now - timedelta(days=days, seconds=number * apart_s)
            ended = _stored(began + timedelta(minutes=1))
            kind, run = "FAILED" if number % 10 == 0 else "COMPLETED", str(uuid4())
            states, last = _states("flow_run_id", run, ("SCHEDULED", "PENDING", "RUNNING", kind), began)
            rows["flow_run_state"] += states
            rows["flow_run"].append(
                {
                    "id": run,
                    "name": f"speech-{number}",
                    "flow_id": flow,
                    "state_type": kind,
                    "state_name": kind.capitalize(),
                    "state_id": last,
                    "run_count": 1,
                    "expected_start_time": _stored(began),
                    "start_time": _stored(began),
                    "end_time": ended,
                    "state_timestamp": ended,
                    "created": _stored(began),
                    "total_run_time": _spent(60),
                    "parameters": parameters,
                    "tags": '["tenant:acme"]',
                }
            )
            if number % round(1 / share) == 0:
                for table, more in _whole(run, began).items():
                    rows[table] += more
        for table, made in rows.items():
            if made:
                _insert(database, table, made)
        database.execute("ANALYZE")


def write_runs(address, *, days, count, share, apart_s=1.0):
    """Write runs that ended so many days ago and before; a share has tasks, logs and artifacts."""
    if address.startswith(SQLITE):
        _write_sqlite(address.removeprefix(SQLITE), days, apart_s, count, share)
    else:
        asyncio.run(_write(address, float(days), float(apart_s), count, share))


_TIMES = {
    "flow_run": "end_time",
    "flow_run_state": "timestamp",
    "task_run": "start_time",
    "task_run_state": "timestamp",
    "log": "timestamp",
    "artifact": "created",
}
"""By table: what says how old a row is."""


def _count_sqlite(path, before_days):
    old = _stored(datetime.now(UTC) - timedelta(days=before_days))
    with closing(sqlite3.connect(path, timeout=60)) as database:
        return {
            table: database.execute(
                f"SELECT count(*) FILTER (WHERE {time} < ?), count(*) FILTER (WHERE NOT {time} < ?)"
                f" FROM {table}",
                (old, old),
            ).fetchone()
            for table, time in _TIMES.items()
        }


async def _count(address, before_days):
    of = {table: f"{time} < now() - $1 * interval '1 day'" for table, time in _TIMES.items()}
    connection = await asyncpg.connect(address)
    try:
        counted = {}
        for table, is_old in of.items():
            row = await connection.fetchrow(
                f"SELECT count(*) FILTER (WHERE {is_old}) AS old,"
                f" count(*) FILTER (WHERE NOT {is_old}) AS young FROM {table}",
                float(before_days),
            )
            counted[table] = (row["old"], row["young"])
        return counted
    finally:
        await connection.close()


def count_rows(address, before_days):
    """Per table: rows from before so many days ago, and younger ones."""
    if address.startswith(SQLITE):
        return _count_sqlite(address.removeprefix(SQLITE), before_days)
    return asyncio.run(_count(address, before_days))
