"""Environment variables of Prefect servers, workers and runs, on one machine or several."""

from pathlib import Path

from deployments.provisioning.result_storage import results_block_name
from deployments.stack.redis import lease_storage_environment, messaging_environment
from tasks.settings import Settings

WORKER_HEARTBEAT_S = 10
NO_TELEMETRY = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_TELEMETRY_ENABLE_RESOURCE_METRICS": "false",
}
"""Variables that switch off telemetry in every process."""

SERVICE_INTERVALS = {
    "PREFECT_SERVER_SERVICES_CANCELLATION_CLEANUP_LOOP_SECONDS": "60",
    "PREFECT_SERVER_SERVICES_CLEANUP_RECONCILER_LOOP_SECONDS": "60",
    "PREFECT_SERVER_SERVICES_FOREMAN_LOOP_SECONDS": "30",
    "PREFECT_SERVER_SERVICES_PAUSE_EXPIRATIONS_LOOP_SECONDS": "60",
    "PREFECT_SERVER_SERVICES_REPOSSESSOR_LOOP_SECONDS": "30",
    "PREFECT_SERVER_SERVICES_SCHEDULER_RECENT_DEPLOYMENTS_LOOP_SECONDS": "15",
    "PREFECT_SERVER_EVENTS_PROACTIVE_GRANULARITY": "PT15S",
}
"""Intervals of the server's background services; no job waits for any of these services."""


def temp_folder(settings: Settings) -> Path:
    """Return the folder of temporary files. It must exist, or Python falls back to the system's folder."""
    return settings.home / "tmp"


def server_environment(settings: Settings) -> dict[str, str]:
    """
    Return the environment variables of every Prefect server, except for its database.

    Prefect's own variable sets the database.

    Args:
        settings: Prefect's home folder and the Redis settings.

    Raises:
        RedisNotInstalled: a Redis host is set, but prefect-redis is not installed.
    """
    return {
        **NO_TELEMETRY,
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        # every page of the V2 UI contacts its vendor's analytics service, even with telemetry disabled
        "PREFECT_SERVER_UI_V2_ENABLED": "false",
        # with the default, *, any web page in a browser that reaches the port could read jobs and start runs
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": "",
        # a server writes its UI files once, and the folder of the installed packages may be read-only
        "PREFECT_SERVER_UI_STATIC_DIRECTORY": str(settings.prefect_home / "ui"),
        "PREFECT_SERVER_SERVICES_LATE_RUNS_ENABLED": "false",  # would write one unused state per queued job
        **SERVICE_INTERVALS,
        # the janitor deletes runs by the retention settings; Prefect only vacuums events and orphaned records
        "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,orphans",
        "PREFECT_SERVER_EVENTS_RETENTION_PERIOD": "P2D",
        **lease_storage_environment(settings.redis),
        **messaging_environment(settings.redis),
    }


def ui_cors_environment(port: int) -> dict[str, str]:
    """
    Return the CORS setting that lets Prefect's UI call its server as 127.0.0.1 and as localhost.

    The UI sends its requests to 127.0.0.1, also when it was opened as localhost.

    Args:
        port: port of the server.
    """
    return {"PREFECT_SERVER_CORS_ALLOWED_ORIGINS": f"http://127.0.0.1:{port},http://localhost:{port}"}


def worker_environment(settings: Settings) -> dict[str, str]:
    """
    Return the environment variables of every worker and run.

    Args:
        settings: home folder and result storage.
    """
    block = results_block_name(settings)
    return {
        **NO_TELEMETRY,
        "PREFECT_WORKER_HEARTBEAT_SECONDS": str(WORKER_HEARTBEAT_S),
        # fallback only: the warm worker subscribes to events and reads when the next run is due
        "PREFECT_WORKER_QUERY_SECONDS": "15",
        "PREFECT_WORKER_PREFETCH_SECONDS": "0",
        # a server whose Redis or database does not answer responds with 500; a job must not fail by that
        "PREFECT_CLIENT_RETRY_EXTRA_CODES": "408,500,504",
        # unpickling (the default serializer) executes code from anyone who can write to the storage
        "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",
        "PREFECT_RESULTS_LOCAL_STORAGE_PATH": str(settings.home / "results"),
        # not /tmp, where files of several users of a computer conflict
        "TMPDIR": str(temp_folder(settings)),
        **lease_storage_environment(settings.redis),
        **({"PREFECT_RESULTS_DEFAULT_STORAGE_BLOCK": block} if block else {}),
    }


def metrics_environment(port: int | None) -> dict[str, str]:
    """Return the variables that make a worker serve Prometheus metrics on a port; empty for None."""
    if port is None:
        return {}
    return {"PREFECT_CLIENT_METRICS_ENABLED": "true", "PREFECT_CLIENT_METRICS_PORT": str(port)}


def health_environment(port: int | None, host: str) -> dict[str, str]:
    """Return the variables that set address and port of a worker's health check; empty without a port."""
    if port is None:
        return {}
    return {"PREFECT_WORKER_WEBSERVER_HOST": host, "PREFECT_WORKER_WEBSERVER_PORT": str(port)}
