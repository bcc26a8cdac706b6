"""
FastAPI dependencies of the routes; tests override them.

All are coroutines, because FastAPI runs each plain function in a thread.
"""

from typing import Annotated

from fastapi import Depends, Request

from api.auth.tenant_jobs import TenantJobStore
from api.http.metrics import Metrics
from api.jobs.ancestry import LineageStore
from api.jobs.model import JobStore
from api.orchestrator.bucket_watches import BucketWatchStore, PrefectBucketWatchStore
from api.orchestrator.job_store import PrefectJobStore
from api.orchestrator.lineage import PrefectLineageStore
from api.orchestrator.suspension import JobSuspender, PrefectJobSuspender
from api.orchestrator.thumbnails import PrefectThumbnailStore, ThumbnailStore
from api.orchestrator.webhooks import DeliveryStore, PrefectDeliveryStore
from api.orchestrator.workers import PrefectWorkerStore, WorkerStore


async def get_job_store(request: Request) -> JobStore:
    """Return the app's job store, created on first use."""
    return _prefect_job_store(request)


async def get_delivery_store(request: Request) -> DeliveryStore:
    """Return the webhook deliveries, read over the job store's connection; one store, which has a cache."""
    state = request.app.state
    if not hasattr(state, "deliveries"):
        state.deliveries = PrefectDeliveryStore(_prefect_job_store(request).connection)
    store: PrefectDeliveryStore = state.deliveries
    return store


async def get_job_suspender(request: Request) -> JobSuspender:
    """Return the service that pauses and resumes jobs over the job store's connection."""
    return PrefectJobSuspender(_prefect_job_store(request).connection)


async def get_bucket_watches(request: Request) -> BucketWatchStore:
    """Return the bucket watches (schedules of `render_new`), read over the job store's connection."""
    return PrefectBucketWatchStore(_prefect_job_store(request).connection)


async def get_lineage_store(request: Request) -> LineageStore:
    """Return the provenance manifests, read over the job store's connection."""
    return PrefectLineageStore(_prefect_job_store(request).connection)


async def get_thumbnail_store(request: Request) -> ThumbnailStore:
    """Return the pictures of jobs, read over the job store's connection."""
    return PrefectThumbnailStore(_prefect_job_store(request).connection)


async def get_worker_store(request: Request) -> WorkerStore:
    """Return the workers, read over the job store's connection."""
    return PrefectWorkerStore(_prefect_job_store(request).connection)


def _prefect_job_store(request: Request) -> PrefectJobStore:
    state = request.app.state
    if not hasattr(state, "runs"):
        metrics: Metrics = state.metrics
        state.runs = PrefectJobStore(on_created=metrics.count_job)
    store: PrefectJobStore = state.runs
    return store


AllJobsDep = Annotated[JobStore, Depends(get_job_store)]
"""The job store without tenant restrictions."""


async def get_tenant_job_store(request: Request, jobs: AllJobsDep) -> JobStore:
    """Return the job store restricted to the caller. Fails on a public route, which has no caller."""
    return TenantJobStore(jobs, request.state.caller, request.app.state.gate)


JobsDep = Annotated[JobStore, Depends(get_tenant_job_store)]
"""The job store restricted to the caller's tenant."""
SuspenderDep = Annotated[JobSuspender, Depends(get_job_suspender)]
BucketWatchesDep = Annotated[BucketWatchStore, Depends(get_bucket_watches)]
DeliveriesDep = Annotated[DeliveryStore, Depends(get_delivery_store)]
LineagesDep = Annotated[LineageStore, Depends(get_lineage_store)]
ThumbnailsDep = Annotated[ThumbnailStore, Depends(get_thumbnail_store)]
WorkersDep = Annotated[WorkerStore, Depends(get_worker_store)]
