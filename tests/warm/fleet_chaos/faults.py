"""A seeded schedule of faults: which process is killed or stopped, which link is cut, when, how long."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["kill", "stop", "cut", "freeze"]
FIRST_S = 5.0
BETWEEN_S = (7.0, 14.0)
DOWN_S = (0.5, 5.0)
STOPPED_S = (1.0, 20.0)
LONG_STOP_S = (50.0, 58.0)
"""Longer than the 45 s after which a worker without heartbeats counts as lost."""
PARTED_S = (2.0, 20.0)
QUIET_S = 4.0
"""Longest partition from the receiver of webhooks: their third attempt comes minutes later."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault; times in seconds from the start."""

    at_s: float
    kind: Kind
    target: str
    for_s: float

    def __str__(self) -> str:
        return f"{self.at_s:6.1f} s  {self.kind:6} {self.target} for {self.for_s:.1f} s"


def schedule(seed: int, seconds: float, processes: Sequence[str], links: Sequence[str]) -> list[Fault]:
    """
    Return the faults of a seed: two processes at a time, and every other time a link as well.

    Args:
        seed:      chooses everything.
        seconds:   time in which faults begin.
        processes: names; those that start with `gpu` are sometimes stopped for longer than a heartbeat may.
        links:     names.
    """
    chance, now = random.Random(seed), FIRST_S
    busy_until = dict.fromkeys((*processes, *links), 0.0)
    faults: list[Fault] = []

    def add(kind: Kind, target: str, for_s: float) -> None:
        faults.append(Fault(round(now, 1), kind, target, round(for_s, 1)))
        busy_until[target] = now + for_s + 1.0

    while now < seconds:
        free = [name for name in processes if busy_until[name] <= now]
        for name in chance.sample(free, min(2, len(free))):
            if chance.random() < 0.5:
                add("kill", name, chance.uniform(*DOWN_S))
            else:
                is_long = name.startswith("gpu") and chance.random() < 0.2
                add("stop", name, chance.uniform(*(LONG_STOP_S if is_long else STOPPED_S)))
        whole = [name for name in links if busy_until[name] <= now]
        if whole and chance.random() < 0.5:
            name = chance.choice(whole)
            longest = QUIET_S if name.endswith("receiver") else PARTED_S[1]
            add(chance.choice(("cut", "freeze")), name, chance.uniform(PARTED_S[0], longest))
        now += chance.uniform(*BETWEEN_S)
    return faults
