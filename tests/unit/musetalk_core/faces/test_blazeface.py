"""Finding faces, large and small."""

import cv2
import numpy as np

from musetalk_core.faces.blazeface import detect, detect_in_picture, intersection_over_union, search_tiles
from musetalk_core.faces.face_finder import find_faces
from musetalk_core.media.image.yuv_picture import Picture
from musetalk_core.types import Box


def in_a_wide_room(portrait, face_share):
    """A 1280x720 picture of a blurred wall in which the portrait's face is this share of the width."""
    noise = np.random.default_rng(0).integers(0, 256, (720, 1280, 3), dtype=np.uint8)
    room = cv2.GaussianBlur(noise, (0, 0), 15)
    scale = face_share * 1280 / 94
    person = cv2.resize(portrait[:400, 80:400], None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    height, width = person.shape[:2]
    room[100 : 100 + height, 800 : 800 + width] = person
    return Picture.from_bgr(room)


def test_the_face_of_a_portrait_is_found_where_it_is(portrait):
    (face,) = detect(portrait)

    np.testing.assert_allclose(face.box, (178, 81, 272, 175), atol=6)
    assert face.score > 0.8
    assert face.points[0, 0] < face.points[1, 0]


def test_a_picture_gives_the_same_face_as_its_bgr_image(portrait):
    (a,), (b,) = detect(portrait), detect_in_picture(Picture.from_bgr(portrait))

    np.testing.assert_allclose(a.box, b.box, atol=1)


def test_an_empty_wall_has_no_face():
    assert detect_in_picture(Picture.from_bgr(np.full((360, 640, 3), 120, np.uint8))) == []


def test_a_small_face_is_found_by_tiles(portrait):
    room = in_a_wide_room(portrait, 0.05)

    assert find_faces(room, tiled=False) == []
    (face,) = find_faces(room)
    x1, y1, x2, y2 = face.bounding_box
    assert 820 < x1 < x2 < 960
    assert 110 < y1 < y2 < 225


def test_tiles_cover_every_pixel_and_lie_on_whole_chroma_samples():
    for width, height in ((1280, 720), (576, 768), (1920, 1080), (64, 640)):
        seen = np.zeros((height, width), bool)
        for box in search_tiles(width, height):
            assert box == box.align_even().clip(width, height)
            seen[box.slices()] = True
        assert seen.all()


def test_tiles_of_a_tiny_picture_stay_inside_it():
    assert all(Box(0, 0, 16, 8).contains(box) for box in search_tiles(16, 8))


def test_overlap_is_shared_over_united_area():
    others = np.array([[0, 0, 2, 2], [1, 0, 3, 2], [5, 5, 6, 6]], np.float32)

    np.testing.assert_allclose(intersection_over_union(others[0], others), [1, 1 / 3, 0])
