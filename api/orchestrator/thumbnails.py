"""
Small pictures of jobs, which workers make for Prefect's pages.

They are frames of a video, a waveform, or a picture with boxes, as data URLs inside Markdown artifacts.
"""

import base64
import binascii
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol
from uuid import UUID

from api.orchestrator.connection import PrefectConnection
from flows.prefect_state.artifacts import read_latest_artifacts_async

if TYPE_CHECKING:
    from prefect.client.schemas.objects import Artifact

_KEYS: Final = ("preview", "analysis", "waveform")
"""Keys of the artifacts: of video jobs, of image analyses, of speech jobs."""
_MAX_BYTES: Final = 1_000_000
_PICTURE: Final = re.compile(r"!\[[^\]\n]{0,100}\]\(data:image/(jpeg|png);base64,([A-Za-z0-9+/]+={0,2})\)")
_SIGNATURES: Final = {"jpeg": b"\xff\xd8\xff", "png": b"\x89PNG\r\n\x1a\n"}


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A picture; `version` differs from that of every other picture of the job."""

    content: bytes
    media_type: str
    version: str


class ThumbnailStore(Protocol):
    """The interface through which the route reads pictures; tests use a fake."""

    async def read(self, job_id: UUID) -> Thumbnail | None:
        """Return the picture of a job; None if it has none."""
        ...


class PrefectThumbnailStore:
    """Pictures in artifacts on a Prefect server."""

    def __init__(self, connection: PrefectConnection) -> None:
        """Use a shared connection."""
        self._connection = connection

    async def read(self, job_id: UUID) -> Thumbnail | None:
        """Return the picture of a job; see `ThumbnailStore`."""
        artifacts = await self._connection.read(
            lambda client: read_latest_artifacts_async(client, [job_id], _KEYS)
        )
        by_key = artifacts.get(job_id, {})
        found = (picture_of(by_key[key]) for key in _KEYS if key in by_key)
        return next((picture for picture in found if picture is not None), None)


def picture_of(artifact: "Artifact") -> Thumbnail | None:
    """
    Return the first picture in a Markdown artifact; None if it holds none, or one that is not what it says.

    Args:
        artifact: an artifact, which any flow on the server may have written.
    """
    text = artifact.data if isinstance(artifact.data, str) else ""
    match = _PICTURE.search(text[: 2 * _MAX_BYTES])
    if match is None:
        return None
    kind, encoded = match.groups()
    try:
        content = base64.b64decode(encoded, validate=True)
    except binascii.Error:
        return None
    if len(content) > _MAX_BYTES or not content.startswith(_SIGNATURES[kind]):
        return None
    return Thumbnail(content, f"image/{kind}", str(artifact.id))
