"""The `pipeline` flow: jobs that use each other's outputs."""

from prefect import flow

from flows.chains.books import run_report
from flows.chains.steps import run_pipeline
from flows.control import DEFAULT_CONTROL, Control
from flows.job_access import check_access
from flows.options import FLOW_OPTIONS
from flows.pipeline_schemas import PipelineJob, PipelineResult


@flow(name="pipeline", **FLOW_OPTIONS)
def pipeline(job: PipelineJob, control: Control = DEFAULT_CONTROL) -> PipelineResult:
    """Run each step as a child job as soon as its inputs are ready; reuse steps that already succeeded."""
    with run_report() as report:
        check_access(job)
        return run_pipeline(job.steps, report)
