"""Models that are downloaded on request of the API: progress, failures, one at a time, and the scope."""

import asyncio
import os
import sys
import time

import httpx
import pytest

from api.errors import Problem
from api.routes.installation.model_pulls import ModelPulls

PULLS = """
import sys, time
print("musetalkV15/unet.pth: 10 % of 3400 MB", flush=True)
print("musetalkV15/unet.pth: 40 % of 3400 MB", flush=True)
{then}
print("musetalkV15/unet.pth: pulled")
print("1 files added; installed in /models:", sys.argv[1])
"""


def pulls(then=""):
    return ModelPulls([sys.executable, "-u", "-c", PULLS.format(then=then)])


async def until(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        await asyncio.sleep(0.02)


def test_progress_and_end():
    async def run():
        one = pulls("time.sleep(0.5)")
        assert (await one.start("musetalk")).state == "running"
        await until(lambda: one.current.percent == 40)
        assert (one.current.file, one.current.state) == ("musetalkV15/unet.pth", "running")
        assert await one.start("musetalk") is one.current  # repeated
        with pytest.raises(Problem, match="musetalk is being installed"):
            await one.start("csm")
        await until(lambda: one.current.state != "running")
        return one.current

    ended = asyncio.run(run())
    assert (ended.state, ended.percent) == ("succeeded", 100)
    assert ended.detail.endswith("installed in /models: musetalk")


def test_a_failure_says_why():
    async def run():
        one = pulls("print('x' * 200_000); print('The disk is full.'); sys.exit(1)")
        await one.start("csm")
        await until(lambda: one.current.state != "running")
        failed = one.current
        assert (await one.start("musetalk")).name == "musetalk"  # nothing runs any more
        await one.stop()
        return failed

    failed = asyncio.run(run())
    assert failed.state == "failed" and failed.detail.endswith("The disk is full.")
    assert len(failed.detail) < 100_000


def test_one_that_is_stopped_leaves_no_process():
    async def run():
        one = pulls("print('process', __import__('os').getpid(), flush=True); time.sleep(60)")
        await one.start("musetalk")
        await until(lambda: one.current.percent == 40)
        process = one._process.pid
        await one.stop()
        await one.stop()
        return one.current, process

    stopped, process = asyncio.run(run())
    assert stopped.state == "stopped"
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


def test_over_http(environment, request):
    environment.setenv("MUSETALK_API__MODELS_HERE", "true")
    app, server = (request.getfixturevalue(name) for name in ("app_of_server", "server"))
    app.state.model_pulls = pulls("time.sleep(0.3)")
    with httpx.Client(base_url=server, trust_env=False, timeout=30) as client:
        assert client.get("/v1/models").json()["pull"] is None
        assert client.delete("/v1/models/musetalk/pull").status_code == 404
        started = client.post("/v1/models/musetalk/pull")
        assert (started.status_code, started.json()["state"]) == (202, "running")
        busy = client.post("/v1/models/csm/pull")
        assert (busy.status_code, busy.json()["code"]) == (409, "in_use")
        for name in ("--help", "..%2f", "nothing"):
            assert client.post(f"/v1/models/{name}/pull").status_code == 404
        end = time.monotonic() + 20
        while (pull := client.get("/v1/models").json()["pull"])["state"] == "running":
            assert time.monotonic() < end
            time.sleep(0.05)
        assert (pull["state"], pull["percent"]) == ("succeeded", 100)
        assert client.delete("/v1/models/musetalk/pull").json()["state"] == "succeeded"


def test_a_non_commercial_licence_is_accepted_first(environment, request):
    environment.setenv("MUSETALK_API__MODELS_HERE", "true")
    app, server = (request.getfixturevalue(name) for name in ("app_of_server", "server"))
    app.state.model_pulls = pulls("print(' '.join(sys.argv[1:]), flush=True)")
    with httpx.Client(base_url=server, trust_env=False, timeout=30) as client:
        marked = {m["name"] for m in client.get("/v1/models").json()["models"] if m["non_commercial"]}
        assert marked == {"codeformer"}
        refused = client.post("/v1/models/codeformer/pull")
        assert (refused.status_code, refused.json()["code"]) == (422, "licence_not_accepted")
        assert "S-Lab License 1.0: non-commercial use only" in refused.json()["detail"]
        assert app.state.model_pulls.current is None
        accepted = client.post("/v1/models/codeformer/pull", params={"accept_licence": True})
        assert accepted.status_code == 202
        end = time.monotonic() + 20
        while (pull := client.get("/v1/models").json()["pull"])["state"] == "running":
            assert time.monotonic() < end
            time.sleep(0.05)
        assert "codeformer --accept-licence" in pull["detail"]


def test_the_scope_and_the_place_of_the_models(connect, issue):
    operator, user = issue("a", scopes=["admin"]), issue("b", tenant="acme")
    client = connect()
    assert client.post("/v1/models/musetalk/pull", headers=user).status_code == 403
    assert client.post("/v1/models/musetalk/pull").status_code == 401
    answer = client.post("/v1/models/musetalk/pull", headers=operator)
    assert (answer.status_code, answer.json()["code"]) == (409, "pull_not_offered")
