"""Status reads through the API against reads from Prefect; a burst of submissions, none lost."""

import asyncio
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from uuid import UUID

import httpx
from figures import record

for folder in ("warm", "support"):
    sys.path.append(str(Path(__file__).resolve().parents[1] / folder))

JOB_COUNT = 20
READER_COUNT = 8
MEASURE_S = 5.0
READS_PER_S = 300
BURST_SIZE = 200


class StatusReader:
    """A minimal HTTP client with connection reuse; a full client would dominate the measurement."""

    def __init__(self, url):
        self.host, port = url.removeprefix("http://").split(":")
        self.port, self.free = int(port), []

    async def __call__(self, job):
        reader, writer = self.free.pop() if self.free else await asyncio.open_connection(self.host, self.port)
        writer.write(f"GET /v1/jobs/{job} HTTP/1.1\r\nHost: {self.host}:{self.port}\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        json.loads(await reader.readexactly(int(length.split(b":")[1])))
        self.free.append((reader, writer))


async def measure_max_rate(read, ids):
    """Return reads per second with 8 concurrent readers over all jobs in turn."""
    done, end = 0, time.monotonic() + MEASURE_S

    async def reader(first):
        nonlocal done
        number = first
        while time.monotonic() < end:
            await read(ids[number % len(ids)])
            number, done = number + 1, done + 1

    began = time.monotonic()
    await asyncio.gather(*(reader(n) for n in range(READER_COUNT)))
    return done / (time.monotonic() - began)


async def measure_latencies(read, ids):
    """Return the sorted milliseconds of each read at a constant rate of 300 reads/s."""
    latencies_ms, began = [], time.monotonic()

    async def once(number):
        due = began + number / READS_PER_S
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        sent = time.monotonic()
        await read(ids[number % len(ids)])
        latencies_ms.append(1000 * (time.monotonic() - sent))

    await asyncio.gather(*(once(n) for n in range(int(READS_PER_S * MEASURE_S))))
    return sorted(latencies_ms)


async def submit_burst(client, url):
    """Submit the burst; return the seconds taken, the jobs listed afterwards, and the jobs submitted."""
    began = time.monotonic()
    limit = asyncio.Semaphore(READER_COUNT)

    async def submit():
        async with limit:
            answer = await client.post(
                f"{url}/v1/jobs/speech", json={"text": "Hi.", "control": {"tags": ["burst"]}}
            )
            return answer.raise_for_status().json()["id"]

    submitted = set(await asyncio.gather(*(submit() for _ in range(BURST_SIZE))))
    seconds, listed, cursor = time.monotonic() - began, set(), None
    while True:
        query = {"tag": "burst", "limit": 100} | ({"cursor": cursor} if cursor else {})
        page = (await client.get(f"{url}/v1/jobs", params=query)).json()
        listed |= {job["id"] for job in page["jobs"]}
        if (cursor := page["next_cursor"]) is None:
            return seconds, len(submitted & listed), len(submitted)


async def measure(server, url):
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_URL, temporary_settings
    from prefect.states import Running

    from api.orchestrator.job_store import PrefectJobStore

    with temporary_settings({PREFECT_API_URL: server.url}):
        runs = PrefectJobStore()
        limits = httpx.Limits(max_connections=64)
        async with (
            get_client() as prefect,
            httpx.AsyncClient(trust_env=False, timeout=60, limits=limits) as client,
        ):
            ids = []
            for _ in range(JOB_COUNT):
                answer = await client.post(f"{url}/v1/jobs/speech", json={"text": "Hello."})
                ids.append(UUID(answer.json()["id"]))
                await prefect.set_flow_run_state(ids[-1], Running(), force=True)

            through_the_api = StatusReader(url)
            prefect_rate = await measure_max_rate(runs._read, ids)
            api_rate = await measure_max_rate(through_the_api, ids)
            latencies_ms = await measure_latencies(through_the_api, ids)
            seconds, listed_count, submitted_count = await submit_burst(client, url)
        await runs.close()
    return prefect_rate, api_rate, latencies_ms, (seconds, listed_count, submitted_count)


def main():
    from stage import Server, Shim, deploy_jobs

    with tempfile.TemporaryDirectory() as name:
        server = Server(Path(name))
        server.start()
        shim = None
        try:
            deploy_jobs(server)
            shim = Shim(server, Path(name)).wait_ready()
            prefect_rate, api_rate, latencies_ms, (seconds, listed_count, submitted_count) = asyncio.run(
                measure(server, shim.url)
            )
        finally:
            if shim:
                shim.kill()
            server.kill()
    rates = f"{prefect_rate:.0f} reads/s from Prefect, {api_rate:.0f} through the API"
    print(
        f"{JOB_COUNT} running jobs, {READER_COUNT} readers: {rates}: {api_rate / prefect_rate:.1f}x (bar: 10)"
    )
    p50, p99 = statistics.median(latencies_ms), latencies_ms[int(0.99 * len(latencies_ms))]
    print(f"at {READS_PER_S} reads/s: p50 {p50:.1f} ms (target: 5), p99 {p99:.1f} ms (target: 50)")
    record(prefect_reads_per_s=prefect_rate, reads_per_s=api_rate, ratio=api_rate / prefect_rate)
    record(p50_ms=p50, p99_ms=p99, submissions_per_s=submitted_count / seconds)
    print(f"{submitted_count} jobs submitted in {seconds:.1f} s, {listed_count} listed")
    return api_rate / prefect_rate, listed_count == submitted_count == BURST_SIZE


if __name__ == "__main__":
    main()
