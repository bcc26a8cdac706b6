"""When a job will be done, from how long finished ones took."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

_MOSTLY: Final = 0.9
GUESSED_FROM: Final = 100
"""Finished jobs of a kind that are looked at."""
_TRUSTED_PERCENT: Final = 5.0
"""Progress below this says little about the pace."""


@dataclass(frozen=True, slots=True)
class Took:
    """How long jobs of a kind take, in seconds of running."""

    p50: float
    p90: float
    mean: float


@dataclass(frozen=True, slots=True)
class Eta:
    """Seconds from now until a job is done."""

    p50: float
    """As likely earlier as later."""
    p90: float
    """Nine of ten are done by then."""


def took(seconds: Sequence[float]) -> Took | None:
    """
    Sum up finished jobs.

    Args:
        seconds: running time of each.

    Returns:
        None when there are none.
    """
    if not seconds:
        return None
    ordered = sorted(seconds)
    late = ordered[math.ceil(_MOSTLY * len(ordered)) - 1]
    return Took(median(ordered), late, sum(ordered) / len(ordered))


def of_waiting(own: Took | None, ahead: Sequence[Took | None], servers: int) -> Eta | None:
    """
    Say when a waiting job will be done.

    Args:
        own:     what jobs of its kind take.
        ahead:   the same of each job that comes before it, those that run counted too.
        servers: how many run side by side.

    Returns:
        None when nothing is known of its kind.
    """
    if own is None:
        return None
    known = [one for one in ahead if one is not None]
    usual = sum(one.mean for one in known) / len(known) if known else own.mean
    work = sum(one.mean if one else usual for one in ahead) / max(servers, 1)
    # jobs ahead even each other out; that their usual time is a guess does not
    chance = sum((one.p90 - one.mean) ** 2 for one in known) ** 0.5
    guess = sum(abs(one.p90 - one.mean) for one in known) / GUESSED_FROM**0.5
    spread = math.hypot(chance, guess) / max(servers, 1)
    return Eta(work + own.p50, work + math.hypot(spread, own.p90 - own.p50) + own.p50)


def of_running(own: Took | None, elapsed_s: float, percent: float) -> Eta | None:
    """
    Say when a running job will be done.

    Args:
        own:       what jobs of its kind take.
        elapsed_s: how long it runs.
        percent:   how far it is; the further, the more its own pace counts.

    Returns:
        None when neither history nor progress says anything.
    """
    paced = elapsed_s * (100 - percent) / percent if percent >= _TRUSTED_PERCENT else None
    if own is None:
        return Eta(paced, 1.5 * paced) if paced is not None else None
    usual, late = max(0.0, own.p50 - elapsed_s), max(0.0, own.p90 - elapsed_s)
    if paced is None:
        return Eta(usual, late)
    weight = percent / 100
    p50 = weight * paced + (1 - weight) * usual
    return Eta(p50, max(p50, weight * paced * 1.25 + (1 - weight) * late))
