"""Yaw from the mesh."""

import numpy as np
import pytest

from musetalk_core.faces.head_yaw import estimate_yaw_deg
from musetalk_core.faces.mesh_topology import LEFT_EYE_OUTER, NOSE_TIP, RIGHT_EYE_OUTER


def turned(degrees, roll=0.0):
    """A mesh with only the points that count: eyes 100 apart, nose 50 before and 40 below them."""
    angle, tilt = np.radians(degrees), np.radians(roll)
    points = np.array([[-50, -20, 0], [50, -20, 0], [0, 20, 50.0]])
    x = points[:, 0] * np.cos(angle) + points[:, 2] * np.sin(angle)
    flat = np.stack([x, points[:, 1]], 1) @ [[np.cos(tilt), np.sin(tilt)], [-np.sin(tilt), np.cos(tilt)]]
    mesh = np.zeros((468, 2), np.float32)
    mesh[[LEFT_EYE_OUTER, RIGHT_EYE_OUTER, NOSE_TIP]] = flat
    return mesh


@pytest.mark.parametrize("degrees", [-40, -10, 0, 25])
@pytest.mark.parametrize("roll", [0, 30])
def test_a_turn_is_read_off_whatever_the_tilt(degrees, roll):
    assert estimate_yaw_deg(turned(degrees, roll)) == pytest.approx(degrees, abs=0.1)


def test_a_frontal_portrait_is_frontal(portrait_mesh):
    assert abs(estimate_yaw_deg(portrait_mesh)) < 6


def test_a_face_squeezed_to_a_line_is_a_profile():
    assert estimate_yaw_deg(np.zeros((468, 2), np.float32)) == 90
