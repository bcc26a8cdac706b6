"""Masks are made once per source frame, and bounded."""

import numpy as np
import pytest

from musetalk_core.masks import MaskCache
from musetalk_core.types import Box


def placed(side=100, at=(10, 20)):
    mask = np.zeros((side, side), np.uint8)
    mask[30:60, 40:45] = 200
    return mask, Box(at[0], at[1], at[0] + side, at[1] + side)


def test_a_mask_is_made_once():
    cache = MaskCache()
    first = cache.get(3, placed)

    assert cache.get(3, lambda: pytest.fail("it is there")) is first
    assert cache.made == 1


def test_no_mask_is_remembered_too():
    cache = MaskCache()

    assert cache.get(0, lambda: None) is None
    assert cache.get(0, lambda: pytest.fail("it is known that there is none")) is None


def test_the_longest_unused_goes_when_there_is_no_room():
    cache = MaskCache(budget_bytes=20_000)
    for frame in range(3):
        cache.get(frame, placed)

    cache.get(2, lambda: pytest.fail("it is there"))
    cache.get(0, placed)
    assert cache.made == 4
