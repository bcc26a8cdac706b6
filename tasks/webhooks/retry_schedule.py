"""Retry schedule of webhooks, from Standard Webhooks: ten attempts in 75 h 35 min. Pure functions."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

DELAYS_S: Final = (0, 5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
"""Delay in seconds before each attempt, counted from the previous one."""
GONE_STATUS: Final = 410
_SLOW_DOWN_STATUSES = frozenset({429, 502, 503, 504})
_MAX_DELAY_S = 86_400
_JITTER_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class AttemptResponse:
    """
    The response to a delivery attempt.

    Attributes:
        status:      HTTP status; None if there was no response.
        retry_after: value of the Retry-After header.
    """

    status: int | None
    retry_after: str | None = None

    @property
    def is_success(self) -> bool:
        """Return whether the status is 2xx; redirects are not followed and do not count as success."""
        return self.status is not None and 200 <= self.status < 300


def next_attempt(
    attempt: int,
    response: AttemptResponse,
    now: datetime,
    random_between: Callable[[float, float], float] = random.uniform,
) -> datetime | None:
    """
    Return the time of the next attempt after a failure.

    Args:
        attempt:        number of the failed attempt, from 1.
        response:       its response.
        now:            time of the failure.
        random_between: returns a random number in a range. It adds jitter, so that deliveries that
            failed together are not retried together.

    Returns:
        The time; None if this was the last attempt, or the receiver responded with 410 Gone.
    """
    if attempt >= len(DELAYS_S) or response.status == GONE_STATUS:
        return None
    delay_s = DELAYS_S[attempt] * random_between(1 - _JITTER_SHARE, 1 + _JITTER_SHARE)
    if response.status in _SLOW_DOWN_STATUSES:
        delay_s = max(delay_s, _retry_after_s(response.retry_after, now))
    return now + timedelta(seconds=delay_s)


def _retry_after_s(retry_after: str | None, now: datetime) -> float:
    """Parse `Retry-After`, given as seconds or a date: at most 86,400 seconds; 0 if it is not valid."""
    text = (retry_after or "").strip()
    if text.isascii() and text.isdecimal():
        return min(float(text[:9]), _MAX_DELAY_S)
    try:
        due = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return 0.0
    if due.tzinfo is None:
        due = due.replace(tzinfo=UTC)
    return min(max((due - now).total_seconds(), 0.0), _MAX_DELAY_S)
