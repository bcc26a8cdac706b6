"""The REST API: `musetalk api`, or `uvicorn --factory api.main:create_app`."""

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
from api.gate import Gate
from api.keys import require_keys_when_public, require_scopes_on_routes
from api.metrics import Metrics
from api.origins import allow_origins, require_own_page
from api.wire import Wire
from api.writable import require_writable
from tasks.settings import get_settings


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncGenerator[None]:
    yield
    if hasattr(app.state, "runs"):
        await app.state.runs.close()


def create_app() -> FastAPI:
    """
    Build the app; nothing happens at import time and nothing is connected before the first request.

    Raises:
        PublicWithoutKeys: the settings would open the API to other computers without asking for keys.
        UndeclaredRoute:   a route was added without a scope.
    """
    settings = get_settings()
    require_keys_when_public(settings.api)
    app = FastAPI(
        openapi_tags=openapi.TAGS,
        title="musetalk-flows",
        description="Rendering of talking people: lip-synced video, talking portraits, speech.",
        version="1",
        docs_url=None,
        redoc_url=None,
        lifespan=_lifespan,
        # a page of another origin must not learn what a body is by guessing: JSON is what says it is JSON
        strict_content_type=True,
        dependencies=[Depends(require_own_page), Depends(require_writable)],
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
    app.state.metrics, app.state.gate = Metrics(), Gate(settings.api)
    app.add_middleware(Wire, upload_limit=settings.api.max_upload_bytes, metrics=app.state.metrics)
    allow_origins(app, settings.api.allowed_origins)
    return app
