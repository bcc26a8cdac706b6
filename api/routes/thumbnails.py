"""Route for small pictures of jobs."""

from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Header, Response

from api.auth.api_keys import READ
from api.dependencies import JobsDep, ThumbnailsDep
from api.errors import Problem
from api.routes.jobs import missing_file_problem

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
    headers = {"ETag": f'"{picture.version}"', "Cache-Control": "private, max-age=86400"}
    if if_none_match == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    return Response(picture.content, media_type=picture.media_type, headers=headers)
