"""Limit of concurrent uploads per tenant, and the threads in which uploads are written."""

from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from anyio import CapacityLimiter

from api.auth.key_file import ApiKey
from api.auth.rate_limits import limit_key
from api.errors import Problem

_WRITE_THREADS: Final = 8
_STORE_THREADS: Final = 4


class UploadLimiter:
    """
    Counts the open uploads of one API process.

    Uploads have threads of their own: one writes a block and is free again, so that neither slow clients nor
    a slow store delay downloads and other requests.
    """

    def __init__(self, max_open: int) -> None:
        """
        Create a limiter.

        Args:
            max_open: maximum open uploads per tenant, or per key without a tenant; 0 for no limit.
        """
        self._max_open = max_open
        self._open = Counter[str]()
        self.write_threads = CapacityLimiter(_WRITE_THREADS)
        self.store_threads = CapacityLimiter(_STORE_THREADS)

    @contextmanager
    def admit(self, caller: ApiKey) -> Generator[None]:
        """
        Count an upload while it is open.

        Raises:
            Problem: `concurrency_limited`, with Retry-After.
        """
        key = limit_key(caller)
        if self._max_open and self._open[key] >= self._max_open:
            raise Problem(
                "concurrency_limited",
                f"{self._max_open} uploads are open, which is the limit; wait for one to end.",
                headers={"Retry-After": "10"},
            )
        self._open[key] += 1
        try:
            yield
        finally:
            self._open[key] -= 1
            if not self._open[key]:
                del self._open[key]
