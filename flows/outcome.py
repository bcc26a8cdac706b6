"""Progress, errors and data that a run wrote as artifacts; re-exported from `flows.prefect_state.status`."""

from flows.prefect_state.status import JobError, Progress, read_data, read_error, read_progress

__all__ = ["JobError", "Progress", "read_data", "read_error", "read_progress"]
