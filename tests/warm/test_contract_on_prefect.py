"""Generated requests to a running API with a real Prefect server and without workers."""

import itertools
import json
from collections import Counter, defaultdict
from pathlib import Path
from uuid import UUID

import httpx
import pytest
import requests
import schemathesis
from lineages import lineage_of
from made_up_requests import SIGNED, checks, grafter, shut_out, tried
from own_postgres import own_database
from prefect.client.schemas.actions import ArtifactCreate, WorkPoolUpdate
from prefect.states import Completed, Crashed, Failed
from prefect_settings import prefect_settings
from schemathesis.checks import not_a_server_error
from stage import Server, Shim

from api.auth.key_file import ApiKey, generate_key, hash_key, write_keys
from deployments.provisioning.apply import apply
from deployments.work_pools import QUEUE_PRIORITIES
from tasks.settings import Settings
from tasks.storage.folder_store import FolderStore

pytestmark = [pytest.mark.stack, pytest.mark.slow]
NEVER = {
    ("GET", "/readyz"),  # there is no worker
    ("POST", "/v1/jobs/{job_id}/deliveries/{webhook_id}/replay"),
    ("GET", "/v1/avatars/{avatar}"),
    ("DELETE", "/v1/avatars/{avatar}"),
    ("POST", "/v1/assets/direct"),  # the store is a folder
    ("POST", "/v1/assets/direct/multipart"),
    ("GET", "/v1/uploads/{upload_id}/parts"),
    ("GET", "/v1/jobs/{job_id}/thumbnail"),
    ("GET", "/v1/downloads/{job_id}/{name}"),  # signatures are not made up
    ("GET", "/v1/downloads/assets/{asset}"),
    ("GET", "/v1/assets/{asset}"),  # nor ids of uploads
    ("GET", "/v1/assets/{asset}/link"),
    ("GET", "/v1/avatars/{avatar}/picture"),
    ("GET", "/v1/jobs/{job_id}/preview"),  # nothing renders
    ("POST", "/v1/models/{name}/pull"),  # needs the scope admin
    ("DELETE", "/v1/models/{name}/pull"),
    ("GET", "/v1/uploads/{upload_id}"),  # ids of uploads are not made up
    ("HEAD", "/v1/uploads/{upload_id}"),
    ("PATCH", "/v1/uploads/{upload_id}"),
    ("DELETE", "/v1/uploads/{upload_id}"),
}
"""Routes that cannot succeed while no job has run."""
FILE = "hello.bin"
"""A name without a media type: the description has the type of all others in words only."""
OF_COMPLETED = ("/lineage", "/result", "/files/{name}")
"""Ends of the paths that only a completed job has something at."""
ENDED = ("completed", "failed", "crashed", "canceled")


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def database(request):
    """Address of Prefect's PostgreSQL database, or None for SQLite."""
    if request.param == "sqlite":
        yield None
        return
    with own_database() as address:
        yield address


@pytest.fixture(scope="module")
def server(database, tmp_path_factory):
    """A server with everything deployed, and pools that hand out nothing."""
    folder = tmp_path_factory.mktemp("contract")
    server = Server(folder, database)
    server.start()
    with prefect_settings(api={"url": server.url}):
        apply(Settings(home=folder / "home"))
    with server.client() as client:
        for pool in client.read_work_pools():
            client.update_work_pool(pool.name, WorkPoolUpdate(is_paused=True))
    yield server
    server.kill()


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """The headers of two tenants, and the file that knows their keys."""
    file, said = tmp_path_factory.mktemp("keys") / "keys.json", {}
    known = []
    for name in ("anna", "ben"):
        key = generate_key()
        known.append(ApiKey(name=name, sha256=hash_key(key), tenant=name))
        said[name] = {"Authorization": f"Bearer {key}"}
    write_keys(file, known)
    return file, said


@pytest.fixture(scope="module")
def shim(server, keys, tmp_path_factory):
    folder = tmp_path_factory.mktemp("shim")
    shim = Shim(
        server,
        folder,
        MUSETALK_API__KEYS_FILE=str(keys[0]),
        MUSETALK_API__MAX_WAIT_S="0",
        MUSETALK_API__INFERENCE_WAIT_S="0",
        MUSETALK_STORE__MIN_FREE_BYTES="0",
    )
    shim.home = folder
    yield shim.wait_ready()
    shim.kill()


@pytest.fixture
def described(shim):
    return schemathesis.openapi.from_url(f"{shim.url}/openapi.json")


@pytest.fixture
def session():
    with requests.Session() as session:
        session.trust_env = False
        yield session


@pytest.fixture
def jobs(server, shim, keys):
    """One of Anna's jobs in every standing, by its name, and one that consists of others of each kind."""

    def make(path="jobs/speech", **job):
        asked = {**job, "control": {"tags": ["made-up"], "metadata": {"for": "this"}}}
        answer = httpx.post(
            f"{shim.url}/v1/{path}", json=asked, headers=keys[1]["anna"], trust_env=False, timeout=30
        )
        assert answer.status_code == 202, answer.text
        return answer.json()["id"]

    made = {name: make(text="Hello.") for name in ("queued", *ENDED)}
    step = {"name": "speak", "type": "speech", "job": {"text": "Hello."}}
    made["pipeline"] = make("pipelines", steps=[step])
    made["batch"], made["other_batch"] = (
        make("batches", job_type="speech", rows=[step["job"]]) for _ in range(2)
    )
    states = {"completed": Completed(), "failed": Failed(message="no"), "crashed": Crashed()}
    store = FolderStore(shim.home / "store")
    for asset in ("anna", "hello", "words"):
        store.put_bytes(f"assets/{asset}/data", b"0123456789")
        note = {"name": f"{asset}.mp4", "size": 10, "sha256": None, "tenant": "anna"}
        store.put_bytes(f"assets/{asset}/asset.json", json.dumps(note).encode())
    stored = store.put_bytes(f"outputs/{made['completed']}/{FILE}", b"0123456789")
    result = {
        "audio": {"uri": stored.uri, "version": stored.version, "size": 10},
        "name": FILE,
        "duration_s": 0.5,
        "warnings": [],
    }
    with server.client() as client:
        origin = lineage_of(made["completed"]).model_dump(mode="json")
        for key, data in (("result", result), ("lineage", origin)):
            note = ArtifactCreate(
                key=key, type="json", data=json.dumps(data), flow_run_id=UUID(made["completed"])
            )
            client._client.post("/artifacts/", json=note.model_dump(mode="json")).raise_for_status()
        for name, state in states.items():
            client.set_flow_run_state(made[name], state, force=True)
    httpx.delete(f"{shim.url}/v1/jobs/{made['canceled']}", headers=keys[1]["anna"], trust_env=False)
    return made


def about(jobs):
    """A function that has every second request to a job's routes ask for one that there is."""
    turns = itertools.count()

    def aim(case):
        turn = next(turns)
        if "job_id" in (case.path_parameters or {}) and turn % 2:
            # the events of a job that waits for a worker would go on for ever
            live = [job for name, job in jobs.items() if name != "other_batch"]  # kept for its own routes
            live = [jobs["completed"]] if case.path.endswith(OF_COMPLETED) else live
            if case.path == "/job/{job_id}":  # may delete the job
                live = [jobs["failed"], jobs["crashed"]]
            known = [jobs[name] for name in ENDED] if case.path.endswith("/events") else live
            case.path_parameters["job_id"] = known[turn // 2 % len(known)]
            if "name" in case.path_parameters:
                case.path_parameters["name"] = FILE
        elif turn % 2 and (whole := {"pipeline_id", "batch_id"} & set(case.path_parameters or {})):
            (name,) = whole
            pausing = case.path.endswith(("/pause", "/resume"))  # the other one is cancelled on the way
            case.path_parameters[name] = jobs["other_batch" if pausing else name.removesuffix("_id")]
        elif "job_type" in (case.path_parameters or {}) and turn % 2:
            case.path_parameters["job_type"] = "speech"

    return aim


def surprises(shim):
    return [line for line in Path(shim.log).read_text().splitlines() if "unexpected" in line]


def test_who_has_a_key_gets_what_is_described(described, session, shim, keys, jobs):
    aim, graft, seen = about(jobs), grafter(), defaultdict(Counter)

    def check(case):
        aim(case)
        graft(case)
        answer = case.call_and_validate(
            session=session,
            headers=keys[1]["anna"],
            checks=checks(case.path),
            timeout=60,
            allow_redirects=False,
        )
        seen[case.method, case.path][answer.status_code // 100] += 1

    assert tried(described, check, examples=30) == {}
    # what never got past the first look at a request has tried little
    assert {place for place, kinds in seen.items() if not kinds[2] + kinds[3]} <= NEVER
    assert not surprises(shim)


def test_who_has_none_is_told_so(described, session, shim, jobs):
    aim = about(jobs)

    def check(case):
        aim(case)
        assert shut_out(
            case.call_and_validate(session=session, checks=checks(case.path), timeout=60), case.path
        )

    assert tried(described, check, examples=4) == {}
    assert not surprises(shim)


def test_who_guesses_ids_of_another_tenant_finds_nothing(described, session, keys, jobs):
    turns = itertools.cycle(jobs.values())

    def check(case):
        if "job_id" not in (case.path_parameters or {}):
            return
        case.path_parameters["job_id"] = next(turns)
        answer = case.call_and_validate(
            session=session, headers=keys[1]["ben"], checks=[not_a_server_error], timeout=60
        )
        refusals = {400, 404, 405, 413, 415, 422} | ({403} if case.path in SIGNED else set())
        assert answer.status_code in refusals
        # the answer describes the error in the request and reveals nothing of the job
        assert "Hello" not in answer.text and "made-up" not in answer.text

    assert tried(described, check, examples=12) == {}


def test_nobody_took_the_jobs(server):
    """Else what is above has tried another system than it says."""
    with server.client() as client:
        assert {pool.name for pool in client.read_work_pools() if pool.is_paused} == {"gpu", "light"}
        assert not [run for run in client.read_flow_runs() if run.start_time and run.state.is_running()]
        assert set(QUEUE_PRIORITIES) <= {
            queue.name for queue in client.read_work_queues(work_pool_name="gpu")
        }
