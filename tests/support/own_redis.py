"""An empty database of the Redis on this machine; who wants it skips by name without one."""

import os
from contextlib import contextmanager

import pytest

HOST = os.environ.get("MUSETALK_TEST_REDIS", "127.0.0.1")


@contextmanager
def own_redis():
    """Choose an empty database, and empty it again at the end; gives its number."""
    pytest.importorskip("prefect_redis", reason="the extra redis is not installed")
    from redis import Redis
    from redis.exceptions import RedisError

    for number in range(1, 16):
        client = Redis(host=HOST, db=number, socket_connect_timeout=2, decode_responses=True)
        try:
            if not client.dbsize():
                break
        except RedisError:
            pytest.skip(f"no Redis answers at {HOST}")
    else:
        pytest.skip(f"no database of the Redis at {HOST} is empty")
    client.set("owner", f"process {os.getpid()}")  # no longer empty for others
    try:
        yield number
    finally:
        client.flushdb()
        client.close()
