"""The `pipeline` flow: jobs that use each other's outputs."""

from prefect import flow

from flows.chains.books import books
from flows.chains.steps import run_steps
from flows.control import USUAL, Control
from flows.job_access import check_access
from flows.options import JOB
from flows.pipeline_schemas import PipelineJob, PipelineResult


@flow(name="pipeline", **JOB)
def pipeline(job: PipelineJob, control: Control = USUAL) -> PipelineResult:
    """Run each step as a child job as soon as its inputs are ready; reuse steps that already succeeded."""
    with books() as open_books:
        check_access(job)
        return run_steps(job.steps, open_books)
