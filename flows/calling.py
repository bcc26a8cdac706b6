"""The former name of `flows.client`, kept for one release."""

from flows.client import run_job, start_job

__all__ = ["run_job", "start_job"]
