"""Registry of all flows: media job types, orchestration job types, and internal flows."""

from flows import schemas
from flows.batch_schemas import BatchJob, BatchResult, RenderNewJob
from flows.janitor_schemas import DEFAULT_JANITOR_JOB
from flows.job_types import MEDIA_JOB_TYPES, JobType
from flows.pipeline_schemas import PersonaSyncJob, PipelineJob, PipelineResult

__all__ = ["FLOWS", "INTERNAL_FLOWS", "JOB_TYPES", "MEDIA_JOB_TYPES", "ORCHESTRATION_JOB_TYPES", "JobType"]

ORCHESTRATION_JOB_TYPES = {
    job_type.name: job_type
    for job_type in (
        JobType("pipeline", PipelineJob, PipelineResult, "light", "flows.chains.models.require_pipeline_models"),
        JobType("persona_sync", PersonaSyncJob, PipelineResult, "light"),
        JobType("batch", BatchJob, BatchResult, "light"),
        JobType("render_new", RenderNewJob, BatchResult, "light"),
    )
}
"""Job types that create child jobs and wait for them."""

JOB_TYPES = {**MEDIA_JOB_TYPES, **ORCHESTRATION_JOB_TYPES}
"""Job types that clients may submit."""

INTERNAL_FLOWS = {
    job_type.name: job_type
    for job_type in (
        JobType("janitor", schemas.JanitorJob, schemas.JanitorResult, "light", default=DEFAULT_JANITOR_JOB),
        JobType("end_parts", schemas.EndPartsJob, schemas.EndPartsResult, "light"),
        JobType("announce", schemas.AnnounceJob, schemas.AnnounceResult, "light"),
        JobType("notify", schemas.NotifyJob, schemas.NotifyResult, "light"),
    )
}
"""Flows that clients cannot submit; automations, schedules and the system start them."""

FLOWS = {**JOB_TYPES, **INTERNAL_FLOWS}
"""All flows by name."""
