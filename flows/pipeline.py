"""pipeline: jobs that take in each other's results."""

from prefect import flow

from flows.chains.books import books
from flows.chains.steps import run_steps
from flows.control import USUAL, Control
from flows.job_access import check_access
from flows.options import JOB
from flows.pipeline_schemas import PipelineJob, PipelineResult


@flow(name="pipeline", **JOB)
def pipeline(job: PipelineJob, control: Control = USUAL) -> PipelineResult:
    """Begin each step when what it takes in is there; what was done before is taken as it is."""
    with books() as open_books:
        check_access(job)
        return run_steps(job.steps, open_books)
