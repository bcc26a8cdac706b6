"""Routes for avatars: faces prepared ahead of time, so that jobs with them need no preparation."""

from asyncio import to_thread
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Path, Query, Request, Response
from pydantic import BaseModel, Field

from api.auth.api_keys import CANCEL, READ, caller_tenant
from api.errors import Problem
from api.routes.file_responses import picture_response
from api.routes.submit import add_submit_route
from api.schemas.job_request import request_model
from flows.registry import JOB_TYPES
from tasks.catalog import avatar_notes
from tasks.catalog.avatar_notes import AvatarNote
from tasks.errors import ObjectMissing

router = APIRouter(prefix="/v1/avatars", tags=["avatars"])

Avatar = Annotated[str, Path(pattern="^[0-9a-f]{64}$", description="Key of the avatar.")]

_PICTURE: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "The picture.",
        "content": {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}},
    },
    304: {"description": "The picture is the one of `If-None-Match`."},
}
_PREPARE = JOB_TYPES["prepare_avatar"]


class AvatarView(AvatarNote):
    """A prepared avatar."""

    ready: bool = Field(
        description="Whether it is in the cache. If not, the next job with the same file prepares it again."
    )


class AvatarPage(BaseModel):
    """A page of the list of avatars."""

    avatars: list[AvatarNote]
    next_cursor: str | None = Field(description="Send it as `cursor` for the next page; null at the end.")


add_submit_route(
    router,
    "",
    request_model(_PREPARE),
    lambda _: _PREPARE,
    "warm_up_avatar",
    "Prepare a face ahead of time with a job of type prepare_avatar",
)


@router.get("", name="list_avatars", dependencies=[READ])
async def list_avatars(
    request: Request,
    response: Response,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[
        str | None, Query(max_length=300, description="`next_cursor` of the last page.")
    ] = None,
) -> AvatarPage:
    """List prepared avatars, in no particular order."""
    avatars, next_cursor = await to_thread(avatar_notes.list_notes, caller_tenant(request), cursor, limit)
    if next_cursor:
        link = request.url_for("list_avatars").replace(query=request.url.query)
        link = link.include_query_params(cursor=next_cursor)
        response.headers["Link"] = f'<{link}>; rel="next"'
    return AvatarPage(avatars=avatars, next_cursor=next_cursor)


@router.get("/{avatar}", name="read_avatar", dependencies=[READ])
async def read_avatar(request: Request, avatar: Avatar) -> AvatarView:
    """Return an avatar and whether it is in the cache."""

    def read_view() -> AvatarView:
        note = avatar_notes.read_note(avatar, caller_tenant(request))
        return AvatarView(**note.model_dump(), ready=avatar_notes.is_cached(avatar))

    try:
        return await to_thread(read_view)
    except ObjectMissing as error:
        raise Problem("not_found", str(error)) from error


@router.get(
    "/{avatar}/picture",
    name="read_avatar_picture",
    response_class=Response,
    response_model=None,
    responses=_PICTURE,
    dependencies=[READ],
)
async def read_avatar_picture(
    request: Request,
    avatar: Avatar,
    if_none_match: Annotated[str | None, Header(alias="If-None-Match")] = None,
) -> Response:
    """Return a picture of the avatar's face: a JPEG of at most 240 pixels width and height."""
    try:
        content = await to_thread(avatar_notes.read_picture, avatar, caller_tenant(request))
    except ObjectMissing as error:
        raise Problem("not_found", str(error)) from error
    return picture_response(content, if_none_match)


@router.delete("/{avatar}", status_code=204, name="delete_avatar", dependencies=[CANCEL])
async def delete_avatar(request: Request, avatar: Avatar) -> None:
    """
    Delete an avatar. Data shared with other tenants is deleted when the last of them deletes it.

    Workers on other computers evict their copy when they need the disk space.
    """
    try:
        is_deleted = await to_thread(avatar_notes.delete_avatar, avatar, caller_tenant(request))
    except ObjectMissing as error:
        raise Problem("not_found", str(error)) from error
    if not is_deleted:
        raise Problem("in_use", "A job is using this avatar. Try again when the job has ended.")
