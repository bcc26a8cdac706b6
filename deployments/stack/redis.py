"""
Redis as Prefect's message broker, configured by the REDIS_* variables of the older services.

Without Redis, a Prefect server keeps its event queue in memory, which is sufficient for a single server.
Several servers on one database need a shared Redis.
"""

import socket
from importlib.util import find_spec
from typing import Final

from musetalk_core.installation import extras_command
from tasks.settings import Settings
from tasks.settings.legacy_names import is_set_by_legacy_name
from tasks.settings.redis import RedisSettings

REDIS_PACKAGE = "prefect_redis"
_LEASE_FILES: Final = "prefect.server.concurrency.lease_storage.filesystem"
_LOOPBACK_HOSTS: Final = frozenset({"localhost", "127.0.0.1"})
REDIS_TIMEOUT_S = 5.0


class RedisUnusable(Exception):
    """The configured Redis cannot be used; the message says how to fix it."""


class RedisNotInstalled(RedisUnusable):
    """REDIS_HOST is set, but the package prefect-redis is not installed."""


def messaging_environment(redis: RedisSettings) -> dict[str, str]:
    """
    Return the environment variables that make a Prefect server use Redis as its message broker.

    Args:
        redis: Redis settings; without a host the result is empty.

    Raises:
        RedisNotInstalled: the extra `redis` is missing.
    """
    if redis.host is None:
        return {}
    _require_package()
    return {
        "PREFECT_MESSAGING_BROKER": f"{REDIS_PACKAGE}.messaging",
        "PREFECT_MESSAGING_CACHE": f"{REDIS_PACKAGE}.messaging",
        "PREFECT_SERVER_EVENTS_CAUSAL_ORDERING": f"{REDIS_PACKAGE}.ordering",
        **lease_storage_environment(redis),
    }


def lease_storage_environment(redis: RedisSettings) -> dict[str, str]:
    """
    Return the environment variables that name the storage of concurrency leases, for servers and workers.

    A worker finds there the leases of killed workers, if it shares Redis or the computer with the server.

    Args:
        redis: Redis settings; without a host, or without prefect-redis, leases are files in PREFECT_HOME.
    """
    if redis.host is None or find_spec(REDIS_PACKAGE) is None:
        return {"PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": _LEASE_FILES}
    password = redis.password.get_secret_value() if redis.password else ""
    connection = {
        "HOST": redis.host,
        "PORT": str(redis.port),
        "USERNAME": redis.username,
        "PASSWORD": password,
        "DB": str(redis.db),
        "SSL": str(redis.ssl).lower(),
        "PUBLISHER_PUBLISH_EVERY": "1",  # seconds; the default of 10 would delay workers' events
    }
    return {
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": f"{REDIS_PACKAGE}.lease_storage",
        **{f"PREFECT_REDIS_MESSAGING_{name}": value for name, value in connection.items()},
    }


def require_redis(redis: RedisSettings) -> None:
    """
    Check that the configured Redis responds; do nothing if no host is set.

    Raises:
        RedisUnusable: it does not respond within 5 s, refuses the password, or prefect-redis is not
                       installed.
    """
    if redis.host is None:
        return
    _require_package()
    from redis import Redis
    from redis.backoff import NoBackoff
    from redis.exceptions import AuthenticationError, RedisError
    from redis.retry import Retry

    password = redis.password.get_secret_value() if redis.password else ""
    client = Redis(
        host=redis.host,
        port=redis.port,
        db=redis.db,
        username=redis.username,
        password=password,
        ssl=redis.ssl,
        socket_timeout=REDIS_TIMEOUT_S,
        socket_connect_timeout=REDIS_TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
    )
    try:
        client.ping()
    except AuthenticationError:
        raise RedisUnusable(
            f"Redis at {redis.host}:{redis.port} refuses the password."
            " Check REDIS_PASSWORD and REDIS_USERNAME."
        ) from None
    except (RedisError, OSError) as error:
        raise RedisUnusable(
            f"Redis at {redis.host}:{redis.port}, database {redis.db}, cannot be used"
            f" ({type(error).__name__}). Start it, check REDIS_HOST, REDIS_PORT and REDIS_DB, or unset"
            " REDIS_HOST to run without Redis."
        ) from None
    finally:
        client.close()


def without_absent_legacy_redis(settings: Settings) -> tuple[Settings, str | None]:
    """
    Drop a Redis on this computer that only `REDIS_HOST` names and that is not there.

    The environment files of the C3 service end with `REDIS_HOST=localhost`. A stack of one server needs no
    Redis; in a container there is none at that address.

    Returns:
        The settings, and a warning if Redis was dropped.
    """
    redis = settings.redis
    if redis.host not in _LOOPBACK_HOSTS or not is_set_by_legacy_name("redis", "host"):
        return settings, None
    with socket.socket() as probe:
        probe.settimeout(REDIS_TIMEOUT_S)
        if probe.connect_ex(("127.0.0.1", redis.port)) == 0:
            return settings, None
    warning = (
        f"REDIS_HOST={redis.host} is ignored: nothing listens on port {redis.port},"
        " and one server needs no Redis"
    )
    return settings.model_copy(update={"redis": redis.model_copy(update={"host": None})}), warning


def _require_package() -> None:
    if find_spec(REDIS_PACKAGE) is None:
        raise RedisNotInstalled(
            f"REDIS_HOST is set, but prefect-redis is not installed. Run: {extras_command('redis')}. Or unset"
            " REDIS_HOST to run without Redis."
        )
