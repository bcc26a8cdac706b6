"""The OpenAPI document: FastAPI's schema, completed with problem documents and webhook messages."""

from datetime import datetime
from typing import Any, Final, Literal

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from api.docs.generators import enumerate_constants, make_defaults_optional, type_results
from api.errors import CODES
from flows.prefect_state.status import Status
from flows.schemas.batch import ROW_COUNTS

TAGS: Final = [
    {"name": "jobs", "description": "Submit, monitor and cancel jobs; provenance of their outputs."},
    {"name": "pipelines", "description": "Several jobs that use each other's results, run as one job."},
    {"name": "batches", "description": "Many jobs of one type, run as one job."},
    {"name": "bucket watches", "description": "Bucket notifications that start the jobs watching a bucket."},
    {"name": "assets", "description": "Uploaded files, used by jobs as `asset://ID`."},
    {"name": "resumable uploads", "description": "Resumable uploads (tus 1.0.0) that become assets."},
    {"name": "verification", "description": "Checks of Content Credentials (C2PA)."},
    {"name": "avatars", "description": "Prepared faces."},
    {"name": "webhook deliveries", "description": "Webhook deliveries of jobs, and their replay."},
    {"name": "job types", "description": "JSON Schemas of job parameters and results."},
    {"name": "models", "description": "Models and rendering engines of the installation."},
    {"name": "workers", "description": "Workers, their processes and what they do."},
    {"name": "usage", "description": "What jobs have used, and what that costs."},
    {"name": "API keys", "description": "The API key of the request."},
    {"name": "health", "description": "Liveness, readiness, version and metrics."},
    {"name": "compatibility routes", "description": "Routes for clients of two older services."},
]
_HTTP_METHODS: Final = frozenset({"get", "put", "post", "delete", "options", "head", "patch"})
_PROBLEM_SCHEMA: Final = "ProblemDocument"
_CODE_NAMES: Final[list[JsonValue]] = [*sorted(CODES)]
_REF_TEMPLATE: Final = "#/components/schemas/{model}"


class Fault(BaseModel):
    """One error in a request."""

    pointer: str = Field(
        description="JSON pointer into the body, or the name of the query, path or header field."
    )
    code: str
    detail: str


class ProblemDocument(BaseModel):
    """A problem document (RFC 9457) with extension members."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(description="Address of the code's description.")
    title: str
    status: int | str = Field(
        description="The HTTP status. On /result of a job without a result it is the older service's job"
        " status, and `http_status` has the number."
    )
    detail: str
    instance: str
    code: str = Field(description="Stable error code.", json_schema_extra={"enum": _CODE_NAMES})
    request_id: str
    retryable: bool
    errors: list[Fault] | dict[str, str] = Field(
        default=[],
        description="All errors of the request. On /portrait it maps field names to messages, as in the older"
        " service, and `violations` has the list.",
    )
    violations: list[Fault] = []
    http_status: int | None = Field(default=None, description="See `status`.")
    error: str | None = Field(
        default=None, description="Same as `detail`, for clients of the older services."
    )


class WebhookLinks(BaseModel):
    """Links to the job and its result."""

    self: str
    result: str | None = None


class WebhookError(BaseModel):
    """The error of a failed job."""

    code: str
    message: str
    retryable: bool


class WebhookProgress(BaseModel):
    """Progress of the job."""

    percent: float
    phase: str | None
    done: int = Field(description="Completed units of the current phase.")
    total: int


class WebhookData(BaseModel):
    """The job that the webhook is about."""

    id: str
    type: str
    status: Status
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    error: WebhookError | None
    progress: WebhookProgress | None = Field(default=None, description="Only in `job.progress`.")
    counts: dict[str, int] | None = Field(
        default=None,
        description=f"Only for an ended batch: number of rows by outcome ({', '.join(ROW_COUNTS)}).",
    )
    links: WebhookLinks


class WebhookMessage(BaseModel):
    """The body of a webhook (Standard Webhooks), with the older service's fields at the top level."""

    type: Literal["job.started", "job.progress", "job.completed", "job.failed", "job.canceled"]
    timestamp: datetime
    data: WebhookData
    id: str
    status: str = Field(description="Job status as named by the older service.")
    result_url: str | None = None
    text: str | None = None
    text_cut: bool | None = None
    error: str | None = None


async def _job_event(body: WebhookMessage) -> None:
    """
    Notifies the receiver that a job has started, made progress or ended.

    Signed as specified by Standard Webhooks in `webhook-id`, `webhook-timestamp` and `webhook-signature`.
    Any 2xx response within ten seconds counts as delivered.
    """
    del body


def install(app: FastAPI) -> None:
    """Add problem documents and webhooks to an app's OpenAPI document."""
    app.webhooks.post("job-event", status_code=204, operation_id="job_event")(_job_event)
    generate_schema = app.openapi

    def complete_schema() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _add_problem_responses(generate_schema())
            type_results(app.openapi_schema["components"]["schemas"])
            enumerate_constants(app.openapi_schema["components"]["schemas"])
            make_defaults_optional(app.openapi_schema)
        return app.openapi_schema

    app.openapi = complete_schema


def _add_problem_responses(schema: dict[str, Any]) -> dict[str, Any]:
    """Replace FastAPI's validation errors by problem documents, and make API keys optional."""
    models = schema["components"]["schemas"]
    problem_schema = ProblemDocument.model_json_schema(ref_template=_REF_TEMPLATE)
    models |= problem_schema.pop("$defs", {}) | {_PROBLEM_SCHEMA: problem_schema}
    for unused in ("HTTPValidationError", "ValidationError"):
        models.pop(unused, None)
    problem_response = {
        "description": "A problem document.",
        "content": {
            "application/problem+json": {"schema": {"$ref": _REF_TEMPLATE.format(model=_PROBLEM_SCHEMA)}}
        },
    }
    for path in (*schema["paths"].values(), *schema.get("webhooks", {}).values()):
        for method, operation in path.items():
            if method in _HTTP_METHODS:
                operation["responses"].pop("422", None)
                operation["responses"]["default"] = problem_response
                if "security" in operation:
                    operation["security"].append({})  # no key is required if none is configured
                _describe_event_streams(operation)
    for path in schema.get("webhooks", {}).values():  # the receiver responds, not this API
        for operation in path.values():
            del operation["responses"]["default"]
    return schema


def _describe_event_streams(operation: dict[str, Any]) -> None:
    """Describe event streams in OpenAPI 3.1; FastAPI uses `itemSchema` of OpenAPI 3.2."""
    for response in operation["responses"].values():
        stream = response.get("content", {}).get("text/event-stream")
        if stream and stream.pop("itemSchema", None):
            stream["schema"] = {"type": "string", "description": "Server-sent events; `data` is a JobView."}
