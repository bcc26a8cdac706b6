"""The commands of README.md and docs, run page by page on a real system with default settings."""

import shutil
import time
from urllib.parse import urlsplit

import httpx
import pytest
from documentation import Shell, commands, script
from whole_stack import running_stack

pytestmark = [
    pytest.mark.stack,
    pytest.mark.skipif(shutil.which("curl") is None, reason="the pages use curl"),
]
PAGES = commands()
SLOW = {"docs/tutorial/first-pipeline.md"}
"""Pages that take most of a minute on two cores; the others run with the quick tests."""


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    with running_stack(tmp_path_factory.mktemp("documentation")) as stack:
        yield stack


@pytest.fixture
def shell(stack, tmp_path):
    ports = {8080: urlsplit(stack.api_url).port, 4200: urlsplit(stack.prefect_url).port}
    return Shell(tmp_path, stack.home, ports)


@pytest.fixture
def api(stack):
    with httpx.Client(base_url=stack.api_url, timeout=60) as client:
        yield client


def jobs_that_ended(api):
    """All jobs, once none is waiting or running."""
    deadline = time.monotonic() + 300
    while True:
        jobs = api.get("/v1/jobs", params={"limit": 200}).json()["jobs"]
        if not [job for job in jobs if job["status"] in {"queued", "scheduled", "running"}]:
            return jobs
        assert time.monotonic() < deadline, jobs
        time.sleep(0.5)


def given(api):
    """Values for `<!-- given: … -->`."""
    made = api.post("/v1/jobs/speech", json={"text": "Good morning."}, headers={"Prefer": "wait=60"})
    return {"job": made.json()["id"], "KEY": "any key: this API asks for none"}


def marked(page):
    return pytest.param(page, id=page, marks=[pytest.mark.slow] if page in SLOW else [])


@pytest.mark.parametrize("page", [marked(page) for page in PAGES])
def test_the_commands_of_a_page_run_in_order(shell, api, page):
    wanted = any(block.kind == "given" for block in PAGES[page])

    status, said = shell.run(script(PAGES[page]), given(api) if wanted else {})

    print(said)
    assert status == 0
    assert {job["id"]: job["error"] for job in jobs_that_ended(api) if job["status"] != "succeeded"} == {}
