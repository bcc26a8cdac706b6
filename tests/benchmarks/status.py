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

for folder in ("warm", "support"):
    sys.path.append(str(Path(__file__).resolve().parents[1] / folder))

JOBS = 20
READERS = 8
SECONDS = 5.0
PACE = 300
BURST = 200


class Reader:
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


async def as_fast_as_it_goes(read, ids):
    """Return reads per second with 8 concurrent readers over all jobs in turn."""
    done, end = 0, time.monotonic() + SECONDS

    async def reader(first):
        nonlocal done
        number = first
        while time.monotonic() < end:
            await read(ids[number % len(ids)])
            number, done = number + 1, done + 1

    began = time.monotonic()
    await asyncio.gather(*(reader(n) for n in range(READERS)))
    return done / (time.monotonic() - began)


async def at_a_pace(read, ids):
    """Return the sorted milliseconds of each read at a constant rate of 300 reads/s."""
    took, began = [], time.monotonic()

    async def once(number):
        due = began + number / PACE
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        asked = time.monotonic()
        await read(ids[number % len(ids)])
        took.append(1000 * (time.monotonic() - asked))

    await asyncio.gather(*(once(n) for n in range(int(PACE * SECONDS))))
    return sorted(took)


async def burst(client, url):
    """Submit the burst; return the seconds taken, the jobs listed afterwards, and the jobs submitted."""
    began = time.monotonic()
    limit = asyncio.Semaphore(READERS)

    async def submit():
        async with limit:
            answer = await client.post(
                f"{url}/v1/jobs/speech", json={"text": "Hi.", "control": {"tags": ["burst"]}}
            )
            return answer.raise_for_status().json()["id"]

    made = set(await asyncio.gather(*(submit() for _ in range(BURST))))
    seconds, known, cursor = time.monotonic() - began, set(), None
    while True:
        query = {"tag": "burst", "limit": 100} | ({"cursor": cursor} if cursor else {})
        page = (await client.get(f"{url}/v1/jobs", params=query)).json()
        known |= {job["id"] for job in page["jobs"]}
        if (cursor := page["next_cursor"]) is None:
            return seconds, len(made & known), len(made)


async def measure(server, url):
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_URL, temporary_settings
    from prefect.states import Running

    from api.prefect_runs import PrefectRuns

    with temporary_settings({PREFECT_API_URL: server.url}):
        runs = PrefectRuns()
        limits = httpx.Limits(max_connections=64)
        async with (
            get_client() as prefect,
            httpx.AsyncClient(trust_env=False, timeout=60, limits=limits) as client,
        ):
            ids = []
            for _ in range(JOBS):
                answer = await client.post(f"{url}/v1/jobs/speech", json={"text": "Hello."})
                ids.append(UUID(answer.json()["id"]))
                await prefect.set_flow_run_state(ids[-1], Running(), force=True)

            through_the_api = Reader(url)
            direct = await as_fast_as_it_goes(runs._read, ids)
            cached = await as_fast_as_it_goes(through_the_api, ids)
            took = await at_a_pace(through_the_api, ids)
            seconds, known, made = await burst(client, url)
        await runs.close()
    return direct, cached, took, (seconds, known, made)


def main():
    from stage import Server, Shim, deploy_jobs

    with tempfile.TemporaryDirectory() as name:
        server = Server(Path(name))
        server.start()
        shim = None
        try:
            deploy_jobs(server)
            shim = Shim(server, Path(name)).wait_ready()
            direct, cached, took, (seconds, known, made) = asyncio.run(measure(server, shim.url))
        finally:
            if shim:
                shim.kill()
            server.kill()
    rates = f"{direct:.0f} reads/s from Prefect, {cached:.0f} through the API"
    print(f"{JOBS} running jobs, {READERS} readers: {rates}: {cached / direct:.1f}x (bar: 10)")
    p50, p99 = statistics.median(took), took[int(0.99 * len(took))]
    print(f"at {PACE} reads/s: p50 {p50:.1f} ms (target: 5), p99 {p99:.1f} ms (target: 50)")
    print(f"{made} jobs submitted in {seconds:.1f} s, {known} listed")
    return cached / direct, known == made == BURST


if __name__ == "__main__":
    main()
