"""Effect of REDIS_* on a Prefect server, and the errors if it cannot be applied."""

import os
import socket
import subprocess
import sys

import pytest

from deployments.stack import redis
from deployments.stack.commands import StackPlan, stack_environment
from deployments.stack.environment import server_environment, worker_environment
from deployments.stack.redis import (
    RedisNotInstalled,
    RedisUnusable,
    messaging_environment,
    require_redis,
    without_absent_legacy_redis,
)
from tasks.settings import Settings
from tasks.settings.redis import RedisSettings

PASSWORD = "s3cret-of-redis"
REDIS = RedisSettings(host="redis.internal", port=6380, password=PASSWORD, db=3, ssl=True)


@pytest.fixture
def installed(monkeypatch):
    monkeypatch.setattr(redis, "find_spec", lambda name: name)


@pytest.fixture
def missing(monkeypatch):
    monkeypatch.setattr(redis, "find_spec", lambda name: None)


def test_without_redis_nothing_is_set(missing):
    assert messaging_environment(RedisSettings(port=7, db=3)) == {}
    require_redis(RedisSettings())


def test_prefect_understands_every_variable(installed):
    pytest.importorskip("prefect_redis")
    ask = """
import json
from importlib import import_module
from prefect.settings import get_current_settings
from prefect_redis.client import RedisMessagingSettings
from prefect_redis.messaging import RedisMessagingPublisherSettings
server = get_current_settings().server
modules = [server.events.messaging_broker, server.events.messaging_cache, server.events.causal_ordering]
modules += [server.concurrency.lease_storage]
names = ["Publisher", "Cache", "CausalOrdering", "ConcurrencyLeaseStorage"]
for module, name in zip(modules, names, strict=True):
    assert getattr(import_module(module), name).__module__.startswith("prefect_redis"), module
redis = RedisMessagingSettings()
print(redis.host, redis.port, redis.db, redis.username, redis.password, redis.ssl)
print(RedisMessagingPublisherSettings().publish_every.total_seconds())
"""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    env = kept | server_environment(Settings(redis=REDIS))
    said = subprocess.run([sys.executable, "-c", ask], env=env, capture_output=True, text=True, check=True)

    assert said.stdout.split("\n")[:2] == [f"redis.internal 6380 3 default {PASSWORD} True", "1.0"]


def test_workers_find_leases_where_the_server_keeps_them(installed, tmp_path):
    name = "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE"
    for settings in (Settings(home=tmp_path), Settings(home=tmp_path, redis=REDIS)):
        served, worked = server_environment(settings), worker_environment(settings)
        assert worked[name] == served[name]
        for shared in (key for key in served if key.startswith("PREFECT_REDIS_")):
            assert worked[shared] == served[shared]


def test_what_is_missing_is_named_with_its_cure(missing):
    for tried in (messaging_environment, require_redis):
        with pytest.raises(RedisNotInstalled, match=r"Run: \./run setup\."):
            tried(REDIS)


def test_a_redis_that_is_not_there_is_told_without_its_password(installed):
    with pytest.raises(RedisUnusable, match=r"127\.0\.0\.1:1, .* check REDIS_HOST") as told:
        require_redis(RedisSettings(host="127.0.0.1", port=1, password=PASSWORD))

    assert PASSWORD not in str(told.value) + repr(REDIS) + str(Settings(redis=REDIS))


def test_a_server_that_cannot_use_redis_says_so_in_one_line(tmp_path):
    env = os.environ | {"MUSETALK_HOME": str(tmp_path), "REDIS_PORT": "1"}
    for command, name in (("server", "REDIS_HOST"), ("up", "MUSETALK_REDIS__HOST")):
        words = [sys.executable, "-m", "deployments.cli", command]
        done = subprocess.run(
            words,
            env=env | {name: "127.0.0.1", "REDIS_PASSWORD": PASSWORD},
            capture_output=True,
            text=True,
            timeout=60,
        )

        assert done.returncode == 1
        assert "Traceback" not in done.stderr and "REDIS_HOST" in done.stderr
        assert PASSWORD not in done.stdout + done.stderr


def closed_port():
    """A port of this computer on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_the_environment_file_of_the_older_service_needs_no_redis(monkeypatch, tmp_path):
    """Its file ends with REDIS_HOST=localhost; in one container there is no Redis at that address."""
    for name, value in {"REDIS_HOST": "localhost", "REDIS_PORT": closed_port(), "REDIS_DB": 0}.items():
        monkeypatch.setenv(name, str(value))
    settings, warning = without_absent_legacy_redis(Settings(home=tmp_path))

    assert settings.redis.host is None and "REDIS_HOST=localhost is ignored" in warning
    for name, value in stack_environment(StackPlan(settings), "marker").items():
        monkeypatch.setenv(name, value)
    assert Settings().redis.host is None, "its processes know of none either"


@pytest.mark.parametrize("variable", ["MUSETALK_REDIS__HOST", "REDIS_HOST"])
def test_a_redis_that_is_meant_is_not_ignored(monkeypatch, tmp_path, variable):
    """One that was named for this system, one on another computer, and one that is there."""
    monkeypatch.setenv(variable, "localhost" if variable.startswith("MUSETALK") else "redis.internal")
    monkeypatch.setenv("REDIS_PORT", str(closed_port()))
    given = Settings(home=tmp_path)
    assert without_absent_legacy_redis(given) == (given, None)

    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("REDIS_HOST", "localhost")
        monkeypatch.setenv("REDIS_PORT", str(server.getsockname()[1]))
        given = Settings(home=tmp_path)
        assert without_absent_legacy_redis(given) == (given, None)
