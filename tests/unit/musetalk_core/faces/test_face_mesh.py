"""The face mesh: in place at any size, turn and border."""

import cv2
import numpy as np
import pytest

from musetalk_core.faces.blazeface import detect_in_picture
from musetalk_core.faces.face_finder import find_faces, select_face
from musetalk_core.faces.face_mesh import (
    MIN_MESH_SCORE,
    FaceRegion,
    fit_mesh,
    fit_mesh_to_detection,
    region_of_mesh,
)
from musetalk_core.faces.image_sampling import crop_rotated_square, resize_area
from musetalk_core.faces.mesh_topology import (
    CHIN,
    FOREHEAD,
    LANDMARKS_68,
    LEFT_EYE_OUTER,
    LOWER_LIP_INNER,
    LOWER_LIP_INSIDE,
    NOSE_TIP,
    RIGHT_EYE_OUTER,
    UPPER_LIP_INNER,
    UPPER_LIP_INSIDE,
    face_height,
)
from musetalk_core.media.image.yuv_picture import Picture
from musetalk_core.types import Box


def error(found, expected):
    """Mean distance over the distance between the outer eye corners."""
    eyes = np.linalg.norm(expected[LEFT_EYE_OUTER] - expected[RIGHT_EYE_OUTER])
    return float(np.linalg.norm(found - expected, axis=1).mean() / eyes)


def test_the_points_lie_in_the_order_of_a_face(portrait_mesh):
    mesh = portrait_mesh
    down = [FOREHEAD, NOSE_TIP, UPPER_LIP_INSIDE, LOWER_LIP_INSIDE, CHIN]

    assert (np.diff(mesh[down, 1]) > 0).all()
    assert mesh[LEFT_EYE_OUTER, 0] < mesh[NOSE_TIP, 0] < mesh[RIGHT_EYE_OUTER, 0]
    assert 95 < face_height(mesh) < 112
    # Checked by eye on the portrait: the corners of the smile.
    np.testing.assert_allclose(mesh[61], (202, 139), atol=4)
    np.testing.assert_allclose(mesh[291], (245, 142), atol=4)


@pytest.mark.parametrize("factor", [2, 5])
def test_a_larger_picture_gives_the_same_mesh_larger(portrait, portrait_mesh, factor):
    large = cv2.resize(portrait, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)

    mesh = find_faces(Picture.from_bgr(large))[0].landmarks

    assert error(mesh, (portrait_mesh + 0.5) * factor - 0.5) < 0.005


@pytest.mark.parametrize("degrees", [-30, 30])
def test_a_tilted_head_gives_the_same_mesh_turned(portrait, portrait_mesh, degrees):
    turn = cv2.getRotationMatrix2D((225, 130), degrees, 1.0)
    tilted = cv2.warpAffine(portrait, turn, (512, 512), borderMode=cv2.BORDER_REPLICATE)

    mesh = find_faces(Picture.from_bgr(tilted))[0].landmarks

    assert error(mesh, portrait_mesh @ turn[:, :2].T + turn[:, 2]) < 0.04


def test_a_face_that_sticks_out_of_the_frame_still_has_its_mesh(portrait, portrait_mesh):
    cut = np.ascontiguousarray(portrait[80:, 190:])

    mesh, score = fit_mesh(Picture.from_bgr(cut), region_of_mesh(portrait_mesh - (190, 80)))

    assert score > 0.9
    assert mesh[:, 0].min() < 0
    assert error(mesh + np.float32([190, 80]), portrait_mesh) < 0.08


def test_a_wall_is_no_face():
    wall = Picture.from_bgr(np.full((200, 200, 3), 90, np.uint8))

    _, score = fit_mesh(wall, FaceRegion(100, 100, 150, 0.0))

    assert score < MIN_MESH_SCORE


def test_one_pass_from_the_mesh_confirms_the_mesh(portrait, portrait_mesh):
    mesh, score = fit_mesh(Picture.from_bgr(portrait), region_of_mesh(portrait_mesh))

    assert score > 0.99
    assert error(mesh, portrait_mesh) < 0.01


def test_the_same_picture_gives_the_same_bytes(portrait):
    picture = Picture.from_bgr(portrait)
    found = detect_in_picture(picture)[0]

    np.testing.assert_array_equal(
        fit_mesh_to_detection(picture, found)[0], fit_mesh_to_detection(picture, found)[0]
    )


def test_an_upright_square_at_full_size_is_the_picture_itself(portrait):
    picture = Picture.from_bgr(portrait)

    square = crop_rotated_square(picture, (256.0, 128.0), 64.0, 0.0, 64)

    expected = picture.bgr(Box(224, 96, 288, 160)).astype(int)
    assert np.abs(square[4:-4, 4:-4] - expected[4:-4, 4:-4]).mean() < 1.0


def test_a_strongly_shrunk_square_averages_instead_of_skipping_pixels():
    stripes = np.zeros((512, 512, 3), np.uint8)
    stripes[:, ::2] = 255

    square = crop_rotated_square(Picture.from_bgr(stripes), (256.0, 256.0), 480.0, 0.3, 64)

    assert 110 < square.mean() < 145
    assert square.std() < 12


def test_a_thumbnail_has_the_mean_colour_of_its_box(portrait):
    picture, box = Picture.from_bgr(portrait), Box(100, 20, 356, 276)

    small = resize_area(picture, box, (32, 32))

    assert small.shape == (32, 32, 3)
    np.testing.assert_allclose(small.mean((0, 1)), picture.bgr(box).mean((0, 1)), atol=1.5)


def test_index_lists_have_their_lengths_and_ends():
    assert len(LANDMARKS_68) == 68
    assert len(UPPER_LIP_INNER) == len(LOWER_LIP_INNER) == 11
    assert UPPER_LIP_INNER[0] == LOWER_LIP_INNER[0]
    assert UPPER_LIP_INNER[-1] == LOWER_LIP_INNER[-1]


def test_faces_are_chosen_by_size_or_place(portrait):
    scene = np.full((512, 1024, 3), 90, np.uint8)
    scene[:, 512:] = portrait
    scene[128:512, :384] = cv2.resize(portrait, (384, 384), interpolation=cv2.INTER_AREA)
    faces = find_faces(Picture.from_bgr(scene))
    middle = {f: float(f.landmarks[:, 0].mean()) for f in faces}

    assert len(faces) == 2
    for choice, expected in (
        ("largest", 737),
        ("right", 737),
        ("left", 168),
        (1, 168),
        ("most_central", 737),
    ):
        face = select_face(faces, choice, 1024, 512)
        assert face is not None
        assert abs(middle[face] - expected) < 12
    assert select_face(faces, 2, 1024, 512) is None
    assert select_face([], "largest", 1024, 512) is None
