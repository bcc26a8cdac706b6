"""The app on a made-up job system and a folder store in a temporary home."""

import asyncio
import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import uvicorn
from fastapi import FastAPI
from fastapi.testclient import TestClient
from installation_fakes import FakeWorkers, NoThumbnails
from starlette.datastructures import State

from api.auth.api_keys import require_keys_when_public
from api.auth.key_file import ApiKey, generate_key, hash_key, read_keys, write_keys
from api.dependencies import (
    get_bucket_watches,
    get_delivery_store,
    get_job_store,
    get_job_suspender,
    get_thumbnail_store,
    get_worker_store,
)
from api.errors import Problem
from api.http.metrics import PoolQueue, WebhookBacklog
from api.jobs.eta import DurationStats, Eta
from api.jobs.model import (
    DEFAULT_SUBMIT_OPTIONS,
    FINAL_STATUSES,
    JobFilter,
    LogLine,
    LogPage,
    Page,
    QueueEstimate,
    SubmitOptions,
)
from api.jobs.model import Job as Run
from api.main import app_with_routes, configure
from api.orchestrator.bucket_watches import BucketWatch
from flows.prefect_state.run_names import job_run_name
from flows.prefect_state.status import ClientMark, JobError, Progress
from flows.registry import JobType
from flows.schemas.base import JobParameters
from flows.schemas.control import Control
from tasks.settings import get_settings


def place(cursor: str | None) -> int:
    if cursor and not (cursor.isascii() and cursor.isdigit()):
        raise Problem("invalid_input", "Invalid cursor.")
    return int(cursor or 0)


class FakeRuns:
    """Jobs in a dictionary; a test moves them on by hand."""

    def __init__(self) -> None:
        self.jobs: dict[UUID, Run] = {}
        self.created: list[tuple[JobType, JobParameters, str | None]] = []
        self.controls: list[Control] = []
        self.keys: dict[str, UUID] = {}
        self.lines: dict[UUID, list[LogLine]] = {}
        self.on_create: Callable[[Run], Run] = lambda run: run
        self.took: DurationStats | None = None
        self.fault: str | None = None
        self.backlog = WebhookBacklog(0, 0, 0.0)

    async def create(
        self, job_type: JobType, job: JobParameters, options: SubmitOptions = DEFAULT_SUBMIT_OPTIONS
    ) -> Run:
        parameters = job.model_dump(mode="json", exclude_unset=True)
        if options.key in self.keys:
            existing = self.jobs[self.keys[options.key]]
            if existing.parameters != parameters:
                raise Problem("idempotency_mismatch", "This Idempotency-Key was used for another request.")
            return replace(existing, replayed=True)
        self.controls.append(options.control)
        run = Run(
            id=uuid4(),
            type=job_type.name,
            status="queued",
            created=datetime.now(UTC),
            tags=options.tags,
            metadata=options.metadata,
            control=options.control,
            retry_of=options.retry_of,
            parameters=parameters,
            name=job_run_name(job_type.name, job_type.job, parameters, uuid4().hex),
        )
        self.created.append((job_type, job, options.key))
        self.jobs[run.id] = self.on_create(run)
        if options.key is not None:
            self.keys[options.key] = run.id
        return run

    async def read(self, job_id: UUID) -> Run:
        if job_id not in self.jobs:
            raise Problem("not_found", "Job not found")
        return self.jobs[job_id]

    async def cancel(self, job_id: UUID, reason: str = "cancelled") -> Run:
        run = await self.read(job_id)
        if run.status not in FINAL_STATUSES:
            self.jobs[job_id] = replace(run, status="canceled", ended_as=reason)
        return self.jobs[job_id]

    async def mark(self, job_id: UUID, mark: ClientMark) -> None:
        self.jobs[job_id] = replace(await self.read(job_id), mark=mark)

    async def remove(self, job_id: UUID) -> None:
        del self.jobs[job_id]

    async def find(self, job_filter: JobFilter) -> Page:
        start = place(job_filter.cursor)
        fitting = [
            run
            for run in reversed(self.jobs.values())
            if (not job_filter.statuses or run.status in job_filter.statuses)
            and (not job_filter.types or run.type in job_filter.types)
            and set(job_filter.tags) <= set(run.tags)
            and job_filter.tenant in {None, run.control.tenant}
            and job_filter.part_of in {None, run.part_of}
            and (job_filter.search or "").casefold() in run.name.casefold()
        ]
        stop = start + job_filter.limit
        return Page(tuple(fitting[start:stop]), str(stop) if len(fitting) > stop else None)

    async def logs(
        self, job_id: UUID, after: str | None, level: int, limit: int
    ) -> tuple[list[LogLine], str]:
        await self.read(job_id)
        start = place(after)
        lines = [line for line in self.lines.get(job_id, []) if line.level >= level][start : start + limit]
        return LogPage(tuple(lines), str(start + len(lines)))

    async def has_idempotency_key(self, key: str) -> bool:
        return key in self.keys

    async def count_unfinished(self, tenant: str | None) -> int:
        return sum(
            run.status not in FINAL_STATUSES and tenant in {None, run.control.tenant}
            for run in self.jobs.values()
        )

    async def estimate(self, job_type: JobType, control: Control) -> QueueEstimate:
        waiting = await self.count_unfinished(None)
        return QueueEstimate(waiting, self.took, Eta(1.0 + waiting, 2.0 + waiting) if self.took else None)

    async def queues(self) -> tuple[PoolQueue, ...]:
        if self.fault:
            raise Problem("orchestrator_unavailable", self.fault)
        waiting = [run for run in self.jobs.values() if run.status == "queued"]
        running = sum(run.status == "running" for run in self.jobs.values())
        return (PoolQueue("gpu", {"normal": len(waiting)}, running, 7.5 if waiting else 0.0),)

    async def wait_for_change(self, job_id: UUID, limit_s: float) -> None:
        await asyncio.sleep(min(limit_s, 0.02))

    async def health(self) -> dict[str, str | None]:
        return {"prefect": self.fault}

    def add(self, **fields: Any) -> Run:
        run = Run(**({"id": uuid4(), "type": "lip_sync", "status": "queued"} | fields))
        self.jobs[run.id] = run
        return run

    def running(self) -> Run:
        return self.add(status="running", progress=Progress(40.0, "render", 30, 100))

    def failed(
        self, code: str = "no_face", message: str = "No frame shows a face.", retryable: bool = False
    ) -> Run:
        return self.add(status="failed", error=JobError(code, message, retryable))


class FakeHolding:
    """Pauses jobs of the dictionary, and knows the tasks that a test gives it."""

    def __init__(self, runs: FakeRuns) -> None:
        self.runs = runs
        self.known: list[BucketWatch] = []
        self.looked: list[str] = []

    async def pause(self, job_id: UUID) -> None:
        self.runs.jobs[job_id] = replace(self.runs.jobs[job_id], paused=True)

    async def resume(self, job_id: UUID) -> None:
        self.runs.jobs[job_id] = replace(self.runs.jobs[job_id], paused=False)

    async def list_watches(self) -> list[BucketWatch]:
        return self.known

    async def trigger(self, watch: BucketWatch) -> UUID:
        self.looked.append(watch.job.name)
        return uuid4()


class Webhooks:
    """No deliveries, and the backlog that a test sets."""

    def __init__(self, runs: FakeRuns) -> None:
        self.runs = runs

    async def backlog(self) -> WebhookBacklog:
        return self.runs.backlog


@pytest.fixture
def runs() -> FakeRuns:
    return FakeRuns()


@pytest.fixture
def holding(runs: FakeRuns) -> FakeHolding:
    return FakeHolding(runs)


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """A home of its own; settings made after this fixture see it."""
    monkeypatch.setenv("MUSETALK_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MUSETALK_API__INFERENCE_WAIT_S", "5")
    monkeypatch.setenv("MUSETALK_STORE__MIN_FREE_BYTES", "0")
    get_settings.cache_clear()
    yield monkeypatch
    get_settings.cache_clear()


_apps: list[FastAPI] = []


@pytest.fixture
def new_app(environment: pytest.MonkeyPatch) -> Callable[[], FastAPI]:
    """
    Give an app with the settings as they are now, as `create_app` does.

    The routes are kept for later tests: FastAPI prepares them at the first request, which takes 0.3 s.
    """
    numbers = itertools.count()

    def make() -> FastAPI:
        get_settings.cache_clear()
        settings, number = get_settings(), next(numbers)
        require_keys_when_public(settings.api)
        if number == len(_apps):
            _apps.append(app_with_routes())
        app = _apps[number]
        app.state, app.dependency_overrides = State(), {}
        app.user_middleware, app.middleware_stack = [], None
        configure(app, settings)
        return app

    return make


@pytest.fixture
def stores(runs: FakeRuns, holding: FakeHolding) -> dict[Callable[..., Any], Callable[..., Any]]:
    """Dependencies for an app without a Prefect server."""
    return {
        get_job_store: lambda: runs,
        get_job_suspender: lambda: holding,
        get_bucket_watches: lambda: holding,
        get_worker_store: lambda: FakeWorkers(),
        get_thumbnail_store: lambda: NoThumbnails(),
        get_delivery_store: lambda: Webhooks(runs),
    }


@pytest.fixture
def connect(
    stores: dict[Callable[..., Any], Callable[..., Any]], new_app: Callable[[], FastAPI]
) -> Callable[..., TestClient]:
    """Make a client for an app with the settings as they are now."""

    def make(**options: Any) -> TestClient:
        app = new_app()
        app.dependency_overrides |= stores
        return TestClient(app, **options)

    return make


@pytest.fixture
def client(connect: Callable[..., TestClient]) -> TestClient:
    return connect()


@pytest.fixture
def finish(tmp_path: Path, environment: pytest.MonkeyPatch) -> Callable[..., Run]:
    """Let a job end well, with a real file in the store."""
    from tasks.storage.home_store import home_store

    def make(run: Run, name: str = "anna_hello.mp4", content: bytes = b"0123456789", **result: Any) -> Run:
        source = tmp_path / "rendered"
        source.write_bytes(content)
        stored = home_store().upload(source, f"outputs/{run.id}/{name}")
        video = {"uri": stored.uri, "version": stored.version, "size": stored.size}
        facts = {"video": video, "name": name, "duration_s": 2.5, "warnings": []} | result
        return replace(run, status="succeeded", result=facts)

    return make


@pytest.fixture
def finished(runs: FakeRuns, finish: Callable[..., Run]) -> Callable[..., Run]:
    """Add a job that has ended well."""

    def make(**options: Any) -> Run:
        run = finish(runs.running(), **options)
        runs.jobs[run.id] = run
        return run

    return make


@pytest.fixture
def app_of_server(new_app: Callable[[], FastAPI], runs: FakeRuns) -> FastAPI:
    """The app that `server` serves."""
    api = new_app()
    api.dependency_overrides[get_job_store] = lambda: runs
    api.dependency_overrides[get_delivery_store] = lambda: Webhooks(runs)
    return api


@pytest.fixture
def server(app_of_server: FastAPI) -> Iterator[str]:
    """The app on a port of its own, for what speaks HTTP."""
    listener = socket.create_server(("127.0.0.1", 0))
    uv = uvicorn.Server(uvicorn.Config(app_of_server, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=uv.run, kwargs={"sockets": [listener]})
    thread.start()
    while not uv.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    uv.should_exit = True
    thread.join()
    listener.close()


@pytest.fixture
def key_file(environment, tmp_path):
    path = tmp_path / "keys.json"
    environment.setenv("MUSETALK_API__KEYS_FILE", str(path))
    write_keys(path, [])
    return path


@pytest.fixture
def issue(key_file):
    """Put a key into the file; gives the headers that present it."""

    def make(name, **fields):
        key = generate_key()
        write_keys(key_file, [*read_keys(key_file), ApiKey(name=name, sha256=hash_key(key), **fields)])
        return {"Authorization": f"Bearer {key}"}

    return make


@pytest.fixture
def s3_store(environment: pytest.MonkeyPatch, s3_endpoint: str) -> Iterator[str]:
    """Have our own store in a bucket of a real S3 server; gives the bucket's name."""
    from boto3 import Session

    from tasks.cache import artefacts
    from tasks.storage.home_store import _open_store

    for name, value in {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_EC2_METADATA_DISABLED": "true",
        "MUSETALK_S3__ENDPOINT_URL": s3_endpoint,
        "MUSETALK_S3__FORCE_PATH_STYLE": "true",
        "MUSETALK_S3__REGION": "us-east-1",
    }.items():
        environment.setenv(name, value)
    bucket = f"api-{uuid4().hex[:12]}"
    client: Any = Session("test", "test", region_name="us-east-1").client("s3", endpoint_url=s3_endpoint)
    client.create_bucket(Bucket=bucket)
    environment.setenv("MUSETALK_STORE__URL", f"s3://{bucket}/render")
    for remembered in (get_settings, _open_store, artefacts._open_cache):
        remembered.cache_clear()
    yield bucket
    for remembered in (get_settings, _open_store, artefacts._open_cache):
        remembered.cache_clear()
