"""The terms of docs/glossary.md, and their use in the API's description."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
GLOSSARY = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
API = json.loads((ROOT / "docs" / "api" / "openapi.json").read_text(encoding="utf-8"))
TERMS = [
    term.strip() for line in re.findall(r"^### (.+)$", GLOSSARY, re.MULTILINE) for term in line.split(",")
]
EXPECTED = [
    "job",
    "job type",
    "child job",
    "media reference",
    "artifact (Prefect)",
    "cache entry",
    "avatar",
    "chunk",
    "engine",
    "viseme",
    "phoneme",
    "lip aperture",
    "work pool",
    "worker",
    "worker process",
    "slot",
    "tenant",
    "API key",
    "scope",
    "idempotency key",
    "webhook delivery",
    "dead letter",
    "retention",
    "maintenance task",
    "provenance manifest",
    "compatibility routes",
]
SERVICE_TAGS = {"health"}
"""Tags for operators, which need no definition."""
PLAIN_WORDS = set(
    [
        "result",
        "artefact",
        "checked",
        "label",
        "evidence",
        "finding",
        "ingredient",
        "verified",
        "face",
        "coverage",
        "found",
        "pull",
        "tag",
        "text",
        "thing",
        "object",
        "ref",
        "transcript",
        "segment",
        "view",
        "artefact",
        "coverage",
        "face",
        "found",
        "object",
        "ref",
        "result",
        "segment",
        "tag",
        "text",
        "thing",
        "transcript",
        "page",
        "time",
        "request",
        "of",
        "option",
        "error",
        "input",
        "output",
        "file",
        "health",
        "link",
        "log",
        "line",
        "data",
        "message",
        "program",
        "step",
        "schedule",
        "model",
        "rendering",
        "framing",
        "estimate",
        "eta",
        "progress",
        "problem",
        "document",
        "bad",
        "row",
        "fault",
        "control",
        "upload",
        "direct",
        "used",
        "ancestor",
        "parent",
        "attempt",
        "replay",
        "event",
        "announced",
        "lineage",
        "started",
        "task",
        "notify",
        "note",
        "mark",
        "figure",
        "inference",
        "analyze",
        "caption",
        "lip",
        "sync",
        "musetalk",
        "persona",
        "portrait",
        "prepare",
        "render",
        "new",
        "speech",
        "transcribe",
        "verify",
        "video",
        "voice",
    ]
)
"""Words of schema names with their everyday meaning, and names of job types."""


def singular(word):
    return re.sub(r"(?<=[^s])s$", "", re.sub(r"ies$", "y", re.sub(r"(?<=h)es$", "", word.lower())))


@pytest.mark.parametrize("term", EXPECTED)
def test_a_term_is_defined(term):
    assert term.lower() in {one.lower() for one in TERMS}


def test_terms_are_sorted():
    first = re.findall(r"^### (.+)$", GLOSSARY, re.MULTILINE)

    assert first == sorted(first, key=str.lower)


def test_tags_of_the_api_are_terms():
    used = {
        tag
        for path in API["paths"].values()
        for operation in path.values()
        for tag in operation.get("tags", ())
    }
    terms = {" ".join(map(singular, term.split())) for term in TERMS}

    assert used == {tag["name"] for tag in API["tags"]}
    assert {tag for tag in used - SERVICE_TAGS if " ".join(map(singular, tag.split())) not in terms} == set()


def test_names_of_the_api_s_schemas_are_made_of_terms():
    words = {singular(word) for word in re.findall(r"[A-Za-z]+", " ".join(TERMS))}
    named = {
        word for name in re.findall(r"schemas? (?:is|begin with) `(\w+)`", GLOSSARY) for word in parts(name)
    }

    strange = {
        name for name in API["components"]["schemas"] if set(parts(name)) - words - named - PLAIN_WORDS
    }

    assert strange == set()


def parts(name):
    return [
        singular(word)
        for word in re.findall(r"[A-Z][a-z]+|[A-Z]+(?![a-z])", name.replace("MuseTalk", "Musetalk"))
    ]
