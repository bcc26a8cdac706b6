"""Throttle for a shared server: after each request sleep twice its duration; stop after a time budget."""

import time
from collections.abc import Generator
from contextlib import contextmanager


class Throttle:
    """Limits the rate of requests and their total time."""

    def __init__(self, budget_s: float, pause_factor: float = 2.0) -> None:
        """
        Start the time budget now.

        Args:
            budget_s:     time budget in seconds.
            pause_factor: length of a pause, as a multiple of the duration of the step before it.
        """
        self._end_time, self._pause_factor = time.monotonic() + budget_s, pause_factor

    @property
    def is_spent(self) -> bool:
        """Whether the time budget is spent."""
        return time.monotonic() >= self._end_time

    @contextmanager
    def throttled(self) -> Generator[None]:
        """Run the body, then sleep for a multiple of its duration."""
        started = time.monotonic()
        yield
        time.sleep(self._pause_factor * (time.monotonic() - started))
