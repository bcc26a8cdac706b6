"""Throttle for a shared server: after each request sleep twice its duration; stop after a time budget."""

import time
from collections.abc import Generator
from contextlib import contextmanager


class Pace:
    """Limits the rate of requests and their total time."""

    def __init__(self, limit_s: float, rest: float = 2.0) -> None:
        """
        Start the time budget now.

        Args:
            budget_s:     time budget in seconds.
            pause_factor: length of a pause, as a multiple of the duration of the step before it.
        """
        self._until, self._rest = time.monotonic() + limit_s, rest

    @property
    def is_over(self) -> bool:
        """Whether the time budget is spent."""
        return time.monotonic() >= self._until

    @contextmanager
    def step(self) -> Generator[None]:
        """Run the body, then sleep for a multiple of its duration."""
        began = time.monotonic()
        yield
        time.sleep(self._rest * (time.monotonic() - began))
