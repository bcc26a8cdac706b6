"""Masks are made once per source frame, and bounded."""

import numpy as np
import pytest

from musetalk_core.compositing.mask_cache import MaskCache
from musetalk_core.types import Box


def placed(side=100, at=(10, 20)):
    mask = np.zeros((side, side), np.uint8)
    mask[30:60, 40:45] = 200
    return mask, Box(at[0], at[1], at[0] + side, at[1] + side)


def test_a_mask_is_made_once():
    cache = MaskCache()
    first, place = cache.get(3, placed)

    again, same_place = cache.get(3, lambda: pytest.fail("it is there"))
    assert (again == first).all() and again.shape == first.shape and same_place == place
    assert cache.computed_count == 1


def test_no_mask_is_remembered_too():
    cache = MaskCache()

    assert cache.get(0, lambda: None) is None
    assert cache.get(0, lambda: pytest.fail("it is known that there is none")) is None


def test_the_oldest_goes_when_there_is_no_room():
    cache = MaskCache(budget_bytes=25_000)
    for frame in range(3):
        cache.get(frame, placed)

    cache.get(2, lambda: pytest.fail("it is there"))
    cache.get(1, lambda: pytest.fail("it is there"))
    cache.get(0, placed)
    assert cache.computed_count == 4


def test_what_the_caller_does_to_a_mask_stays_with_the_caller():
    cache = MaskCache()
    cache.get(0, placed)

    mask, _ = cache.get(0, placed)
    mask[:] = 7
    assert (cache.get(0, placed)[0] == placed()[0]).all()


def test_a_mask_larger_than_all_the_room_is_not_kept():
    cache = MaskCache(budget_bytes=9_999)
    cache.get(0, placed)
    cache.get(0, placed)

    assert cache.computed_count == 2


def test_every_mask_comes_back_as_it_was_however_the_room_is_used():
    """Masks of all sizes, some empty, some none, asked for in the order of a clip that goes to and fro."""
    rng = np.random.default_rng(3)
    sizes = [tuple(rng.integers(0, 40, 2)) if n % 7 else None for n in range(200)]
    to_and_fro = [*range(200), *reversed(range(200))] * 3
    cache = MaskCache(budget_bytes=50_000)

    def make(frame):
        if sizes[frame] is None:
            return None
        height, width = sizes[frame]
        return np.full((height, width), frame, np.uint8), Box(frame, 0, frame + int(width), int(height))

    for frame in to_and_fro:
        found, expected = cache.get(frame, lambda frame=frame: make(frame)), make(frame)
        if expected is None:
            assert found is None
            continue
        assert found[0].shape == expected[0].shape and (found[0] == expected[0]).all()
        assert found[1] == expected[1]
        held = [kept for kept in cache._entries.values() if kept.box]
        assert sum(kept.stop - kept.start for kept in held) <= 50_000
    assert 200 < cache.computed_count < len(to_and_fro)  # some were kept, some had to go
