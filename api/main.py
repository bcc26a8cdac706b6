"""The FastAPI app of the REST API: `musetalk api`, or `uvicorn --factory api.main:create_app`."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from fastapi import Depends, FastAPI

from api import errors
from api.auth.api_keys import check_access_before_body, require_keys_when_public, require_scopes_on_routes
from api.auth.rate_limits import RateLimiter
from api.auth.upload_limits import UploadLimiter
from api.compat import routes_c3, routes_inference, routes_jobs
from api.docs import page, root, schema
from api.http.cors import allow_origins, require_same_origin
from api.http.json_body import require_storable_json
from api.http.metrics import Metrics
from api.http.path_prefix import PathPrefix
from api.http.request_middleware import RequestMiddleware
from api.http.upload_locks import UploadLocks
from api.routes import (
    asset_files,
    assets,
    avatars,
    batches,
    bucket_events,
    downloads,
    events,
    job_pictures,
    job_requests,
    jobs,
    lineage,
    media_links,
    pipelines,
    schemas,
    verify,
    webhook_deliveries,
)
from api.routes.installation import health, key, models, usage, workers
from api.routes.installation.model_pulls import ModelPulls
from api.routes.resumable_uploads import direct as direct_uploads
from api.routes.resumable_uploads import routes as uploads
from api.studio import routes as studio
from api.studio.policy_reports import PolicyReports
from tasks.catalog.resumable_uploads import RunningHashes
from tasks.settings import Settings, get_settings
from tasks.tracing.hooks import trace_process


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncGenerator[None]:
    yield
    await app.state.model_pulls.stop()
    await app.state.gate.aclose()
    if hasattr(app.state, "runs"):
        await app.state.runs.close()


def create_app() -> FastAPI:
    """
    Create the app. Connections are opened by the first request that needs them.

    Raises:
        PublicWithoutKeys: the settings name a public address and no API key.
        KeyFileError:      the key file cannot be read or is invalid.
        UndeclaredRoute:   a route declares no scope.
    """
    settings = get_settings()
    require_keys_when_public(settings.api)
    trace_process("musetalk-api")
    app = app_with_routes()
    configure(app, settings)
    return app


def app_with_routes() -> FastAPI:
    """
    Create an app with all routes. They do not depend on the settings.

    Raises:
        UndeclaredRoute: a route declares no scope.
    """
    app = FastAPI(
        openapi_tags=schema.TAGS,
        title="musetalk-flows",
        description="Renders lip-synced video, talking portraits and speech as queued jobs.",
        version="1",
        docs_url=None,
        redoc_url=None,
        lifespan=_lifespan,
        # require a JSON Content-Type: a page of another origin can send others without a CORS preflight
        strict_content_type=True,
        dependencies=[Depends(require_same_origin), Depends(require_storable_json)],
    )
    errors.install(app)
    for module in (
        routes_inference,
        routes_c3,
        routes_jobs,
        jobs,
        downloads,
        media_links,
        events,
        webhook_deliveries,
        lineage,
        job_requests,
        job_pictures,
        schemas,
        assets,
        asset_files,
        uploads,
        direct_uploads,
        verify,
        avatars,
        batches,
        pipelines,
        bucket_events,
        models,
        workers,
        usage,
        key,
        health,
    ):
        app.include_router(module.router)
    app.include_router(root.router)
    app.include_router(studio.router)
    schema.install(app)
    page.install(app)
    require_scopes_on_routes(app.routes)
    return app


def configure(app: FastAPI, settings: Settings) -> None:
    """Give an app the state and the middleware that depend on the settings."""
    app.state.metrics, app.state.gate = Metrics(), RateLimiter(settings.api, settings.redis)
    app.state.uploads = UploadLimiter(settings.api.max_open_uploads)
    app.state.model_pulls = ModelPulls()
    app.state.policy_reports = PolicyReports(app.state.metrics.count_policy_report)
    app.state.upload_locks, app.state.upload_hashes = UploadLocks(), RunningHashes()
    app.add_middleware(
        RequestMiddleware,
        settings=settings.api,
        metrics=app.state.metrics,
        check_access=check_access_before_body,
    )
    allow_origins(app, settings.api.allowed_origins)
    if settings.api.root_path:
        app.add_middleware(PathPrefix, prefix=settings.api.root_path)
