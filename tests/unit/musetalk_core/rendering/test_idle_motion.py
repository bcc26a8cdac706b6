from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from musetalk_core.errors import InputError
from musetalk_core.faces import mesh_topology
from musetalk_core.rendering.idle_motion import IdleMotion, eyelid_closure

SIZE = (360, 400)
CENTRE, HEIGHT = np.array([180, 190]), 150.0


def mesh(centre=CENTRE):
    """Oval, eyes, forehead, nose base and chin of a frontal face; all other points on the nose."""
    points = np.zeros((468, 2), np.float32)
    turn = np.linspace(-np.pi / 2, 1.5 * np.pi, 36, endpoint=False)
    points[mesh_topology.OVAL] = np.stack([0.36 * np.cos(turn), 0.5 * np.sin(turn)], 1)
    points[10], points[2], points[152] = (0, -0.5), (0, 0.125), (0, 0.5)
    lid = np.sin(np.linspace(0, np.pi, 9))
    for upper, lower, x in (
        (mesh_topology.LEFT_EYE_UPPER, mesh_topology.LEFT_EYE_LOWER, -0.16),
        (mesh_topology.RIGHT_EYE_UPPER, mesh_topology.RIGHT_EYE_LOWER, 0.16),
    ):
        across = np.linspace(x - 0.06, x + 0.06, 9)
        points[upper] = np.stack([across, -0.12 - 0.02 * lid], 1)
        points[lower] = np.stack([across, -0.12 + 0.02 * lid], 1)
    return points * np.float32(HEIGHT) + centre.astype(np.float32)


def still(seed=0):
    """Grain everywhere, so that every displacement shows; white eyes."""
    picture = np.random.default_rng(seed).integers(60, 160, (SIZE[1], SIZE[0], 3), dtype=np.uint8)
    for x in (-0.16, 0.16):
        at = (CENTRE + np.array([x, -0.12]) * HEIGHT).astype(int)
        picture[at[1] - 2 : at[1] + 3, at[0] - 8 : at[0] + 9] = 255
    return picture


def shut_moment(seed):
    return next(t for t in np.arange(0, 10, 0.01) if eyelid_closure(t, seed) == 1)


def eyes(region, idle):
    """Mean brightness of the middle of both eyes."""
    at = [
        (CENTRE + np.array([x, -0.12]) * HEIGHT - (idle.region.x1, idle.region.y1)).astype(int)
        for x in (-0.16, 0.16)
    ]
    return np.mean([region[y - 1 : y + 2, x - 3 : x + 4].mean() for x, y in at])


def test_the_region_is_even_inside_and_around_the_head():
    region = IdleMotion(SIZE, mesh(), 0).region

    assert region == region.align_even()
    assert 0 <= region.x1 < CENTRE[0] - 0.36 * HEIGHT
    assert CENTRE[0] + 0.36 * HEIGHT < region.x2 <= SIZE[0]
    assert region.y1 < CENTRE[1] - 0.5 * HEIGHT
    assert region.y2 > CENTRE[1] + 0.5 * HEIGHT


def test_the_border_of_the_region_never_moves():
    idle = IdleMotion(SIZE, mesh(), 4)
    before = still()[idle.region.slices()]

    for time_s in (0.3, 1.7, 31.4, shut_moment(4)):
        after = idle.apply(before, time_s)
        assert (after != before).mean() > 0.1
        for ring in (np.s_[0], np.s_[-1], np.s_[:, 0], np.s_[:, -1]):
            np.testing.assert_array_equal(after[ring], before[ring])


def test_the_head_sways_slowly():
    idle = IdleMotion(SIZE, mesh(), 1)
    columns = np.clip(128 + 8 * (np.arange(SIZE[0]) - CENTRE[0]), 0, 255).astype(np.uint8)
    ramp = np.tile(columns[None, :, None], (SIZE[1], 1, 3))[idle.region.slices()]
    at = (CENTRE - [idle.region.x1, idle.region.y1]).astype(int)

    track = [
        float(idle.apply(ramp, t)[at[1] - 4 : at[1] + 5, at[0] - 4 : at[0] + 5].mean()) / 8
        for t in np.arange(0, 12, 0.04)
    ]

    assert 0.01 * HEIGHT < np.ptp(track) < 0.06 * HEIGHT
    assert np.abs(np.diff(track)).max() < 0.003 * HEIGHT


def test_the_eyes_close_in_a_blink_and_open_again():
    idle, moment = IdleMotion(SIZE, mesh(), 2), shut_moment(2)
    region = still()[idle.region.slices()]

    open_before, shut, open_after = (
        eyes(idle.apply(region, t), idle) for t in (moment - 0.2, moment, moment + 0.3)
    )

    assert shut < 0.7 * open_before
    assert open_after > 0.9 * open_before


def test_blinks_come_every_two_and_a_half_to_five_seconds():
    times = np.arange(0, 240, 0.02)
    lids = np.array([eyelid_closure(t, 7) for t in times])

    starts = times[1:][(lids[1:] > 0) & (lids[:-1] == 0)]

    assert starts[0] > 0.5
    assert np.diff(starts).min() > 2.4
    assert np.diff(starts).max() < 5.1
    assert np.ptp(np.diff(starts)) > 1
    assert (lids > 0).mean() < 0.1


def test_a_blink_hours_later_is_as_cheap_and_as_certain():
    late = np.arange(86_400, 86_406, 0.02)

    assert max(eyelid_closure(t, 7) for t in late) == 1


def test_a_seed_gives_the_same_motion_and_another_seed_another():
    region = still()[IdleMotion(SIZE, mesh(), 0).region.slices()]

    first, again, other = (IdleMotion(SIZE, mesh(), seed).apply(region, 5.0) for seed in (3, 3, 4))

    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_the_given_picture_is_not_modified_and_threads_agree():
    idle = IdleMotion(SIZE, mesh(), 2)
    region, times = still()[idle.region.slices()].copy(), [0.4, shut_moment(2), 2.0, 9.1]
    before, expected = region.copy(), [idle.apply(region, t) for t in times]

    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda t: idle.apply(region, t), times))

    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(region, before)


def test_a_head_at_the_edge_leaves_the_edge_alone():
    idle = IdleMotion(SIZE, mesh(np.array([20, 380])), 1)
    before = still()[idle.region.slices()]

    after = idle.apply(before, 3.3)

    assert (after != before).any()
    for ring in (np.s_[0], np.s_[-1], np.s_[:, 0], np.s_[:, -1]):
        np.testing.assert_array_equal(after[ring], before[ring])


def test_a_head_outside_the_picture_moves_nothing():
    idle = IdleMotion(SIZE, mesh(np.array([-900, 200])), 1)
    before = still()[idle.region.slices()]

    np.testing.assert_array_equal(idle.apply(before, 3.3), before)


def test_a_picture_of_another_size_is_refused():
    with pytest.raises(InputError, match="region"):
        IdleMotion(SIZE, mesh(), 0).apply(np.zeros((8, 8, 3), np.uint8), 0.0)
