"""A simulated S3 bucket behind the product's own `S3Store`: conditional writes, versions, lost answers."""

import hashlib
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from botocore.exceptions import ClientError, ReadTimeoutError

from simulator.world import World, wait


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One object of the bucket."""

    data: bytes
    etag: str
    modified: datetime
    attributes: Any


class Bucket:
    """All objects, by key."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.objects: dict[str, StoredObject] = {}
        self.lost_share = 0.0

    def retried(self, operation: Callable[[], Any]) -> Any:
        """Do what boto3 does with a lost request or answer: repeat it, up to ten times."""
        for number in range(10):
            try:
                return operation()
            except ReadTimeoutError:
                wait(self.world.sleep(0.1 * 2 ** min(number, 6)))
        return operation()

    async def reach(self, *, is_answer: bool = False) -> None:
        """Cross the network to or from the store."""
        world = self.world
        await world.sleep(world.random.uniform(0.001, 0.02))
        if not world.faults_ended and world.random.random() < self.lost_share:
            world.cover("s3 lost", is_answer)
            raise ReadTimeoutError(endpoint_url="simulated")


class _Body(io.BytesIO):
    def iter_chunks(self, size: int) -> Iterator[bytes]:
        while block := self.read(size):
            yield block


class S3Client:
    """The methods of a boto3 client that the product uses."""

    def __init__(self, bucket: Bucket, only_new: bool) -> None:
        self._bucket, self._only_new = bucket, only_new

    def put_object(self, *, Bucket: str, Key: str, Body: Any, **attributes: Any) -> Any:
        data = Body if isinstance(Body, bytes) else Body.read()
        return self._bucket.retried(partial(self._put, Key, data, attributes))

    def _put(self, Key: str, data: bytes, attributes: Any) -> Any:
        wait(self._bucket.reach())
        if self._only_new and Key in self._bucket.objects:
            raise _error("PreconditionFailed", 412, "PutObject")
        etag = f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"'
        self._bucket.objects[Key] = StoredObject(data, etag, self._bucket.world.wall(), attributes)
        wait(self._bucket.reach(is_answer=True))
        return {"ETag": etag}

    def head_object(self, *, Bucket: str, Key: str, **conditions: Any) -> Any:
        return self._described(Key, "HeadObject")

    def get_object(self, *, Bucket: str, Key: str, Range: str | None = None, **conditions: Any) -> Any:
        response = self._described(Key, "GetObject")
        wanted = conditions.get("IfMatch")
        if wanted is not None and wanted != response["ETag"]:
            raise _error("PreconditionFailed", 412, "GetObject")
        data = self._bucket.objects[Key].data
        if Range:
            start, _, end = Range.removeprefix("bytes=").partition("-")
            if int(start) >= len(data):
                raise _error("InvalidRange", 416, "GetObject")
            data = data[int(start) : int(end) + 1 if end else None]
        return {**response, "Body": _Body(data)}

    def _described(self, key: str, operation: str) -> dict[str, Any]:
        self._bucket.retried(lambda: wait(self._bucket.reach()))
        stored = self._bucket.objects.get(key)
        if stored is None:
            raise _error("404" if operation == "HeadObject" else "NoSuchKey", 404, operation)
        return {
            "ContentLength": len(stored.data),
            "ETag": stored.etag,
            "LastModified": stored.modified,
            "Metadata": stored.attributes.get("Metadata", {}),
        }

    def delete_object(self, *, Bucket: str, Key: str) -> Any:
        def delete() -> None:
            wait(self._bucket.reach())
            self._bucket.objects.pop(Key, None)
            wait(self._bucket.reach(is_answer=True))

        self._bucket.retried(delete)
        return {}

    def get_paginator(self, name: str) -> Any:
        if name != "list_objects_v2":
            raise NotImplementedError(f"S3 {name}: add it to tests/simulation/simulator/store.py")
        return self

    def paginate(self, *, Bucket: str, Prefix: str = "", StartAfter: str = "") -> Iterator[Any]:
        self._bucket.retried(lambda: wait(self._bucket.reach()))
        yield {
            "Contents": [
                {"Key": key, "Size": len(stored.data), "ETag": stored.etag, "LastModified": stored.modified}
                for key, stored in sorted(self._bucket.objects.items())
                if key.startswith(Prefix) and key > StartAfter
            ]
        }


def _error(code: str, status: int, operation: str) -> ClientError:
    response: Any = {"Error": {"Code": code, "Message": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, operation)
