"""Route for bucket notifications: created objects trigger the `render_new` watches of their folder."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote_plus

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from api.auth.api_keys import SUBMIT, caller_tenant
from api.dependencies import BucketWatchesDep
from api.errors import Problem

router = APIRouter(prefix="/v1/events", tags=["bucket watches"])

_MAX_BODY_BYTES: Final = 2_000_000
_CREATED_EVENT_PREFIXES: Final = ("ObjectCreated", "s3:ObjectCreated", "Object Created")


@dataclass(frozen=True, slots=True)
class CreatedObject:
    """A created object."""

    bucket: str
    key: str


class StartedTask(BaseModel):
    """A bucket watch that was triggered."""

    name: str
    job: str = Field(description="Id of its job (/v1/jobs/ID). Notifications close together share one job.")


class EventsView(BaseModel):
    """The result of a bucket notification."""

    objects: int = Field(description="Number of created objects in the notification.")
    started: list[StartedTask]
    note: str | None = Field(default=None, description="A manual step that is required.")


_OPENAPI_BODY: Final = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"type": "object"},
                "examples": {
                    "object created": {
                        "value": {
                            "Records": [
                                {
                                    "eventName": "ObjectCreated:Put",
                                    "s3": {
                                        "bucket": {"name": "media"},
                                        "object": {"key": "speech/new/hello.wav"},
                                    },
                                }
                            ]
                        }
                    }
                },
            }
        },
    }
}


@router.post("/s3", status_code=202, name="objects_came", openapi_extra=_OPENAPI_BODY, dependencies=[SUBMIT])
async def receive_bucket_event(request: Request, watches: BucketWatchesDep) -> EventsView:
    """
    Receive an S3 event notification as sent by AWS, MinIO, SNS or EventBridge.

    Triggers every `render_new` watch whose folders contain one of the created objects. Each new object is
    rendered once, regardless of the number and order of notifications.
    """
    document = _parse_notification(await _read_body(request))
    if document.get("Type") == "SubscriptionConfirmation":
        note = "Open the SubscribeURL of this message to confirm the subscription; it is not opened for you."
        return EventsView(objects=0, started=[], note=note)
    created = list(_created_objects(document))
    tenant = caller_tenant(request)
    started = [
        StartedTask(name=task.job.name, job=str(await watches.trigger(task)))
        for task in (await watches.list_watches() if created else [])
        if tenant in {None, task.control.tenant} and any(task.matches(one.bucket, one.key) for one in created)
    ]
    return EventsView(objects=len(created), started=started)


async def _read_body(request: Request) -> bytes:
    """Read the body without parsing by media type, because SNS sends JSON as text/plain."""
    body = b""
    async for block in request.stream():
        body += block
        if len(body) > _MAX_BODY_BYTES:
            raise Problem("malformed_request", f"The notification exceeds {_MAX_BODY_BYTES} bytes.")
    return body


def _parse_notification(body: bytes) -> Mapping[str, Any]:
    document = _parse_object(body)
    if document.get("Type") == "Notification":  # SNS wraps the document as a JSON string
        document = _parse_object(str(document.get("Message", "")).encode())
    return document


def _parse_object(body: bytes) -> Mapping[str, Any]:
    try:
        document: Any = json.loads(body)
    except (ValueError, RecursionError):
        raise Problem("malformed_request", "The notification is not valid JSON.") from None
    if not isinstance(document, dict):
        raise Problem("malformed_request", "The notification is not a JSON object.")
    return document  # pyright: ignore[reportUnknownVariableType]


def _created_objects(document: Mapping[str, Any]) -> Iterator[CreatedObject]:
    records: Any = document.get("Records", [])
    if document.get("detail-type") is not None:  # EventBridge, whose keys are not URL-encoded
        records = [{"eventName": document["detail-type"], "s3": document.get("detail"), "plain": True}]
    if not isinstance(records, list):
        raise Problem("malformed_request", "`Records` is not a list.")
    for record in records:  # pyright: ignore[reportUnknownVariableType]
        try:
            bucket, key = record["s3"]["bucket"]["name"], record["s3"]["object"]["key"]
            event = str(record["eventName"])
        except (KeyError, TypeError):
            raise Problem(
                "malformed_request", "A record lacks its event name, bucket name or object key."
            ) from None
        if event.startswith(_CREATED_EVENT_PREFIXES):
            yield CreatedObject(str(bucket), str(key) if record.get("plain") else unquote_plus(str(key)))
