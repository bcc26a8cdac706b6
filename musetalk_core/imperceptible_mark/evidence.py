"""
The statistical decision whether media carries a mark.

A score is z = sum(w * s) / sqrt(sum(w ** 2) * v), where w comes from the media and s from the key:
independent random signs (v = 1) or cosines of independent random angles (v = 1/2). If the media is
independent of the key, the sum is sub-Gaussian (Hoeffding's lemma): the probability of a score of at least z
is at most exp(-z ** 2 / 2), whatever the media contains. A search over M positions multiplies it by up to
M.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

MAX_FALSE_ALARM: Final = 1e-6
"""Probability with which media without a mark may be reported as marked, per file, key and kind of track."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """
    The result of a search for a mark.

    Attributes:
        score:             greatest score z of the decisive test.
        false_alarm_bound: upper bound of the probability that media without the mark gives this result, 0..1.
    """

    score: float
    false_alarm_bound: float

    @property
    def found(self) -> bool:
        """Whether the mark is present."""
        return self.false_alarm_bound <= MAX_FALSE_ALARM


NO_EVIDENCE: Final = Evidence(0.0, 1.0)
"""Nothing to test: no frame, no sound, or sound without energy."""


def evidence_of(score: float, positions: int) -> Evidence:
    """
    Return the evidence of the greatest score of a search.

    Args:
        score:     greatest z.
        positions: number M of positions that were searched.
    """
    exponent = math.log(positions) - max(0.0, score) ** 2 / 2
    return Evidence(float(score), math.exp(min(0.0, exponent)))


def strongest(tests: Iterable[Evidence]) -> Evidence:
    """Return the strongest of several results, with its bound multiplied by the number of tests."""
    results = list(tests)
    if not results:
        return NO_EVIDENCE
    best = min(results, key=lambda one: (one.false_alarm_bound, -one.score))
    return Evidence(best.score, min(1.0, best.false_alarm_bound * len(results)))
