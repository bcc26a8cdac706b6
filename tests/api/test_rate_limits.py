"""How much one caller may ask for, without effect on the others."""

import asyncio
import contextlib
import socket
import time
from collections import Counter

import httpx
import pytest

from api.auth.key_file import ApiKey, generate_key, hash_key, write_keys
from api.auth.rate_limits import RateLimiter
from flows.schemas.control import Control
from tasks.settings import ApiSettings, get_settings

SPEECH = {"text": "Hello."}


@pytest.fixture
def callers(environment, tmp_path):
    """Headers of two keys of one tenant, and of one of another."""
    path = tmp_path / "keys.json"
    environment.setenv("MUSETALK_API__KEYS_FILE", str(path))
    made = [generate_key() for _ in range(3)]
    owners = ("acme", "acme", "other")
    write_keys(
        path,
        [
            ApiKey(name=f"k{n}", sha256=hash_key(key), tenant=tenant)
            for n, (key, tenant) in enumerate(zip(made, owners, strict=True))
        ],
    )
    return [{"Authorization": f"Bearer {key}"} for key in made]


def send(client, headers, path="/v1/jobs/speech"):
    return client.post(path, json=SPEECH, headers=headers)


def test_a_tenant_s_keys_count_together_and_others_are_not_touched(connect, environment, callers, runs):
    environment.setenv("MUSETALK_API__SUBMIT_RATE", "2/minute")
    client = connect()
    first, second, other = callers

    taken = [send(client, headers) for headers in (first, second)]
    assert [answer.status_code for answer in taken] == [202, 202]
    assert [answer.headers["x-ratelimit-remaining"] for answer in taken] == ["1", "0"]
    refused = send(client, first)
    assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
    assert refused.json()["retryable"] and 1 <= int(refused.headers["retry-after"]) <= 60
    assert refused.headers["x-ratelimit-limit"] == "2" and refused.headers["x-ratelimit-remaining"] == "0"
    assert abs(int(refused.headers["x-ratelimit-reset"]) - time.time()) <= 61
    assert send(client, first, "/csm").status_code == 429
    assert send(client, other).status_code == 202
    assert client.get("/v1/jobs", headers=first).status_code == 200
    assert len(runs.created) == 3


def test_what_is_refused_before_it_is_a_job_counts_for_nothing(connect, environment, callers):
    environment.setenv("MUSETALK_API__SUBMIT_RATE", "1/minute")
    client = connect()

    assert client.post("/v1/jobs/speech", json={}, headers=callers[0]).status_code == 422
    assert send(client, callers[0]).status_code == 202


def test_time_lets_in_again(connect, environment, callers):
    environment.setenv("MUSETALK_API__SUBMIT_RATE", "1/second;100/hour")
    client = connect()

    assert [send(client, callers[0]).status_code for _ in range(2)] == [202, 429]
    time.sleep(1.1)
    assert send(client, callers[0]).status_code == 202


def test_a_tenant_has_so_many_jobs_at_a_time(connect, environment, callers, runs):
    environment.setenv("MUSETALK_API__MAX_JOBS", "2")
    client = connect()
    runs.add(control=Control(tenant="acme"), status="failed")
    for _ in range(2):
        assert send(client, callers[0]).status_code == 202

    refused = send(client, callers[1])
    assert (refused.status_code, refused.json()["code"]) == (429, "concurrency_limited")
    assert refused.headers["retry-after"]
    assert send(client, callers[2]).status_code == 202
    runs.jobs.clear()
    assert send(client, callers[1]).status_code == 202


def test_a_full_house_still_knows_the_jobs_it_has(connect, environment, callers):
    environment.setenv("MUSETALK_API__MAX_JOBS", "1")
    client, headers = connect(), callers[0] | {"Idempotency-Key": "order-17"}

    first, again = send(client, headers), send(client, headers)

    assert (first.status_code, again.status_code) == (202, 202)
    assert again.json()["id"] == first.json()["id"] and again.headers["idempotent-replayed"] == "true"
    assert send(client, callers[1] | {"Idempotency-Key": "order-18"}).status_code == 429


def slow(runs, monkeypatch):
    """Let other requests in between the count of the jobs and the creation of one."""
    for name in ("count_unfinished", "create"):
        method = getattr(runs, name)

        async def later(*args, method=method):
            await asyncio.sleep(0.01)
            return await method(*args)

        monkeypatch.setattr(runs, name, later)


def together(apps, headers, count):
    """The status of as many submissions at the same time, each app in turn."""

    async def send_all():
        async with contextlib.AsyncExitStack() as stack:
            clients = [
                await stack.enter_async_context(
                    httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://api")
                )
                for app in apps
            ]
            answers = await asyncio.gather(
                *(
                    clients[n % len(clients)].post("/v1/jobs/speech", json=SPEECH, headers=headers)
                    for n in range(count)
                )
            )
            for app in apps:
                await app.state.gate.aclose()
            return Counter(answer.status_code for answer in answers)

    return asyncio.run(send_all())


@pytest.mark.parametrize(("limit", "count"), [(2, 20), (5, 5)])
def test_twenty_at_the_same_time_are_counted_one_after_the_other(
    connect, environment, callers, runs, monkeypatch, limit, count
):
    environment.setenv("MUSETALK_API__MAX_JOBS", str(limit))
    slow(runs, monkeypatch)

    taken = together([connect().app], callers[0], count)
    assert taken == Counter({202: limit, 429: count - limit}) and len(runs.created) == limit


@pytest.fixture
def redis(environment):
    """A Redis on this machine, without keys of limits; skips without one."""
    pytest.importorskip("redis", reason="the extra redis is not installed")
    from redis import Redis
    from redis.exceptions import RedisError

    client = Redis(db=13, socket_connect_timeout=1)
    try:
        client.ping()
    except RedisError:
        pytest.skip("no Redis on 127.0.0.1:6379")

    def forget():
        for key in client.scan_iter("musetalk-*"):
            client.delete(key)

    forget()
    environment.setenv("REDIS_HOST", "127.0.0.1")
    environment.setenv("REDIS_DB", "13")
    yield client
    forget()
    client.close()


def test_with_redis_the_limits_hold_for_all_processes(
    connect, environment, callers, runs, monkeypatch, redis
):
    environment.setenv("MUSETALK_API__MAX_JOBS", "3")
    slow(runs, monkeypatch)
    assert together([connect().app, connect().app], callers[0], 20) == Counter({202: 3, 429: 17})

    environment.setenv("MUSETALK_API__MAX_JOBS", "0")
    environment.setenv("MUSETALK_API__SUBMIT_RATE", "4/minute")
    assert together([connect().app, connect().app], callers[2], 10) == Counter({202: 4, 429: 6})
    assert list(redis.scan_iter("musetalk-rates*"))


def test_without_its_redis_each_process_counts_for_itself(connect, environment, callers, runs, monkeypatch):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # not listening
        environment.setenv("REDIS_HOST", "127.0.0.1")
        environment.setenv("REDIS_PORT", str(unused.getsockname()[1]))
        environment.setenv("MUSETALK_API__MAX_JOBS", "2")
        environment.setenv("MUSETALK_API__SUBMIT_RATE", "100/minute")
        slow(runs, monkeypatch)
        assert together([connect().app], callers[0], 6) == Counter({202: 2, 429: 4})


def test_without_limits_nobody_is_counted(client, runs):
    assert {client.post("/v1/jobs/speech", json=SPEECH).status_code for _ in range(20)} == {202}


@pytest.mark.parametrize("rate", ["60", "0/minute", "many/minute", "60/fortnight", "60/minute;", "60 minute"])
def test_rates_are_checked_when_settings_are_read(environment, rate):
    environment.setenv("MUSETALK_API__SUBMIT_RATE", rate)
    get_settings.cache_clear()

    with pytest.raises(ValueError, match="such as 60/minute"):
        get_settings()


@pytest.mark.parametrize("rate", ["60/minute", "5/second;500/hour", "10/2 minutes", "1/day"])
def test_every_rate_that_settings_take_is_understood(rate):
    RateLimiter(ApiSettings(submit_rate=rate))
