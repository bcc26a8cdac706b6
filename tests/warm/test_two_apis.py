"""Two API processes on one PostgreSQL: neither knows of the other, and nothing is lost when one dies."""

import asyncio
import signal

import httpx
import pytest
from own_postgres import own_database
from stage import Server, Shim, deploy_jobs

pytestmark = pytest.mark.stack

SPEECH = {"text": "Hello."}


@pytest.fixture(scope="module")
def database():
    with own_database() as address:
        yield address


@pytest.fixture(scope="module")
def server(database, tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("postgres"), database)
    server.start()
    deploy_jobs(server)
    yield server
    server.kill()


@pytest.fixture
def shims(server, tmp_path):
    started = []

    def start():
        started.append(Shim(server, tmp_path))
        return started[-1]

    yield start
    for shim in started:
        if shim.process.poll() is None:
            shim.kill()


async def at_once(urls, count, key):
    async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
        asked = [
            client.post(
                f"{urls[n % len(urls)]}/v1/jobs/speech", json=SPEECH, headers={"Idempotency-Key": key}
            )
            for n in range(count)
        ]
        return await asyncio.gather(*asked)


def test_fifty_at_once_with_one_key_over_two_processes_make_one_job(shims, server):
    pair = [shims(), shims()]
    urls = [shim.wait_ready().url for shim in pair]

    answers = asyncio.run(at_once(urls, 50, "one"))

    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert sum("idempotent-replayed" not in answer.headers for answer in answers) == 1
    jobs = httpx.get(f"{urls[0]}/v1/jobs", trust_env=False).json()["jobs"]
    assert len(jobs) == 1


def test_a_process_that_dies_takes_nothing_with_it(shims):
    first, second = shims().wait_ready(), shims().wait_ready()
    job = asyncio.run(at_once([first.url], 1, "two"))[0].json()["id"]

    first.kill()
    assert httpx.get(f"{second.url}/v1/jobs/{job}", trust_env=False).json()["status"] == "queued"
    third = shims().wait_ready()
    again = asyncio.run(at_once([third.url], 1, "two"))[0]
    assert again.json()["id"] == job and again.headers["idempotent-replayed"] == "true"


def test_a_process_that_is_asked_to_end_answers_what_it_has_taken(shims):
    shim = shims().wait_ready()
    job = asyncio.run(at_once([shim.url], 1, "three"))[0].json()["id"]

    async def end_while_waiting():
        async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
            headers = {"Prefer": "wait=3"}
            waiting = asyncio.create_task(client.get(f"{shim.url}/v1/jobs/{job}", headers=headers))
            await asyncio.sleep(1)
            shim.process.send_signal(signal.SIGTERM)
            return await waiting

    assert asyncio.run(end_while_waiting()).json()["status"] == "queued"
    assert shim.process.wait(20) in {0, -signal.SIGTERM}
    assert '"status": 200' in shim.log.read_text()
