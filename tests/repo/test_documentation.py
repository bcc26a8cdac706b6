"""README.md and docs agree with the code: generated pages, links, named tests, request bodies."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from api.schemas.job_request import request_model
from flows.registry import JOB_TYPES

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
FENCE = re.compile(r"(?:<!-- (?P<note>[^\n]*?) -->\n)?```(?P<language>\w*)\n(?P<body>.*?)```", re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
TYPE_OF_ROUTE = {"pipelines": "pipeline", "batches": "batch", "avatars": "prepare_avatar"}


def text_of(page):
    return page.read_text(encoding="utf-8")


def blocks(language):
    for page in PAGES:
        for found in FENCE.finditer(text_of(page)):
            if found["language"] == language:
                line = text_of(page)[: found.start()].count("\n") + 1
                yield pytest.param(found["note"] or "", found["body"], id=f"{page.relative_to(ROOT)}:{line}")


def slug(heading):
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)|`", r"\1", heading).strip().lower()
    return re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")


def anchors(page):
    text = re.sub(r"```.*?```", "", text_of(page), flags=re.DOTALL)
    return {slug(found) for found in re.findall(r"^#+ (.+)$", text, re.MULTILINE)}


def test_the_generated_pages_are_current():
    script = ROOT / "docs" / "generate_reference.py"
    done = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True, cwd=ROOT)

    assert done.returncode == 0, f"run: python docs/generate_reference.py\n{done.stdout}{done.stderr}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_a_page_and_a_heading(page):
    text = re.sub(r"```.*?```", "", text_of(page), flags=re.DOTALL)
    for link in LINK.findall(text):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page

        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize(("note", "body"), blocks("json"))
def test_every_request_body_is_accepted_by_its_schema(note, body):
    value = json.loads(body)
    if note.startswith("not run: "):
        return
    method, route = note.removeprefix("body: ").split()
    assert method == "POST"
    last = route.rpartition("/")[2]

    request_model(JOB_TYPES[TYPE_OF_ROUTE.get(last, last)]).model_validate(value)


@pytest.mark.parametrize(("note", "body"), blocks("bash"))
def test_every_command_block_is_shell(note, body):
    assert not note or note.startswith("not run: ")
    subprocess.run(["bash", "-n", "-c", body], check=True)


def test_the_tests_that_the_page_of_guarantees_names_exist():
    named = set(re.findall(r"`(test_\w+)`", text_of(ROOT / "docs" / "promises.md")))
    here = {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    }

    assert len(named) > 40
    assert named - here == set()
