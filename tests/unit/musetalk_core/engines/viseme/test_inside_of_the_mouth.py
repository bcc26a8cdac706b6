"""Teeth, tongue and shade between the lips."""

import numpy as np
import pytest
from drawn_face import WIDE, face, knowledge, speak

from musetalk_core.engines.viseme import frame_record
from musetalk_core.engines.viseme.mouth import measure_mouth
from musetalk_core.engines.viseme.sampling_grid import SamplingGrid
from musetalk_core.engines.viseme.tooth_rows import LOWER, UPPER, draw_row, place_row
from musetalk_core.types import Box


@pytest.mark.parametrize("row", [UPPER, LOWER])
def test_a_drawn_row_is_no_flat_bar(row):
    drawn = draw_row(row, 240)
    brightness, alpha = drawn[..., 0], drawn[..., 1]
    line = brightness[:, 30:-30][round(0.06 * 240)]  # 6 mm above the edge, from canine to canine

    assert alpha.max() == pytest.approx(1, abs=0.01)
    assert alpha[-1].max() == 0, "nothing beyond the edge"
    gaps = np.flatnonzero(
        (line[1:-1] < line[:-2]) & (line[1:-1] <= line[2:]) & (line[1:-1] < 0.97 * line.max())
    )
    assert len(gaps) >= 4
    assert line.std() / line.mean() > 0.03
    assert line[len(line) // 2 - 20 : len(line) // 2 + 20].mean() > line[:10].mean(), "darker at the sides"


def place(yaw=0.0, edge=0.0, row=UPPER, roll=0.0):
    one = face(0.0, roll=roll)
    features = knowledge(one).frame_features[0].copy()
    features[frame_record.YAW] = yaw
    mouth = measure_mouth(one, features)
    width, height = one.box.size
    grid = SamplingGrid(Box(0, 0, width, height), width, height)
    return mouth, grid, place_row(grid, mouth, row, edge)


def extent(alpha):
    return float(np.ptp(np.flatnonzero((alpha > 0.5).any(axis=0))))


def test_rows_follow_the_turn_of_the_head():
    (_, _, (_, frontal)), (_, _, (_, turned)) = place(0), place(35)

    assert extent(turned) == pytest.approx(extent(frontal) * np.cos(np.radians(35)), rel=0.04)


def test_the_upper_row_ends_and_the_lower_one_begins_at_its_edge():
    mouth, grid, (_, upper) = place(edge=0.01)
    _, _, (_, lower) = place(edge=0.01, row=LOWER)
    y = grid.face_coordinates(mouth.pose)[1]

    assert y[upper > 0.5].max() == pytest.approx(0.01, abs=0.006)
    assert y[lower > 0.5].min() == pytest.approx(0.01, abs=0.02)


def test_rows_follow_the_roll_of_the_head():
    mouth, grid, (_, alpha) = place(roll=0.5)
    x, y = grid.face_coordinates(mouth.pose)
    left, right = y[(alpha > 0.5) & (x < -0.1)].max(), y[(alpha > 0.5) & (x > 0.1)].max()

    assert left == pytest.approx(right, abs=0.006)


def redness(crop):
    crop = crop.astype(int)
    return int(((crop[..., 2] - crop[..., 1] > 40) & (crop[..., 2] < 140)).sum())


def test_the_tip_of_the_tongue_shows_when_it_is_asked_for():
    one = face(0.0)

    rest, raised = speak(one, (0.5, 0, 0, 0), (0.5, 0, 0, 1))

    assert redness(raised) > redness(rest) + 50


def smile():
    """A smile and what is known of it: its own teeth fill the opening of most sounds."""
    one = face(0.06)
    return one, knowledge(one, donors={0: one})


def test_the_tip_of_the_tongue_shows_in_front_of_teeth_that_fill_the_opening():
    one, known = smile()

    rest, raised = speak(one, (0.25, 0, 0, 0), (0.25, 0, 0, 1), known=known)

    teeth, tongue = (middle_of_the_mouth(one, crop)[8:14, 4:-4] for crop in (rest, raised))
    assert tongue.mean() < 0.7 * teeth.mean()


def middle_of_the_mouth(one, crop):
    x, y = measure_mouth(one, knowledge(one).frame_features[0]).pose.centre
    return crop[int(y) - 6 : int(y) + 12, int(x) - 12 : int(x) + 12].mean(axis=2)


def test_little_light_falls_on_teeth_in_a_slit():
    one, known = smile()

    slit, opened = (middle_of_the_mouth(one, c) for c in speak(one, (0.06, 0, 0), (0.4, 0, 0), known=known))

    assert slit.max() < 0.8 * opened.max()


def test_rounded_lips_hide_the_teeth():
    one, known = smile()

    plain, rounded = (middle_of_the_mouth(one, c) for c in speak(one, (0.3, 0, 0), (0.3, -1, 0), known=known))

    assert np.percentile(rounded[6:], 90) < 0.4 * np.percentile(plain[6:], 90)


def test_the_lower_teeth_follow_the_jaw():
    """Teeth below the middle of the opening appear only when the jaw drops."""
    one = face(0.0)
    mouth = measure_mouth(one, knowledge(one).frame_features[0])
    x, y = mouth.pose.centre

    def bright(crop):
        low = crop[int(y) + 14 : int(y) + 24, int(x) - 15 : int(x) + 15]
        return float(low.min(axis=2).mean())

    small, wide = speak(one, (0.6, 0, 0), WIDE)
    assert bright(wide) != bright(small)
    dark = [
        float(crop[int(y) + 2 : int(y) + 26, int(x) - 15 : int(x) + 15].max(axis=2).min()) for crop in (wide,)
    ]
    assert dark[0] < 90, "and between both rows it is dark"
