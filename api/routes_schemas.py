"""The shapes of jobs, for who makes forms and clients of them."""

from typing import Any

from fastapi import APIRouter

from api.keys import READ
from api.problems import Problem
from api.submission import schema_of
from flows.registry import JOB_TYPES

router = APIRouter(prefix="/v1/schemas", tags=["schemas"])


@router.get("", dependencies=[READ])
async def list_schemas() -> dict[str, list[str]]:
    """Name the job types."""
    return {"types": list(JOB_TYPES)}


@router.get("/{job_type}", dependencies=[READ])
async def read_schema(job_type: str) -> dict[str, Any]:
    """Give the JSON Schema (2020-12) of what a job of this type takes, and of what it gives."""
    known = JOB_TYPES.get(job_type)
    if known is None:
        raise Problem("not_found", f"There is no job type of that name; there are: {', '.join(JOB_TYPES)}.")
    return {"type": known.name, "request": schema_of(known), "result": known.result.model_json_schema()}
