"""A fleet: two Prefect servers on one PostgreSQL and one Redis, an API before each, workers on either."""

import shutil
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from chain_stage import Deployed, deploy_all
from own_postgres import own_database
from stage import ASSETS, HTTP, Server, Shim, Worker, eventually
from test_redis import HOST, redis  # noqa: F401  a fixture
from webhook_stage import SECRET

from deployments.provisioning.automations import apply_job_event_automations
from deployments.stack.redis import messaging_environment
from tasks.settings.redis import RedisSettings

pytestmark = [pytest.mark.stack, pytest.mark.slow]
JOBS = 6


@pytest.fixture
def servers(redis, tmp_path):  # noqa: F811
    number = redis.connection_pool.connection_kwargs["db"]
    messages = messaging_environment(RedisSettings(host=HOST, db=number))
    with own_database() as database:
        fleet = []
        for name in ("one", "two"):
            folder = tmp_path / name
            folder.mkdir()
            server = Server(folder, database)
            server.environment |= messages
            server.start()
            fleet.append(server)
        yield fleet
        for server in fleet:
            server.kill()


def test_jobs_of_either_api_are_seen_by_both_and_told_once(servers, receiver, tmp_path):
    first, second = servers
    deploy_all(first)
    with first.client() as client:
        apply_job_event_automations(client)
    for name in ("anna.jpg", "hello.wav"):
        source = ASSETS / "astronaut.jpg" if name.endswith("jpg") else next(ASSETS.glob("sense*.wav"))
        shutil.copy(source, tmp_path / name)
    environment = {
        "MUSETALK_HOME": str(tmp_path / "home"),
        "MUSETALK_STORE__LOCAL_ROOTS": str(tmp_path),
        "MUSETALK_STORE__MIN_FREE_BYTES": "0",
        "MUSETALK_WORKER__PRELOAD": "",
        "MUSETALK_EGRESS__ALLOW_HTTP": "true",
        "MUSETALK_EGRESS__ALLOWED_HOSTS": receiver.host,
        "MUSETALK_WEBHOOK__SECRETS": SECRET,
        "PREFECT_LOCAL_STORAGE_PATH": str(tmp_path / "results"),
        "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",
    }
    (tmp_path / "home").mkdir()
    workers = [
        Worker(Deployed(first, "gpu"), tmp_path, **environment).start(),
        Worker(Deployed(second, "light"), tmp_path, **environment).start(),
    ]
    apis = [Shim(server, tmp_path, **environment).wait_ready() for server in servers]
    job = {
        "video": f"file://{tmp_path}/anna.jpg",
        "audio": f"file://{tmp_path}/hello.wav",
        "engine": "fake",
        "control": {"notify": {"url": receiver.url}},
    }

    def submit(number):
        # the same key at both: one job
        headers = {"Idempotency-Key": f"fleet-{number // 2}"}
        url = f"{apis[number % 2].url}/v1/jobs/lip_sync"
        return httpx.post(url, json=job, headers=headers, trust_env=False, timeout=60).json()["id"]

    def status(api, run):
        return HTTP.get(f"{api.url}/v1/jobs/{run}", timeout=30).json()["status"]

    try:
        with ThreadPoolExecutor(4) as pool:
            runs = set(pool.map(submit, range(2 * JOBS)))
        assert len(runs) == JOBS
        for run in runs:
            eventually(lambda run=run: status(apis[0], run) == "succeeded", 120, 0.2)
            eventually(lambda run=run: status(apis[1], run) == "succeeded", 3, 0.1)
        eventually(lambda: len({got.id for got in receiver.got}) == JOBS, 60, 0.2)
        assert len(receiver.got) == JOBS
    finally:
        for api in apis:
            api.kill()
        for worker in workers:
            worker.stop()
