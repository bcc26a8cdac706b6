"""Where outputs came from, over HTTP, on made-up jobs and on a real Prefect server."""

import asyncio
import json
from contextlib import aclosing
from uuid import uuid4

import pytest
from lineages import lineage_of
from prefect import flow
from prefect.artifacts import Artifact
from prefect.client.orchestration import get_client
from prefect.runtime import flow_run
from prefect_server import flow_server
from typer.testing import CliRunner

from api.dependencies import get_lineage_store
from api.jobs.ancestry import MAX_ANCESTORS
from api.orchestrator.connection import PrefectConnection
from api.orchestrator.lineage import PrefectLineageStore
from deployments.cli.main import app
from flows.schemas.control import Control


class FakeLineages:
    def __init__(self):
        self.known = {}

    async def read_many(self, jobs):
        return {job: self.known[job] for job in jobs if job in self.known}

    def add(self, run, *parents, **more):
        self.known[run.id] = lineage_of(run.id, *parents, **more)
        return run


@pytest.fixture
def lineages(client):
    fake = FakeLineages()
    client.app.dependency_overrides[get_lineage_store] = lambda: fake
    return fake


def test_a_finished_job_says_where_its_output_came_from(client, finished, lineages):
    parent = uuid4()
    run = lineages.add(finished(), parent)

    answer = client.get(f"/v1/jobs/{run.id}/lineage")

    assert answer.status_code == 200
    assert answer.json() == {
        "lineage": json.loads(lineages.known[run.id].model_dump_json()),
        "ancestors": [],
        "complete": False,
    }


def test_parents_are_followed_as_far_as_asked(client, runs, finished, lineages):
    gone = uuid4()
    first = lineages.add(finished(), gone)
    second = lineages.add(finished(), first.id)
    third = lineages.add(finished(), second.id, first.id)
    running = runs.running()
    fourth = lineages.add(finished(), third.id, running.id)

    def followed(depth):
        body = client.get(f"/v1/jobs/{fourth.id}/lineage", params={"depth": depth}).json()
        shown = [(one["job"], one["depth"], one["status"]) for one in body["ancestors"]]
        assert all((one["lineage"] is None) == (one["status"] != "succeeded") for one in body["ancestors"])
        return shown, body["complete"]

    parents = [(str(third.id), 1, "succeeded"), (str(running.id), 1, "running")]
    before = [*parents, (str(second.id), 2, "succeeded"), (str(first.id), 2, "succeeded")]
    assert followed(1) == (parents, False)
    assert followed(2) == (before, False)
    assert followed(20) == ([*before, (str(gone), 3, "unknown")], True)


def test_a_pipeline_leads_to_its_steps_and_a_step_not_to_those_beside_it(client, finished, lineages):
    whole, clip, other, talk = finished(), finished(), finished(), finished()
    part_of = {"job": whole.id, "how": "part-of"}
    lineages.add(clip)
    lineages.add(other, parents=[part_of])
    lineages.add(talk, parents=[{"job": clip.id, "how": "input"}, part_of])
    named = [{"job": one.id, "name": f"n{one.id}", "type": "speech"} for one in (other, talk)]
    lineages.add(whole, parts=named)
    after = lineages.add(finished(), whole.id)

    def followed(job, depth=20):
        body = client.get(f"/v1/jobs/{job.id}/lineage", params={"depth": depth}).json()
        return [(one["job"], one["depth"]) for one in body["ancestors"]], body["complete"]

    steps = [str(other.id), str(talk.id)]
    assert followed(whole, 0) == ([], False)
    assert followed(whole) == ([*((step, 1) for step in steps), (str(clip.id), 2)], True)
    found, _ = followed(talk)
    assert sorted(found) == sorted([(str(whole.id), 1), (str(clip.id), 1)])
    found, _ = followed(after)
    assert found == [(str(whole.id), 1), *((step, 2) for step in steps), (str(clip.id), 3)]
    lineages.add(whole, parts=named, parts_left_out=3)
    assert followed(whole)[1] is False


def test_a_ring_ends(client, finished, lineages):
    one, two = finished(), finished()
    lineages.add(one, two.id)
    lineages.add(two, one.id)

    body = client.get(f"/v1/jobs/{one.id}/lineage?depth=20").json()

    assert [each["job"] for each in body["ancestors"]] == [str(two.id)] and body["complete"]


def test_a_crowd_of_parents_is_bounded(client, finished, lineages):
    run = lineages.add(finished(), *(uuid4() for _ in range(MAX_ANCESTORS + 1)))

    body = client.get(f"/v1/jobs/{run.id}/lineage?depth=1").json()

    assert len(body["ancestors"]) == MAX_ANCESTORS and not body["complete"]


@pytest.mark.parametrize("depth", ["-1", "21", "x"])
def test_other_depths_are_refused(client, finished, lineages, depth):
    answer = client.get(f"/v1/jobs/{lineages.add(finished()).id}/lineage?depth={depth}")

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")


def test_what_there_is_none_of(client, runs, finished, lineages):
    def code(job):
        answer = client.get(f"/v1/jobs/{job}/lineage")
        return answer.status_code, answer.json()["code"]

    assert code(runs.running().id) == (409, "not_ready")
    assert code(runs.failed().id) == (404, "not_found")
    assert code(uuid4()) == (404, "not_found")
    assert code(finished().id) == (404, "not_found"), "done by an older version"


def test_other_tenants_jobs_are_not_there(connect, issue, runs, finish, lineages):
    theirs = finish(runs.add(control=Control(tenant="rival")))
    ours = finish(runs.add(control=Control(tenant="acme")))
    runs.jobs |= {theirs.id: theirs, ours.id: ours}
    lineages.add(theirs)
    lineages.add(ours, theirs.id)
    headers = issue("a", tenant="acme")
    client = connect()
    client.app.dependency_overrides[get_lineage_store] = lambda: lineages

    assert client.get(f"/v1/jobs/{theirs.id}/lineage").status_code == 401
    assert client.get(f"/v1/jobs/{theirs.id}/lineage", headers=headers).status_code == 404
    body = client.get(f"/v1/jobs/{ours.id}/lineage?depth=3", headers=headers).json()
    [parent] = body["ancestors"]
    assert (parent["status"], parent["lineage"]) == ("unknown", None)


def musetalk(server, *words):
    done = CliRunner().invoke(app, [*map(str, words), "--server", server])
    return done.exit_code, done.stdout, done.stderr


def test_the_command_shows_it(server, app_of_server, finished):
    lineages = FakeLineages()
    app_of_server.dependency_overrides[get_lineage_store] = lambda: lineages
    gone = uuid4()
    first = lineages.add(finished(), gone)
    bad = {"engine": "\x1b[2J\nforged"}
    second = lineages.add(finished(), first.id, settled=bad)

    status, out, _ = musetalk(server, "lineage", second.id, "--depth", "3")
    assert status == 0 and "\x1b" not in out and "\nforged" not in out
    assert out.startswith(f"{second.id} portrait by musetalk-flows 1.2.3")
    assert f"output {'a' * 64}" in out and f"model  {'b' * 64}  face-mesh" in out
    assert f"source {first.id}" in out and f"{gone} unknown" in out
    _, short, _ = musetalk(server, "lineage", second.id)
    assert "more ancestors exist" in short
    _, text, _ = musetalk(server, "lineage", second.id, "--json")
    assert json.loads(text)["lineage"]["job"] == str(second.id)
    status, _, error = musetalk(server, "lineage", uuid4())
    assert status == 2 and "No job has the id" in error


@pytest.fixture(scope="module")
def prefect(tmp_path_factory):
    with flow_server(tmp_path_factory.mktemp("server")), get_client(sync_client=True) as client:
        yield client


def test_the_newest_whole_one_is_read_from_prefect(prefect):
    def ran(make):
        @flow(name="portrait")
        def job():
            for content in make(flow_run.id):
                Artifact(type="json", key="lineage", data=content).create()

        return job(return_state=True).state_details.flow_run_id

    def dump(lineage):
        return json.loads(lineage.model_dump_json())

    twice = ran(lambda own: [dump(lineage_of(own)), dump(lineage_of(own, settled={"turn": 2}))])
    bad = ran(lambda own: [{"job": str(own)}, "words"])
    forged = ran(lambda own: [dump(lineage_of(twice))])

    async def read():
        async with aclosing(PrefectConnection()) as connection:
            there = PrefectLineageStore(connection)
            return await there.read_many([twice, bad, forged, uuid4()]), await there.read_many([])

    found, none = asyncio.run(read())
    assert none == {} and set(found) == {twice}
    assert found[twice].settled == {"turn": 2}
