"""Requests made up from the API's description, and what every answer to one has to keep."""

import itertools
import json
from collections.abc import Callable
from typing import Any

import jsonschema
import schemathesis
from compat_documents import C3, INFERENCE
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

_LIP_SYNC = {"video": "asset://anna", "audio": "asset://hello"}
_SPEECH = {"text": "Hello.", "control": {"tags": ["made-up"], "metadata": {"for": "this"}}}
_STEPS = {"steps": [{"name": "speak", "type": "speech", "job": {"text": "Hello."}}]}
_ROWS = {"job_type": "speech", "rows": [{"text": "Hello."}]}
_GOOD: dict[str, dict[str, Any]] = {
    "/v1/jobs": {"type": "speech", **_SPEECH},
    "/v1/jobs/lip_sync": _LIP_SYNC,
    "/v1/jobs/portrait": {"image": "asset://anna", "text": "Hello."},
    "/v1/jobs/prepare_avatar": {"video": "asset://anna"},
    "/v1/jobs/speech": _SPEECH,
    "/v1/jobs/transcribe": {"audio": "asset://anna"},
    "/v1/jobs/analyze": {"image": "asset://anna"},
    "/v1/jobs/verify": {"media": "asset://anna"},
    "/v1/jobs/caption": {"video": "asset://anna", "captions": "asset://words"},
    "/v1/jobs/pipeline": _STEPS,
    "/v1/jobs/persona_sync": _LIP_SYNC,
    "/v1/jobs/batch": _ROWS,
    "/v1/jobs/render_new": {
        "name": "new",
        "job_type": "lip_sync",
        "places": {"video": "s3://media/anna.mp4", "audio": "s3://media/new/"},
    },
    "/v1/pipelines": _STEPS,
    "/v1/pipelines/persona_sync": _LIP_SYNC,
    "/v1/batches": _ROWS,
    "/v1/avatars": {"video": "asset://anna"},
    "/job/{job_id}": {"status": "cancelled"},
    "/inference": json.loads(INFERENCE),
    **{path: json.loads(text) for path, text in C3.items()},
}
"""
Valid bodies: generated ones rarely get past the validation of their first field. A dry run checks inputs,
and the inputs of these bodies need no request to another host.
"""


def event_conformance(ctx: Any, response: Any, case: Any) -> None:
    """In a stream of events, each event's data is a job as described; the schema of the stream is text."""
    del ctx
    whole = {**case.operation.schema.raw_schema, "$ref": "#/components/schemas/JobView"}
    validator = jsonschema.Draft202012Validator(whole)
    lines = response.content.decode().splitlines() if response.status_code == 200 else []
    for line in lines:
        if line.startswith("data: "):
            validator.validate(json.loads(line.removeprefix("data: ")))


schemathesis.serializer.alias("application/offset+octet-stream", "application/octet-stream")

_ALWAYS = [status_code_conformance, content_type_conformance, response_headers_conformance]
PUBLIC = frozenset({"/", "/healthz", "/readyz", "/startupz", "/version", "/metrics"})
"""Routes that need no API key."""
UNREAD = frozenset({400, 413, 415})
"""Statuses of requests whose body cannot be read; they are refused before authentication."""
_BOUNDED = settings(
    deadline=None,
    derandomize=True,  # a suite that fails, fails again
    suppress_health_check=list(HealthCheck),
)


def checks(path: str) -> list[Any]:
    """
    Return what is asked of the answers of a path.

    Args:
        path: as described; `/readyz` says with 503 that jobs cannot be done, as it should.
    """
    no_error = [] if path == "/readyz" else [not_a_server_error]
    content = event_conformance if path.endswith("/events") else response_schema_conformance
    return [*no_error, *_ALWAYS, content]


def grafter() -> Callable[[Any], None]:
    """Return a function that makes half of the requests good but for one made-up field, one of six good."""
    turns = itertools.count()

    def graft(case: Any) -> None:
        turn, good = next(turns), _GOOD.get(case.path)
        if case.path == "/v1/uploads" and turn % 2:
            said = {"Tus-Resumable": "1.0.0", "Upload-Length": "3", "Upload-Metadata": "filename YQ=="}
            case.headers.update(said)
        if turn % 4 == 1:
            case.headers["Prefer"] = "respond-async"
        if good is None or not isinstance(case.body, dict) or turn % 3 == 0:
            return
        if turn % 6 == 4:
            case.body, case.query, case.headers = dict(good), {}, {}
        else:
            _change_one(case, good, turn // 3)
        if case.path == "/inference" and isinstance(case.query, dict):
            case.query |= {"avatar_id": "avator_1", "audio_id": "audio_1"}

    return graft


def _change_one(case: Any, good: dict[str, Any], which: int) -> None:
    fields: list[tuple[str, Any]] = sorted(case.body.items())
    case.body = {**good, **dict([fields[which % len(fields)]] if fields else [])}


def tried(schema: Any, check: Callable[[Any], None], examples: int) -> dict[str, str]:
    """Try every operation; gives what went wrong, by operation."""
    faults: dict[str, str] = {}
    for found in schema.get_all_operations():
        operation = found.ok()

        @settings(_BOUNDED, max_examples=examples)
        @given(case=operation.as_strategy())
        def trial(case: Any) -> None:
            check(case)

        try:
            trial()
        except (Exception, FailureGroup) as error:  # a group of failures is no Exception
            faults[operation.label] = str(error)
    return faults


SIGNED = frozenset({"/v1/downloads/{job_id}/{name}", "/v1/downloads/assets/{asset}"})
"""Paths that take a signature instead of a key; a made-up one is refused."""


def shut_out(answer: Any, path: str) -> bool:
    """Tell whether who has no key got nothing but what is everybody's."""
    if path in SIGNED:
        return 400 <= answer.status_code < 500
    if path in PUBLIC:
        return answer.status_code < 400 or answer.status_code == 503  # ready or not is for all to know
    return answer.status_code in {401, *UNREAD}
