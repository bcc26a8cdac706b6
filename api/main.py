"""The FastAPI app of the REST API: `musetalk api`, or `uvicorn --factory api.main:create_app`."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from fastapi import Depends, FastAPI

from api import (
    docs_page,
    openapi,
    problems,
    routes_assets,
    routes_avatars,
    routes_batches,
    routes_c3,
    routes_deliveries,
    routes_events,
    routes_health,
    routes_jobs,
    routes_lineage,
    routes_pipelines,
    routes_schemas,
    routes_seed,
    routes_watch,
)
from api.gate import RateLimiter
from api.keys import require_keys_when_public, require_scopes_on_routes
from api.metrics import Metrics
from api.origins import allow_origins, require_same_origin
from api.wire import RequestMiddleware
from api.writable import require_storable_json
from tasks.settings import get_settings


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncGenerator[None]:
    yield
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
    app = FastAPI(
        openapi_tags=openapi.TAGS,
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
    problems.install(app)
    for module in (
        routes_seed,
        routes_c3,
        routes_jobs,
        routes_watch,
        routes_deliveries,
        routes_lineage,
        routes_schemas,
        routes_assets,
        routes_avatars,
        routes_batches,
        routes_pipelines,
        routes_events,
        routes_health,
    ):
        app.include_router(module.router)
    app.include_router(routes_seed.open_router)
    openapi.install(app)
    docs_page.install(app)
    require_scopes_on_routes(app.routes)
    app.state.metrics, app.state.gate = Metrics(), RateLimiter(settings.api)
    app.add_middleware(
        RequestMiddleware, upload_limit=settings.api.max_upload_bytes, metrics=app.state.metrics
    )
    allow_origins(app, settings.api.allowed_origins)
    return app
