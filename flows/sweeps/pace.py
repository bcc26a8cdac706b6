"""Working on a server that others use: after each question a pause twice as long as it took, and an end."""

import time
from collections.abc import Generator
from contextlib import contextmanager


class Pace:
    """How fast somebody may go, and until when."""

    def __init__(self, limit_s: float, rest: float = 2.0) -> None:
        """
        Begin now.

        Args:
            limit_s: seconds after which it is enough.
            rest:    length of a pause, in times of the step before it.
        """
        self._until, self._rest = time.monotonic() + limit_s, rest

    @property
    def is_over(self) -> bool:
        """Whether it is enough."""
        return time.monotonic() >= self._until

    @contextmanager
    def step(self) -> Generator[None]:
        """Do something, then rest."""
        began = time.monotonic()
        yield
        time.sleep(self._rest * (time.monotonic() - began))
