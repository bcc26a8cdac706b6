"""Routes that send output files: OpenAPI description of their responses, problem of a missing file."""

from typing import Any, Final

from api.errors import Problem
from api.schemas.job_views import RETRY_AFTER_S

_BINARY: Final[Any] = {
    "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
}
FILE_RESPONSES: Final[Any] = {
    200: {"description": "The file, with the media type of its name.", **_BINARY},
    206: {"description": "The range requested by `Range`.", **_BINARY},
    410: {"description": "`result_replaced`: another object replaced it; `expired`: it was deleted."},
    416: {"description": "The range is not satisfiable."},
}


def missing_file_problem(status: str) -> Problem:
    """Return the problem for a missing output file: `not_ready` or `not_found`."""
    if status in {"queued", "scheduled", "running"}:
        return Problem("not_ready", f"The job is still {status}.", headers={"Retry-After": RETRY_AFTER_S})
    return Problem("not_found", "The job has no such output file.")
