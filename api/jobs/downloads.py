"""Downloads of output files: streamed from a folder store, or redirected to a presigned link."""

from contextlib import suppress

from fastapi import Response
from fastapi.responses import FileResponse, RedirectResponse

from api.errors import Problem
from api.jobs.outputs import OutputFile
from tasks.catalog.stored_results import StoredOutput, find_pinned
from tasks.errors import ObjectMissing, RenderError, ResultReplaced
from tasks.file_names import content_disposition
from tasks.storage.media_types import media_type

LINK_LIFETIME_S = 3600


def file_response(file: OutputFile) -> Response:
    """
    Return the HTTP response for an output file.

    Args:
        file: the file as recorded in the job's result.

    Returns:
        The file itself, with support for Range requests, or a redirect to a presigned link that is valid for
        one hour. In a versioned bucket the link names the object version; in other buckets the object is
        compared with the result before the redirect.

    Raises:
        Problem: `expired` if the file was deleted, `result_replaced` if another object has replaced it.
    """
    stored = _find_stored(file)
    headers = {"Content-Disposition": content_disposition(file.name)}
    if stored.path is not None:
        headers["X-Content-Type-Options"] = "nosniff"
        return FileResponse(stored.path, media_type=media_type(file.name), headers=headers)
    link = stored.objects.presigned_url(
        stored.key, LINK_LIFETIME_S, stored.info.version, headers["Content-Disposition"]
    )
    if link is None:
        raise Problem("storage_unavailable", "This store cannot create presigned links.")
    return RedirectResponse(link, 307, headers={"Cache-Control": "no-store"})


def require_not_replaced(file: OutputFile) -> None:
    """
    Raise if another object has replaced a file. A missing file is reported when it is read.

    Raises:
        Problem: `result_replaced`.
    """
    with suppress(RenderError):
        try:
            find_pinned(file.ref)
        except ResultReplaced as error:
            raise _replaced_problem(error) from error


def _find_stored(file: OutputFile) -> StoredOutput:
    try:
        return find_pinned(file.ref)
    except ResultReplaced as error:
        raise _replaced_problem(error) from error
    except ObjectMissing as error:
        raise Problem("expired", "The file has been deleted.") from error


def _replaced_problem(error: ResultReplaced) -> Problem:
    return Problem("result_replaced", str(error), extra=error.details)
