"""The `pipeline` flow: jobs that use each other's outputs."""

from prefect import flow

from flows.orchestration.pipeline_runner import run_pipeline
from flows.orchestration.run_report import run_report
from flows.prefect_state.flow_options import FLOW_OPTIONS
from flows.schemas.control import DEFAULT_CONTROL, Control
from flows.schemas.pipeline import PipelineJob, PipelineResult
from flows.storage.job_access import check_access


@flow(name="pipeline", **FLOW_OPTIONS)
def pipeline(job: PipelineJob, control: Control = DEFAULT_CONTROL) -> PipelineResult:
    """Run each step as a child job as soon as its inputs are ready; reuse steps that already succeeded."""
    with run_report() as report:
        check_access(job)
        return run_pipeline(job.steps, report)
