"""Estimated time to completion (ETA) of jobs, from the durations of finished jobs of the same type."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

_MOSTLY: Final = 0.9
GUESSED_FROM: Final = 100
"""Maximum number of finished jobs of a type that estimates are based on."""
_TRUSTED_PERCENT: Final = 5.0
"""Progress below which the job's own speed is not used."""


@dataclass(frozen=True, slots=True)
class Took:
    """Run time of finished jobs of one type, in seconds."""

    p50: float
    p90: float
    mean: float


@dataclass(frozen=True, slots=True)
class Eta:
    """Time until a job finishes, in seconds from now."""

    p50: float
    """Median."""
    p90: float
    """90th percentile."""


def took(seconds: Sequence[float]) -> Took | None:
    """
    Return median, 90th percentile and mean of run times.

    Args:
        seconds: run time of each finished job.

    Returns:
        None for an empty sequence.
    """
    if not seconds:
        return None
    ordered = sorted(seconds)
    late = ordered[math.ceil(_MOSTLY * len(ordered)) - 1]
    return Took(median(ordered), late, sum(ordered) / len(ordered))


def of_waiting(own: Took | None, ahead: Sequence[Took | None], servers: int) -> Eta | None:
    """
    Estimate when a queued job will finish.

    Args:
        history:       run times of its job type.
        ahead:         run times of the type of each job before it, running jobs included; None if unknown.
        parallel_jobs: number of jobs that run in parallel.

    Returns:
        None if no job of its type has finished.
    """
    if own is None:
        return None
    known = [one for one in ahead if one is not None]
    usual = sum(one.mean for one in known) / len(known) if known else own.mean
    work = sum(one.mean if one else usual for one in ahead) / max(servers, 1)
    # deviations of the jobs ahead average out (root of sum of squares); the error of their mean does not
    chance = sum((one.p90 - one.mean) ** 2 for one in known) ** 0.5
    guess = sum(abs(one.p90 - one.mean) for one in known) / GUESSED_FROM**0.5
    spread = math.hypot(chance, guess) / max(servers, 1)
    return Eta(work + own.p50, work + math.hypot(spread, own.p90 - own.p50) + own.p50)


def of_running(own: Took | None, elapsed_s: float, percent: float) -> Eta | None:
    """
    Estimate when a running job will finish.

    Args:
        history:   run times of its job type.
        elapsed_s: time since its start, in seconds.
        percent:   progress, 0 to 100; also the weight of the job's own speed against the history.

    Returns:
        None if there is no history and less than 5 % progress.
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
