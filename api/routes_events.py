"""Notices that objects came into a bucket: they have the tasks look that render what is new there."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote_plus

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from api.doors import NewTasksDep
from api.keys import SUBMIT, caller_tenant
from api.problems import Problem

router = APIRouter(prefix="/v1/events", tags=["events"])

_MOST_BYTES: Final = 2_000_000
_CREATED: Final = ("ObjectCreated", "s3:ObjectCreated", "Object Created")


@dataclass(frozen=True, slots=True)
class Came:
    """An object that came."""

    bucket: str
    key: str


class StartedTask(BaseModel):
    """A task that looks."""

    name: str
    job: str = Field(description="Its run: /v1/jobs/ID. Notices that come close together share one.")


class EventsView(BaseModel):
    """What came of a notice."""

    objects: int = Field(description="That came, by this notice.")
    started: list[StartedTask]
    note: str | None = Field(default=None, description="What there is to be done by hand.")


_BODY: Final = {
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


@router.post("/s3", status_code=202, name="objects_came", openapi_extra=_BODY, dependencies=[SUBMIT])
async def objects_came(request: Request, tasks: NewTasksDep) -> EventsView:
    """
    Take an event notification of S3 as AWS, MinIO, SNS or EventBridge post it.

    Every task of `render_new` whose folders hold one of the objects looks at once; what it finds is done
    once, however often and in whatever order notices come.
    """
    document = _read(await _body(request))
    if document.get("Type") == "SubscriptionConfirmation":
        note = "Open the SubscribeURL of this message yourself: addresses in messages are not called."
        return EventsView(objects=0, started=[], note=note)
    came = list(_came(document))
    tenant = caller_tenant(request)
    started = [
        StartedTask(name=task.job.name, job=str(await tasks.start(task)))
        for task in (await tasks.tasks() if came else [])
        if tenant in {None, task.control.tenant} and any(task.wants(one.bucket, one.key) for one in came)
    ]
    return EventsView(objects=len(came), started=started)


async def _body(request: Request) -> bytes:
    """SNS sends JSON as text/plain: what it is called does not matter here."""
    body = b""
    async for block in request.stream():
        body += block
        if len(body) > _MOST_BYTES:
            raise Problem("malformed_request", f"A notice has at most {_MOST_BYTES} bytes.")
    return body


def _read(body: bytes) -> Mapping[str, Any]:
    document = _object(body)
    if document.get("Type") == "Notification":  # SNS wraps the document as text
        document = _object(str(document.get("Message", "")).encode())
    return document


def _object(body: bytes) -> Mapping[str, Any]:
    try:
        found: Any = json.loads(body)
    except (ValueError, RecursionError):
        raise Problem("malformed_request", "The notice is not JSON.") from None
    if not isinstance(found, dict):
        raise Problem("malformed_request", "The notice is no JSON object.")
    return found  # pyright: ignore[reportUnknownVariableType]


def _came(document: Mapping[str, Any]) -> Iterator[Came]:
    records: Any = document.get("Records", [])
    if document.get("detail-type") is not None:  # EventBridge; its keys are as they are
        records = [{"eventName": document["detail-type"], "s3": document.get("detail"), "plain": True}]
    if not isinstance(records, list):
        raise Problem("malformed_request", "Records is no list.")
    for record in records:  # pyright: ignore[reportUnknownVariableType]
        try:
            bucket, key = record["s3"]["bucket"]["name"], record["s3"]["object"]["key"]
            event = str(record["eventName"])
        except (KeyError, TypeError):
            raise Problem("malformed_request", "A record names no event, bucket and object.") from None
        if event.startswith(_CREATED):
            yield Came(str(bucket), str(key) if record.get("plain") else unquote_plus(str(key)))
