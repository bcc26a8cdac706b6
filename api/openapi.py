"""The API's description: what FastAPI finds out, the problems that routes may answer, and the webhooks."""

from datetime import datetime
from typing import Any, Final, Literal

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from api.problems import CODES
from flows.batch_schemas import ROW_COUNTS
from flows.outcome import Status

TAGS: Final = [
    {"name": "jobs", "description": "Submitting, following and ending jobs; where their outputs came from."},
    {"name": "pipelines", "description": "Jobs that take in each other's results, as one."},
    {"name": "batches", "description": "Many jobs of one type, as one."},
    {"name": "events", "description": "Notices that files came: what is new is done at once."},
    {"name": "assets", "description": "Files that jobs take as `asset://ID`."},
    {"name": "avatars", "description": "Faces that are prepared."},
    {"name": "webhooks", "description": "What was told about jobs, and telling it again."},
    {"name": "schemas", "description": "What jobs take and give."},
    {"name": "health", "description": "Whether it runs, and how it fares."},
    {"name": "older services", "description": "As their clients know them: other address, same answers."},
]
_METHODS: Final = frozenset({"get", "put", "post", "delete", "options", "head", "patch"})
_PROBLEM: Final = "ProblemDocument"
_CODES: Final[list[JsonValue]] = [*sorted(CODES)]
_REF: Final = "#/components/schemas/{model}"


class Fault(BaseModel):
    """One thing that is wrong with a request."""

    pointer: str = Field(description="JSON pointer into the body, or where else it stands.")
    code: str
    detail: str


class ProblemDocument(BaseModel):
    """RFC 9457, with our own members."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(description="Where the code is explained.")
    title: str
    status: int | str = Field(
        description="The HTTP status. On /result of a job without one, that service's word for where the job"
        " stands; `http_status` has the number."
    )
    detail: str
    instance: str
    code: str = Field(description="Stable.", json_schema_extra={"enum": _CODES})
    request_id: str
    retryable: bool
    errors: list[Fault] | dict[str, str] = Field(
        default=[],
        description="Every fault of the request at once. On /portrait a text per field, as that service"
        " had it, and the list is `violations`.",
    )
    violations: list[Fault] = []
    http_status: int | None = Field(default=None, description="See `status`.")
    error: str | None = Field(default=None, description="The detail again, where older clients look.")


class WebhookLinks(BaseModel):
    """Where to go from here."""

    self: str
    result: str | None = None


class WebhookError(BaseModel):
    """Why the job failed."""

    code: str
    message: str
    retryable: bool


class WebhookProgress(BaseModel):
    """How far the job is."""

    percent: float
    phase: str | None
    done: int = Field(description="Of the phase.")
    total: int


class WebhookData(BaseModel):
    """The job."""

    id: str
    type: str
    status: Status
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    error: WebhookError | None
    progress: WebhookProgress | None = Field(default=None, description="With `job.progress`.")
    counts: dict[str, int] | None = Field(
        default=None,
        description=f"Of a batch that has ended: rows by what became of them ({', '.join(ROW_COUNTS)}).",
    )
    links: WebhookLinks


class WebhookMessage(BaseModel):
    """What a receiver gets (Standard Webhooks), with the older service's fields at the top."""

    type: Literal["job.started", "job.progress", "job.completed", "job.failed", "job.canceled"]
    timestamp: datetime
    data: WebhookData
    id: str
    status: str = Field(description="In the older service's words.")
    result_url: str | None = None
    text: str | None = None
    text_cut: bool | None = None
    error: str | None = None


async def _job_event(body: WebhookMessage) -> None:
    """
    A job has started, got on or ended.

    Signed as Standard Webhooks says, in `webhook-id`, `webhook-timestamp` and `webhook-signature`. Any 2xx
    within ten seconds is taken for success.
    """
    del body


def install(app: FastAPI) -> None:
    """Complete the description of an app."""
    app.webhooks.post("job-event", status_code=204, operation_id="job_event")(_job_event)
    plain = app.openapi

    def complete() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _with_problems(plain())
        return app.openapi_schema

    app.openapi = complete


def _with_problems(schema: dict[str, Any]) -> dict[str, Any]:
    """Put the problem document where FastAPI promises an error format that this app does not use."""
    models = schema["components"]["schemas"]
    document = ProblemDocument.model_json_schema(ref_template=_REF)
    models |= document.pop("$defs", {}) | {_PROBLEM: document}
    for unused in ("HTTPValidationError", "ValidationError"):
        models.pop(unused, None)
    problem = {
        "description": "A problem document.",
        "content": {"application/problem+json": {"schema": {"$ref": _REF.format(model=_PROBLEM)}}},
    }
    for path in (*schema["paths"].values(), *schema.get("webhooks", {}).values()):
        for method, operation in path.items():
            if method in _METHODS:
                operation["responses"].pop("422", None)
                operation["responses"]["default"] = problem
                if "security" in operation:
                    operation["security"].append({})  # nobody needs a key where none is set
                _say_streams_in_3_1(operation)
    for path in schema.get("webhooks", {}).values():  # it is the receiver who answers
        for operation in path.values():
            del operation["responses"]["default"]
    return schema


def _say_streams_in_3_1(operation: dict[str, Any]) -> None:
    """A stream of events is described by a word of OpenAPI 3.2; this is 3.1."""
    for answer in operation["responses"].values():
        stream = answer.get("content", {}).get("text/event-stream")
        if stream and stream.pop("itemSchema", None):
            stream["schema"] = {"type": "string", "description": "Server-sent events; `data` is a JobView."}
