"""When a webhook is tried again: the schedule of Standard Webhooks, 75 h 35 min in all. Pure."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

DELAYS_S: Final = (0, 5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
"""Seconds before each attempt, counted from the one before it."""
GONE: Final = 410
_SLOW_DOWN = frozenset({429, 502, 503, 504})
_LONGEST_S = 86_400
_SPREAD = 0.1


@dataclass(frozen=True, slots=True)
class Answered:
    """
    What an attempt brought.

    Attributes:
        status:      HTTP status; None when nobody answered.
        retry_after: the header of that name.
    """

    status: int | None
    retry_after: str | None = None

    @property
    def is_success(self) -> bool:
        """Only 2xx is; a redirect is not followed and is none."""
        return self.status is not None and 200 <= self.status < 300


def next_attempt(
    attempt: int, answered: Answered, now: datetime, dice: Callable[[float, float], float] = random.uniform
) -> datetime | None:
    """
    Say when to try again after a failure.

    Args:
        attempt:  number of the attempt that failed, from 1.
        answered: what it brought.
        now:      when it failed.
        dice:     gives a number between two, so that many that failed together do not come back together.

    Returns:
        The time; None when this was the last attempt, or the receiver is gone for good.
    """
    if attempt >= len(DELAYS_S) or answered.status == GONE:
        return None
    delay_s = DELAYS_S[attempt] * dice(1 - _SPREAD, 1 + _SPREAD)
    if answered.status in _SLOW_DOWN:
        delay_s = max(delay_s, _asked_s(answered.retry_after, now))
    return now + timedelta(seconds=delay_s)


def _asked_s(retry_after: str | None, now: datetime) -> float:
    """Read `Retry-After`, seconds or a date; 0 when it says nothing that can be used, a day at most."""
    text = (retry_after or "").strip()
    if text.isascii() and text.isdecimal():
        return min(float(text[:9]), _LONGEST_S)
    try:
        due = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return 0.0
    if due.tzinfo is None:
        due = due.replace(tzinfo=UTC)
    return min(max((due - now).total_seconds(), 0.0), _LONGEST_S)
