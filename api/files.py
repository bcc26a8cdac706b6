"""Finished files, streamed from a folder store or handed over as a link of the object store."""

from typing import Any
from urllib.parse import quote

from fastapi import Response
from fastapi.responses import FileResponse, RedirectResponse

from api.problems import Problem
from api.views import FinishedFile
from tasks.media_types import media_type
from tasks.storage import FolderObjects, Objects, Place, S3Objects, home_store

LINK_LIFE_S = 3600


def answer_with(file: FinishedFile) -> Response:
    """
    Answer with a finished file.

    Args:
        file: what a job's result says.

    Returns:
        The file itself, which knows Range requests, or a redirect to a link that works for an hour.

    Raises:
        Problem: `expired` when the file is gone.
    """
    place = _place(file.uri)
    kind = media_type(file.name)
    disposition = f"inline; filename*=UTF-8''{quote(file.name)}"
    if isinstance(place.objects, FolderObjects):
        path = place.objects.path(place.key)
        if not path.is_file():
            raise Problem("expired", "The file is no longer kept.")
        headers = {"Content-Disposition": disposition, "X-Content-Type-Options": "nosniff"}
        return FileResponse(path, media_type=kind, headers=headers)
    link = place.objects.presigned_url(place.key, LINK_LIFE_S)
    if link is None:
        raise Problem("storage_unavailable", "This store makes no links.")
    return RedirectResponse(link, 307, headers={"Cache-Control": "no-store"})


def _place(uri: str) -> Place:
    """Find a stored file: in our own store, else in the bucket that its job was asked to write to."""
    home: Any = home_store()
    own: Objects = home
    root = _root(home)
    if uri.startswith(root):
        return Place(own, uri.removeprefix(root))
    if uri.startswith("s3://"):
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        return Place(S3Objects(bucket), key)
    raise Problem("expired", "The file lies in a store that is not in use any more.")


def _root(home: Any) -> str:
    if isinstance(home, FolderObjects):
        return f"file://{home.root.as_posix()}/"
    return f"s3://{home.bucket}/{home.prefix}"
