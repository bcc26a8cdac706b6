"""Routes for the JSON Schemas of job parameters and results, for generating forms and clients."""

from functools import cache
from typing import Any

from fastapi import APIRouter

from api.auth.api_keys import READ
from api.errors import Problem
from api.schemas.job_request import request_schema
from flows.registry import JOB_TYPES, JobType

router = APIRouter(prefix="/v1/schemas", tags=["job types"])


@router.get("", dependencies=[READ])
async def list_schemas() -> dict[str, list[str]]:
    """List the job types."""
    return {"types": list(JOB_TYPES)}


@router.get("/{job_type}", dependencies=[READ])
async def read_schema(job_type: str) -> dict[str, Any]:
    """Return the JSON Schemas (2020-12) of a job type's request and result."""
    entry = JOB_TYPES.get(job_type)
    if entry is None:
        raise Problem("not_found", f"Unknown job type. Known types: {', '.join(JOB_TYPES)}.")
    return _schemas(entry)


@cache  # they take 40 ms of CPU, and every form of the studio waits for them
def _schemas(entry: JobType) -> dict[str, Any]:
    return {"type": entry.name, "request": request_schema(entry), "result": entry.result.model_json_schema()}
