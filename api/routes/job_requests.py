"""Route for the request of a job, from which a client can submit a changed copy."""

from typing import Any
from uuid import UUID

from fastapi import APIRouter
from pydantic import BaseModel, Field

from api.auth.api_keys import READ
from api.dependencies import JobsDep
from api.jobs.model import Job
from tasks.storage.redaction import redact_secrets

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])


class JobRequestView(BaseModel):
    """The request of a job."""

    type: str = Field(description="Job type: the body can be sent to POST /v1/jobs/{type}.")
    body: dict[str, Any] = Field(
        description="The fields that were sent, with `control`; without the user name and query of addresses."
    )
    complete: bool = Field(
        description="Whether the body is what was sent. If not, addresses in it lack their query."
    )


@router.get("/{job_id}/request", dependencies=[READ])
async def read_job_request(jobs: JobsDep, job_id: UUID) -> JobRequestView:
    """Return the request of a job, for a new job with the same or changed fields."""
    job = await jobs.read(job_id)
    sent = dict(job.parameters)
    body: dict[str, Any] = redact_secrets(sent)
    return JobRequestView(type=job.type, body=body | _control_field(job), complete=body == sent)


def _control_field(job: Job) -> dict[str, Any]:
    """Return the field `control` of a job, without values that are the defaults."""
    control = job.control
    fields: dict[str, Any] = {
        "priority": control.priority if control.priority != "normal" else None,
        "max_time": control.max_time,
        "complete_in": control.complete_in,
        "gpu_id": control.gpu_id,
        "notify": control.notify.model_dump(mode="json", exclude_unset=True) if control.notify else None,
        "tags": list(job.tags),
        "metadata": dict(job.metadata),
    }
    sent = {name: value for name, value in fields.items() if value not in (None, [], {})}
    return {"control": sent} if sent else {}
