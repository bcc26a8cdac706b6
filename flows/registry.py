"""Registry of all flows: media job types, orchestration job types, and internal flows."""

from flows import schemas
from flows.batch_schemas import BatchJob, BatchResult, RenderNewJob
from flows.janitor_schemas import USUAL_WORK
from flows.job_types import WORK_TYPES, JobType
from flows.pipeline_schemas import PersonaSyncJob, PipelineJob, PipelineResult

__all__ = ["CHAINS", "FLOWS", "INTERNAL", "JOB_TYPES", "WORK_TYPES", "JobType"]

CHAINS = {
    job_type.name: job_type
    for job_type in (
        JobType("pipeline", PipelineJob, PipelineResult, "light", "flows.chains.models.require_for_pipeline"),
        JobType("persona_sync", PersonaSyncJob, PipelineResult, "light"),
        JobType("batch", BatchJob, BatchResult, "light"),
        JobType("render_new", RenderNewJob, BatchResult, "light"),
    )
}
"""Job types that create child jobs and wait for them."""

JOB_TYPES = {**WORK_TYPES, **CHAINS}
"""Job types that clients may submit."""

INTERNAL = {
    job_type.name: job_type
    for job_type in (
        JobType("janitor", schemas.JanitorJob, schemas.JanitorResult, "light", default=USUAL_WORK),
        JobType("end_parts", schemas.EndPartsJob, schemas.EndPartsResult, "light"),
        JobType("announce", schemas.AnnounceJob, schemas.AnnounceResult, "light"),
        JobType("notify", schemas.NotifyJob, schemas.NotifyResult, "light"),
    )
}
"""Flows that clients cannot submit; automations, schedules and the system start them."""

FLOWS = {**JOB_TYPES, **INTERNAL}
"""All flows by name."""
