"""Load test of the whole stack: a burst of jobs, none lost, and status reads while they run."""

import asyncio
import contextlib
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from uuid import UUID

import httpx
from figures import record
from media import long_speech, talking_head
from status import BURST_SIZE, READER_COUNT, READS_PER_S, StatusReader, measure_latencies, measure_max_rate

WATCHED_JOBS = 20
MAX_WAIT_S = 900


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@contextlib.contextmanager
def stack(home):
    """Run `musetalk up` on free ports; yield the URLs of the API and of Prefect."""
    port, prefect = free_port(), free_port()
    command = [sys.executable, "-m", "deployments.cli", "up", "--home", home, "--port", str(port)]
    process = subprocess.Popen(
        [*map(str, command), "--prefect-port", str(prefect)],
        stdout=(home / "up.log").open("wb"),
        stderr=subprocess.STDOUT,
        env=os.environ | {"NO_COLOR": "1"},
    )
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_until(lambda: httpx.get(f"{url}/readyz", trust_env=False, timeout=10).is_success, 180)
        yield url, f"http://127.0.0.1:{prefect}/api"
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


def _wait_until(ready, limit_s):
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        with contextlib.suppress(httpx.HTTPError):
            if ready():
                return
        time.sleep(0.5)
    raise TimeoutError("the stack did not become ready")


async def upload_asset(client, url, path):
    answer = await client.post(f"{url}/v1/assets", files={"file": (path.name, path.read_bytes())})
    return answer.raise_for_status().json()["uri"]


async def submit_burst(client, url, job):
    """Submit the burst with 8 concurrent requests; return the ids and the seconds taken."""
    began, limit = time.monotonic(), asyncio.Semaphore(READER_COUNT)

    async def submit():
        async with limit:
            answer = await client.post(f"{url}/v1/jobs/lip_sync", json=job)
            return answer.raise_for_status().json()["id"]

    made = await asyncio.gather(*(submit() for _ in range(BURST_SIZE)))
    return made, time.monotonic() - began


async def read_statuses(client, url):
    """Return the status of every job by id."""
    by_id, cursor = {}, None
    while True:
        query = {"tag": "load", "limit": 200} | ({"cursor": cursor} if cursor else {})
        page = (await client.get(f"{url}/v1/jobs", params=query)).raise_for_status().json()
        by_id |= {job["id"]: job["status"] for job in page["jobs"]}
        if (cursor := page["next_cursor"]) is None:
            return by_id


async def wait_until_ended(client, url):
    """Wait until all jobs have ended; return their statuses."""
    end = time.monotonic() + MAX_WAIT_S
    while time.monotonic() < end:
        by_id = await read_statuses(client, url)
        if not {"queued", "scheduled", "running"} & set(by_id.values()):
            break
        await asyncio.sleep(2)
    return by_id


async def measure(url, prefect, folder):
    from prefect.settings import PREFECT_API_URL, temporary_settings

    from api.orchestrator.job_store import PrefectJobStore

    clip = talking_head(folder / "clip.mp4", 2, size=(320, 240), face_px=120)
    speech = long_speech(folder / "speech.wav", 2)
    limits = httpx.Limits(max_connections=64)
    async with httpx.AsyncClient(trust_env=False, timeout=120, limits=limits) as client:
        job = {
            "video": await upload_asset(client, url, clip),
            "audio": await upload_asset(client, url, speech),
            "engine": "fake",
            "control": {"tags": ["load"]},
        }
        job_ids, seconds = await submit_burst(client, url, job)
        with temporary_settings({PREFECT_API_URL: prefect}):
            runs, through_the_api = PrefectJobStore(), StatusReader(url)
            ids = [
                UUID(one) for one in job_ids[-WATCHED_JOBS:]
            ]  # the last ones: jobs still run while they are read
            prefect_rate = await measure_max_rate(runs._read, ids)
            api_rate = await measure_max_rate(through_the_api, ids)
            latencies_ms = await measure_latencies(through_the_api, ids)
            remaining = (await read_statuses(client, url)).values()
            await runs.close()
        working = sum(status in {"queued", "running"} for status in remaining)
        final_statuses = await wait_until_ended(client, url)
    return (
        seconds,
        (prefect_rate, api_rate, latencies_ms),
        working,
        [final_statuses.get(one, "lost") for one in job_ids],
    )


def main():
    with tempfile.TemporaryDirectory() as name:
        home = Path(name) / "home"
        home.mkdir()
        began = time.monotonic()
        with stack(home) as (url, prefect):
            submit_s, (prefect_rate, api_rate, latencies_ms), working, final_statuses = asyncio.run(
                measure(url, prefect, Path(name))
            )
    succeeded, total_s = sum(status == "succeeded" for status in final_statuses), time.monotonic() - began
    print(
        f"{len(final_statuses)} jobs submitted in {submit_s:.1f} s; {succeeded} succeeded in {total_s:.0f} s"
    )
    rates = f"{prefect_rate:.0f} reads/s from Prefect, {api_rate:.0f} through the API"
    print(f"{WATCHED_JOBS} jobs: {rates}: {api_rate / prefect_rate:.1f}x (bar: 10)")
    p50, p99 = statistics.median(latencies_ms), latencies_ms[int(0.99 * len(latencies_ms))]
    print(f"at {READS_PER_S} reads/s: p50 {p50:.1f} ms (target: 5), p99 {p99:.1f} ms (target: 50)")
    record(prefect_reads_per_s=prefect_rate, reads_per_s=api_rate, ratio=api_rate / prefect_rate)
    record(p50_ms=p50, p99_ms=p99, submissions_per_s=len(final_statuses) / submit_s)
    print(f"{working} jobs were queued or running after the reads")
    return api_rate / prefect_rate, succeeded, working


if __name__ == "__main__":
    main()
