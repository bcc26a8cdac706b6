"""Modules that a child process imports before its first run: its pool's flows and the default engine."""

from typing import TYPE_CHECKING

from deployments.manifest import load_deployments

if TYPE_CHECKING:
    from tasks.settings import WorkerSettings

_ENGINE_MODULES = {
    "musetalk": "musetalk_core.engines.musetalk.engine",
    "viseme": "musetalk_core.engines.viseme.engine",
}
_ENGINE_JOB_TYPES = frozenset({"lip_sync", "portrait", "prepare_avatar"})


def preload_modules(pool: str, settings: "WorkerSettings") -> tuple[str, ...]:
    """
    Return the modules to import for a work pool: flows, then the engine, then the configured modules.

    Args:
        pool:     name of the work pool; a pool that is not in prefect.yaml has no flows.
        settings: worker settings; its `preload` modules come last.
    """
    deployments = [item for item in load_deployments() if item.pool == pool]
    flows = [item.entrypoint.rpartition(".")[0] for item in deployments]
    engines: list[str] = []
    if _ENGINE_JOB_TYPES & {item.job_type.name for item in deployments}:
        from tasks.models.engine_choice import choose_engine_name

        name, _ = choose_engine_name("auto", "v15", fallback=True)
        engines = [_ENGINE_MODULES[name]] if name in _ENGINE_MODULES else []
    return tuple(dict.fromkeys([*flows, *engines, *settings.preload]))
