"""Detail of lips and skin, without the edge of the opening."""

import cv2
import numpy as np
import pytest
from drawn_face import ENGINE, mesh, portrait

from musetalk_core.faces import mesh_topology
from musetalk_core.media.image.yuv_picture import Picture
from musetalk_core.quality.sharpness import band_energies

SIZE = 400, 420
DARK = (25, 22, 40)
FOREHEAD = [(-0.15, -0.6), (0.15, -0.6), (-0.07, -0.65), (0.07, -0.65), (0, -0.62)]
"""Skin that is compared with the mouth, in face heights from the middle of the mouth."""


def with_dark_mouth(points):
    """Paint the opening of a face dark."""
    picture = portrait(points, SIZE)
    outline = np.vstack([points[mesh_topology.UPPER_LIP_INNER], points[mesh_topology.LOWER_LIP_INNER][::-1]])
    cv2.fillPoly(picture, [np.round(outline * 16).astype(np.int32)], DARK, cv2.LINE_AA, 4)
    return Picture.from_bgr(picture)


def test_the_edge_of_an_opening_that_the_mesh_places_wrongly_is_no_detail():
    wide = mesh(gap=0.14)
    wide[[69, 299, 108, 337, 151]] = np.float32(FOREHEAD) * 200 + (200, 220)
    picture = with_dark_mouth(wide)
    missed = wide.copy()
    missed[mesh_topology.LOWER_LIP_INNER] = mesh(gap=0.06)[mesh_topology.LOWER_LIP_INNER]
    box = ENGINE.crop_box(wide, *SIZE)

    right, wrong = (band_energies(picture, points, wide, box) for points in (wide, missed))

    assert right is not None
    assert wrong is not None
    np.testing.assert_allclose(wrong.mouth, right.mouth, rtol=0.25)
    assert wrong.skin == pytest.approx(right.skin)
