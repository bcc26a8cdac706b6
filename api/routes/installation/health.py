"""Routes for liveness, startup, readiness, version and Prometheus metrics."""

from asyncio import gather, to_thread, wait_for
from contextlib import suppress
from importlib.metadata import version

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel

from api.auth.api_keys import PUBLIC
from api.dependencies import AllJobsDep, DeliveriesDep
from api.errors import Problem
from api.http.metrics import Metrics, PoolQueue, WebhookBacklog
from tasks.settings import get_settings
from tasks.storage.store_check import find_store_problem

_QUEUES_LIMIT_S = 5.0
"""Time after which metrics are answered without those of the queues; Prometheus waits ten seconds."""

router = APIRouter(tags=["health"], dependencies=[PUBLIC])


class Health(BaseModel):
    """The readiness report: `ok` or an error message per part."""

    ready: bool
    checks: dict[str, str]


@router.get("/healthz")
async def read_health() -> dict[str, str]:
    """Report that the process responds (liveness); checks nothing else."""
    return {"status": "ok"}


@router.get("/startupz")
async def read_startup() -> dict[str, str]:
    """Report that the process has started; it loads nothing before its first request."""
    return {"status": "ok"}


@router.get("/version")
async def read_version() -> dict[str, str]:
    """Return the installed version."""
    return {"name": "musetalk-flows", "version": version("musetalk-flows"), "api": "v1"}


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def read_metrics(request: Request, jobs: AllJobsDep, deliveries: DeliveriesDep) -> Response:
    """Return the metrics in Prometheus' text format; those of the queues only if Prefect responds in time."""
    metrics: Metrics = request.app.state.metrics
    queues: tuple[PoolQueue, ...] = ()
    backlog: WebhookBacklog | None = None
    with suppress(Problem, TimeoutError):
        queues, backlog = await wait_for(gather(jobs.queues(), deliveries.backlog()), _QUEUES_LIMIT_S)
    metrics.set_queues(queues)
    metrics.set_webhooks(backlog)
    return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)


@router.get("/readyz", responses={503: {"model": Health}})
async def read_readiness(request: Request, response: Response, jobs: AllJobsDep) -> Health:
    """Report whether jobs can be accepted and run (readiness): Prefect, workers, store and disk space."""
    problems = await jobs.health() | {"store": await to_thread(find_store_problem, get_settings())}
    ready = not any(problems.values())
    for part, problem in problems.items():
        request.app.state.metrics.set_ready(part, ready=problem is None)
    response.status_code = 200 if ready else 503
    return Health(ready=ready, checks={name: problem or "ok" for name, problem in problems.items()})
