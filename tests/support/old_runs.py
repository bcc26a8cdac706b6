"""Finished runs as a busy year leaves them in Prefect's database, written there by SQL."""

import asyncio

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


def write_runs(address, *, days, count, share, apart_s=1.0):
    """Write runs that ended so many days ago and before; a share has tasks, logs and artifacts."""
    asyncio.run(_write(address, float(days), float(apart_s), count, share))


async def _count(address, before_days):
    old = "now() - $1 * interval '1 day'"
    of = {
        "flow_run": f"end_time < {old}",
        "flow_run_state": f"timestamp < {old}",
        "task_run": f"start_time < {old}",
        "task_run_state": f"timestamp < {old}",
        "log": f"timestamp < {old}",
        "artifact": f"created < {old}",
    }
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
    return asyncio.run(_count(address, before_days))
