"""What a run wrote about itself, in the words of `flows.outcome`."""

from flows.outcome import JobError, Progress, read_data, read_error, read_progress

__all__ = ["JobError", "Progress", "read_data", "read_error", "read_progress"]
