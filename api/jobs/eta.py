"""Estimated time to completion (ETA) of jobs, from the durations of finished jobs of the same type."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

_P90_FRACTION: Final = 0.9
MAX_HISTORY_JOBS: Final = 100
"""Maximum number of finished jobs of a type that estimates are based on."""
_MIN_PROGRESS_PERCENT: Final = 5.0
"""Progress below which the job's own speed is not used."""


@dataclass(frozen=True, slots=True)
class DurationStats:
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


def duration_stats(durations_s: Sequence[float]) -> DurationStats | None:
    """
    Return median, 90th percentile and mean of run times.

    Args:
        durations_s: run time of each finished job, in seconds.

    Returns:
        The statistics in seconds; None for an empty sequence.
    """
    if not durations_s:
        return None
    ordered = sorted(durations_s)
    p90 = ordered[math.ceil(_P90_FRACTION * len(ordered)) - 1]
    return DurationStats(median(ordered), p90, sum(ordered) / len(ordered))


def eta_for_queued(
    history: DurationStats | None, ahead: Sequence[DurationStats | None], parallel_jobs: int
) -> Eta | None:
    """
    Estimate the time until a queued job finishes.

    Args:
        history:       run times of its job type; None if no job of this type has finished.
        ahead:         run times of the type of each job before it, running jobs included; None if unknown.
        parallel_jobs: number of jobs that run in parallel.

    Returns:
        Median and 90th percentile in seconds from now; None without a history.
    """
    if history is None:
        return None
    known_stats = [one for one in ahead if one is not None]
    fallback_mean_s = sum(one.mean for one in known_stats) / len(known_stats) if known_stats else history.mean
    wait_s = sum(one.mean if one else fallback_mean_s for one in ahead) / max(parallel_jobs, 1)
    # deviations of the jobs ahead average out (root of sum of squares); the error of their mean does not
    queue_deviation = sum((one.p90 - one.mean) ** 2 for one in known_stats) ** 0.5
    history_error = sum(abs(one.p90 - one.mean) for one in known_stats) / MAX_HISTORY_JOBS**0.5
    spread = math.hypot(queue_deviation, history_error) / max(parallel_jobs, 1)
    return Eta(wait_s + history.p50, wait_s + math.hypot(spread, history.p90 - history.p50) + history.p50)


def eta_for_running(history: DurationStats | None, elapsed_s: float, percent: float) -> Eta | None:
    """
    Estimate the time until a running job finishes.

    Args:
        history:   run times of its job type; None if no job of this type has finished.
        elapsed_s: time since its start, in seconds.
        percent:   progress, 0 to 100; also the weight of the job's own speed against the history.

    Returns:
        Median and 90th percentile in seconds from now; None without a history if progress is below 5 %.
    """
    remaining_by_progress_s = (
        elapsed_s * (100 - percent) / percent if percent >= _MIN_PROGRESS_PERCENT else None
    )
    if history is None:
        return (
            Eta(remaining_by_progress_s, 1.5 * remaining_by_progress_s)
            if remaining_by_progress_s is not None
            else None
        )
    remaining_p50, remaining_p90 = max(0.0, history.p50 - elapsed_s), max(0.0, history.p90 - elapsed_s)
    if remaining_by_progress_s is None:
        return Eta(remaining_p50, remaining_p90)
    weight = percent / 100
    p50 = weight * remaining_by_progress_s + (1 - weight) * remaining_p50
    return Eta(p50, max(p50, weight * remaining_by_progress_s * 1.25 + (1 - weight) * remaining_p90))
