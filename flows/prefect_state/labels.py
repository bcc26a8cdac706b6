"""Tags, labels and state names that link a batch or pipeline with its child jobs."""

from typing import Final

CHAIN_TAG: Final = "chain"
"""Tag of every run that creates child jobs and waits for them; prefect.yaml sets it on their deployments."""
HOUSEKEEPING_TAG: Final = "housekeeping"
"""Tag of every run that is not a job: webhook deliveries and maintenance; prefect.yaml sets it."""
PARENT_TAG: Final = "part-of:"
"""Prefix of the tag of a child job; the id of the parent's run follows."""
RETRY_OF_LABEL: Final = "musetalk.retry_of"
"""Label of a run: id of the run that it retries."""
CREATED_BY_LABEL: Final = "musetalk.request"
"""Label of a job: random id of the request that created it. A replay gets the run of another request."""
CHILD_KEY_LABEL: Final = "musetalk.work"
"""Label of a child job: hash of its work. Equal work has equal hashes."""
CHILD_NAME_LABEL: Final = "musetalk.part"
"""Label of a child job: its step or row."""
YIELD_COUNT: Final = "musetalk.yields"
"""Label of a parent run: how often it has yielded its worker slot so far."""
WAITING_STATE: Final = "Waiting"
"""Name of the state of a parent run that has yielded its slot: it has started, and continues by itself."""


def parent_tag(parent: object) -> str:
    """Return the tag of the child jobs of a run."""
    return f"{PARENT_TAG}{parent}"
