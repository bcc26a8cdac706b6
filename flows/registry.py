"""Registry of all flows: media job types, orchestration job types, and internal flows."""

from flows.schemas.batch import BatchJob, BatchResult, RenderNewJob
from flows.schemas.job_types import MEDIA_JOB_TYPES, JobType
from flows.schemas.maintenance import (
    DEFAULT_JANITOR_JOB,
    EndPartsJob,
    EndPartsResult,
    JanitorJob,
    JanitorResult,
)
from flows.schemas.pipeline import PersonaSyncJob, PipelineJob, PipelineResult
from flows.schemas.webhook import AnnounceJob, AnnounceResult, NotifyJob, NotifyResult

__all__ = ["FLOWS", "INTERNAL_FLOWS", "JOB_TYPES", "MEDIA_JOB_TYPES", "ORCHESTRATION_JOB_TYPES", "JobType"]

ORCHESTRATION_JOB_TYPES = {
    job_type.name: job_type
    for job_type in (
        JobType(
            "pipeline",
            "Pipeline",
            PipelineJob,
            PipelineResult,
            "light",
            "flows.orchestration.model_checks.check_pipeline",
        ),
        JobType(
            "persona_sync",
            "Lip sync with captions",
            PersonaSyncJob,
            PipelineResult,
            "light",
            "flows.media.model_selection.check_persona",
        ),
        JobType(
            "batch", "Batch", BatchJob, BatchResult, "light", "flows.orchestration.model_checks.check_batch"
        ),
        JobType(
            "render_new",
            "Bucket watch",
            RenderNewJob,
            BatchResult,
            "light",
            "flows.orchestration.model_checks.check_batch",
        ),
    )
}
"""Job types that create child jobs and wait for them."""

JOB_TYPES = {**MEDIA_JOB_TYPES, **ORCHESTRATION_JOB_TYPES}
"""Job types that clients may submit."""

INTERNAL_FLOWS = {
    job_type.name: job_type
    for job_type in (
        JobType(
            "janitor",
            "Housekeeping: maintenance",
            JanitorJob,
            JanitorResult,
            "light",
            default=DEFAULT_JANITOR_JOB,
        ),
        JobType("end_parts", "Housekeeping: child jobs", EndPartsJob, EndPartsResult, "light"),
        JobType("announce", "Housekeeping: webhook queue", AnnounceJob, AnnounceResult, "light"),
        JobType("notify", "Housekeeping: webhook delivery", NotifyJob, NotifyResult, "light"),
    )
}
"""Flows that clients cannot submit; automations, schedules and the system start them."""

FLOWS = {**JOB_TYPES, **INTERNAL_FLOWS}
"""All flows by name."""
