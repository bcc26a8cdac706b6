"""What the processes of a system have set, on one machine or many."""

from pathlib import Path

from deployments.messaging import messaging_environment
from deployments.results import results_block
from tasks.settings import Settings

HEARTBEAT_S = 10
SILENT = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_TELEMETRY_ENABLE_RESOURCE_METRICS": "false",
}
"""No process of ours reports to anybody."""

SERVICE_INTERVALS = {
    "PREFECT_SERVER_SERVICES_CANCELLATION_CLEANUP_LOOP_SECONDS": "60",
    "PREFECT_SERVER_SERVICES_CLEANUP_RECONCILER_LOOP_SECONDS": "60",
    "PREFECT_SERVER_SERVICES_FOREMAN_LOOP_SECONDS": "30",
    "PREFECT_SERVER_SERVICES_PAUSE_EXPIRATIONS_LOOP_SECONDS": "60",
    "PREFECT_SERVER_SERVICES_REPOSSESSOR_LOOP_SECONDS": "30",
    "PREFECT_SERVER_SERVICES_SCHEDULER_RECENT_DEPLOYMENTS_LOOP_SECONDS": "15",
    "PREFECT_SERVER_EVENTS_PROACTIVE_GRANULARITY": "PT15S",
}
"""Intervals of the server's background services, in seconds; none of them is on the path of a job."""


def scratch(settings: Settings) -> Path:
    """Return the folder of temporary files: must exist, or the system's is used."""
    return settings.home / "tmp"


def server_environment(settings: Settings) -> dict[str, str]:
    """
    Return what every Prefect server has set; its database is named by Prefect's own variable.

    Args:
        settings: where it keeps its files, and the Redis it may use.

    Raises:
        RedisNotInstalled: a Redis is named, but what speaks to it is missing.
    """
    return {
        **SILENT,
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        # every page of the second one asks its makers' analytics for settings, whatever is switched off
        "PREFECT_SERVER_UI_V2_ENABLED": "false",
        # the default, *, lets every page in a browser that reaches the port read all jobs and start runs
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": "",
        # a server writes its pages once; where the packages lie may not be its to write
        "PREFECT_SERVER_UI_STATIC_DIRECTORY": str(settings.prefect_home / "ui"),
        "PREFECT_SERVER_SERVICES_LATE_RUNS_ENABLED": "false",  # writes a state per queued job, for nothing
        **SERVICE_INTERVALS,
        # the janitor removes runs, by our rules; what it may leave behind goes here
        "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,orphans",
        "PREFECT_SERVER_EVENTS_RETENTION_PERIOD": "P2D",
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
        **messaging_environment(settings.redis),
    }


def own_pages(port: int) -> dict[str, str]:
    """
    Let a server's own pages use it by either name of this computer.

    They ask for 127.0.0.1 where they are opened as localhost, too.

    Args:
        port: the server's.
    """
    return {"PREFECT_SERVER_CORS_ALLOWED_ORIGINS": f"http://127.0.0.1:{port},http://localhost:{port}"}


def worker_environment(settings: Settings) -> dict[str, str]:
    """
    Return what every worker and run needs to have set.

    Args:
        settings: where results are stored.
    """
    block = results_block(settings)
    return {
        **SILENT,
        "PREFECT_WORKER_HEARTBEAT_SECONDS": str(HEARTBEAT_S),
        # fallback only: the warm worker receives events and knows when the next run is due
        "PREFECT_WORKER_QUERY_SECONDS": "15",
        "PREFECT_WORKER_PREFETCH_SECONDS": "0",
        # the default, pickle, runs code of whoever can write there
        "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",
        "PREFECT_RESULTS_LOCAL_STORAGE_PATH": str(settings.home / "results"),
        # of its own: what several users of a computer keep in /tmp gets into each other's way
        "TMPDIR": str(scratch(settings)),
        **({"PREFECT_RESULTS_DEFAULT_STORAGE_BLOCK": block} if block else {}),
    }


def metrics_environment(port: int | None) -> dict[str, str]:
    """Return what has a worker serve metrics on this port; nothing for none."""
    if port is None:
        return {}
    return {"PREFECT_CLIENT_METRICS_ENABLED": "true", "PREFECT_CLIENT_METRICS_PORT": str(port)}


def health_environment(port: int | None) -> dict[str, str]:
    """Return where a worker says whether it is well: on this port, to its own computer; nothing for none."""
    if port is None:
        return {}
    return {"PREFECT_WORKER_WEBSERVER_HOST": "127.0.0.1", "PREFECT_WORKER_WEBSERVER_PORT": str(port)}
