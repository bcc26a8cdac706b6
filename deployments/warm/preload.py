"""Modules that a child process imports before its first run: its pool's flows and the default engine."""

from typing import TYPE_CHECKING

from deployments.catalogue import declared

if TYPE_CHECKING:
    from tasks.settings import WorkerSettings

_ENGINES = {
    "musetalk": "musetalk_core.engines.musetalk.engine",
    "viseme": "musetalk_core.engines.viseme.engine",
}
_NEEDS_ENGINE = frozenset({"lip_sync", "portrait", "prepare_avatar"})


def modules_of(pool: str, settings: "WorkerSettings") -> tuple[str, ...]:
    """
    Return the modules to import for a work pool: flows, then the engine, then the configured modules.

    Args:
        pool:     name of the work pool; a pool that is not in prefect.yaml has no flows.
        settings: worker settings; its `preload` modules come last.
    """
    items = [item for item in declared() if item.pool == pool]
    flows = [item.entrypoint.rpartition(".")[0] for item in items]
    engines: list[str] = []
    if _NEEDS_ENGINE & {item.job_type.name for item in items}:
        from musetalk_core.engines.musetalk.options import Options
        from tasks.models import chosen

        engines = [_ENGINES[name] for name in (chosen("auto", Options()).name,) if name in _ENGINES]
    return tuple(dict.fromkeys([*flows, *engines, *settings.preload]))
