"""Routes for small pictures of jobs: of finished ones, and the newest frame of a running one."""

from typing import Annotated, Any, Final
from uuid import UUID

from anyio import to_thread
from fastapi import APIRouter, Header, Response

from api.auth.api_keys import READ
from api.dependencies import JobsDep, ThumbnailsDep
from api.errors import Problem
from api.routes.file_responses import missing_file_problem, picture_response
from tasks.catalog.preview_frames import read_preview_frame

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

_PICTURES: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "The picture.",
        "content": {
            kind: {"schema": {"type": "string", "format": "binary"}} for kind in ("image/jpeg", "image/png")
        },
    },
    304: {"description": "The picture is the one of `If-None-Match`."},
}
_PREVIEWS: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "The picture.",
        "content": {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}},
    },
    304: {"description": "The picture is the one of `If-None-Match`."},
    404: {"description": "`no_preview`: the job does not run, or has rendered no frame yet."},
}


@router.get(
    "/{job_id}/thumbnail",
    response_class=Response,
    response_model=None,
    responses=_PICTURES,
    dependencies=[READ],
)
async def read_thumbnail(
    jobs: JobsDep,
    thumbnails: ThumbnailsDep,
    job_id: UUID,
    if_none_match: Annotated[str | None, Header(alias="If-None-Match")] = None,
) -> Response:
    """
    Return a small picture of a finished job, at most 1 MB. It can appear some seconds after the result.

    Videos: up to eight frames in rows of four, each 240 pixels wide. Speech: the waveform. Image analysis:
    the picture with boxes.
    """
    job = await jobs.read(job_id)
    if job.status != "succeeded":
        raise missing_file_problem(job.status)
    picture = await thumbnails.read(job_id)
    if picture is None:
        raise Problem("not_found", "The job has no picture.")
    return picture_response(
        picture.content, if_none_match, version=picture.version, media_type=picture.media_type
    )


@router.get(
    "/{job_id}/preview",
    response_class=Response,
    response_model=None,
    responses=_PREVIEWS,
    dependencies=[READ],
)
async def read_preview(
    jobs: JobsDep,
    job_id: UUID,
    if_none_match: Annotated[str | None, Header(alias="If-None-Match")] = None,
) -> Response:
    """
    Return the newest preview frame of a running video job: a JPEG of at most 320 pixels width and height.

    `progress.preview` of the job is its number, and the event stream reports each new one.
    """
    job = await jobs.read(job_id)
    content = await to_thread.run_sync(read_preview_frame, job_id) if job.status == "running" else None
    if content is None:
        raise Problem("no_preview", f"The job is {job.status} and has no preview frame.")
    return picture_response(content, if_none_match, cache="no-cache")
