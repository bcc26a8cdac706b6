"""
Comparison of fingerprints: the best alignment of a part of one with the other, and a confidence.

The confidence is 1 - 2 * (share of bits that differ): 1 for equal fingerprints, 0 for independent ones.
Pictures of the same person before the same background look alike whatever is said, so that a match of
pictures alone counts half if both files have sound.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt

from musetalk_core.fingerprints.picture import Hashes
from musetalk_core.fingerprints.sound import Words

_Unsigned = TypeVar("_Unsigned", np.uint32, np.uint64)
MIN_SOUND_WORDS: Final = 48
"""Words that must be compared: 2.2 s without silence. Less may match by chance."""
_MAX_SOUND_DIFFERENCE: Final = 0.35
_MAX_PICTURE_DIFFERENCE: Final = 0.16
"""Largest share of different bits; independent fingerprints have 0.5."""
_MAX_EQUAL, _MAX_SHIFTS = 8, 16


@dataclass(frozen=True, slots=True, eq=False)
class Fingerprint:
    """
    Fingerprints of a file.

    Attributes:
        picture: (T,) uint64, one hash per second; empty without picture.
        sound:   (T,) uint32, one word per 46 ms; empty without sound.
    """

    picture: Hashes
    sound: Words


@dataclass(frozen=True, slots=True)
class Match:
    """
    A match of two files.

    Attributes:
        confidence: 0 to 1; see the module.
        picture:    confidence of the pictures alone; None if they do not match or there are none.
        sound:      confidence of the sound alone; None if it does not match or there is none.
    """

    confidence: float
    picture: float | None
    sound: float | None


def match(one: Fingerprint, other: Fingerprint) -> Match | None:
    """Return the match of two fingerprints; None if neither picture nor sound match."""
    every_shift = range(1 - len(one.picture), len(other.picture))
    picture = _best(one.picture, other.picture, every_shift, 1, _MAX_PICTURE_DIFFERENCE)
    shifts = _likely_shifts(one.sound, other.sound)
    sound = _best(one.sound, other.sound, shifts, MIN_SOUND_WORDS, _MAX_SOUND_DIFFERENCE)
    if picture is None and sound is None:
        return None
    both_have_sound = min(np.count_nonzero(one.sound), np.count_nonzero(other.sound)) >= MIN_SOUND_WORDS
    if picture is not None and sound is not None:
        confidence = (picture + sound) / 2
    elif sound is not None:
        confidence = sound
    else:
        confidence = (picture or 0.0) / (2 if both_have_sound else 1)
    return Match(round(confidence, 3), picture, sound)


def _likely_shifts(one: Words, other: Words) -> list[int]:
    """Return the shifts of `one` at which most halves of words are equal; all shifts would take too long."""
    votes: list[npt.NDArray[np.int64]] = []
    for bits in (0, 16):
        ours, theirs = (one >> bits) & 0xFFFF, (other >> bits) & 0xFFFF
        order = np.argsort(theirs, kind="stable")
        first = np.searchsorted(theirs[order], ours, "left")
        last = np.minimum(np.searchsorted(theirs[order], ours, "right"), first + _MAX_EQUAL)
        for extra in range(_MAX_EQUAL):
            found = np.flatnonzero((first + extra < last) & (one != 0))
            votes.append(order[first[found] + extra] - found)
    shifts, counts = np.unique(np.concatenate(votes), return_counts=True)
    return [int(shift) for shift in shifts[np.argsort(-counts, kind="stable")[:_MAX_SHIFTS]]]


def _best(
    one: npt.NDArray[_Unsigned],
    other: npt.NDArray[_Unsigned],
    shifts: Iterable[int],
    minimum: int,
    most: float,
) -> float | None:
    """Return the confidence of the best of some shifts; None if too many bits differ or too few are left."""
    known = min(np.count_nonzero(one), np.count_nonzero(other))
    if known < minimum:
        return None
    needed, best = max(minimum, known // 2), 1.0
    for shift in shifts:
        start, stop = max(0, shift), min(len(other), shift + len(one))
        theirs, ours = other[start:stop], one[start - shift : stop - shift]
        compared = (theirs != 0) & (ours != 0)
        count = int(np.count_nonzero(compared))
        if count >= needed:
            differing = int(np.bitwise_count(theirs[compared] ^ ours[compared]).sum())
            best = min(best, differing / (count * one.dtype.itemsize * 8))
    return round(1 - 2 * best, 3) if best <= most else None
