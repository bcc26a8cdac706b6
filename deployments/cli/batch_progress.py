"""Rows of a batch that fail while `musetalk watch` shows its progress."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from deployments.console import BATCH_TYPES

if TYPE_CHECKING:
    from api.client import MusetalkClient

_MAX_LISTED_ROWS: Final = 100
_FAILED_STATUSES: Final = ["failed", "canceled", "aborted"]


class BatchProgress:
    """Prints each row of a batch that fails, once."""

    def __init__(self, client: "MusetalkClient", log: Callable[[str], None]) -> None:
        """
        Prepare for one job of any type.

        Args:
            client: API client.
            log:    called with one line per failed row.
        """
        self._client, self._log = client, log
        self._done_count = -1
        self._printed_jobs = set[str]()

    def update(self, job: Mapping[str, Any]) -> None:
        """Print the rows that failed since the last call; requests them only if more rows have ended."""
        done_count = job["progress"]["done"]
        if job["type"] not in BATCH_TYPES or job["status"] != "running" or done_count == self._done_count:
            return
        self._done_count = done_count
        for child in self._client.jobs(_MAX_LISTED_ROWS, part_of=job["id"], status=_FAILED_STATUSES):
            if child["id"] not in self._printed_jobs:
                self._printed_jobs.add(child["id"])
                error = child["error"] or {"message": child["status"], "code": child["status"]}
                self._log(f"row {child['part']}: {error['message']} [{error['code']}]")

    @staticmethod
    def has_failures(job: Mapping[str, Any]) -> bool:
        """Return whether a row of a finished batch did not succeed; False for any other job."""
        result = job["result"] or {}
        return job["type"] in BATCH_TYPES and any(
            result.get(name) for name in ("failed", "canceled", "invalid")
        )
