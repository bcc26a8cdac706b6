"""Crops of portrait pictures."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from musetalk_core.errors import MediaUnreadable, NoFaceFound
from musetalk_core.faces.face_finder import find_faces
from musetalk_core.media.image.yuv_picture import Picture
from musetalk_core.media.source.limits import MediaLimits
from musetalk_core.rendering.portrait_crop import CropOptions, crop_around_face, write_cropped_still

FACE = Path(__file__).resolve().parents[3] / "assets" / "astronaut.jpg"


def shown(tmp_path, frame, source=FACE):
    write_cropped_still(source, tmp_path / "out.png", frame, "largest", MediaLimits())
    return cv2.imread(str(tmp_path / "out.png"))


@pytest.mark.parametrize(
    ("crop", "shape"), [("square", 1), ("portrait", 9 / 16), ("landscape", 16 / 9), ("face", 1)]
)
def test_a_crop_has_its_shape_and_the_whole_face(tmp_path, crop, shape):
    picture = shown(tmp_path, CropOptions(crop))

    height, width = picture.shape[:2]
    assert width / height == pytest.approx(shape, rel=0.01) and width % 2 == height % 2 == 0
    face = find_faces(Picture.from_bgr(picture))[0].bounding_box
    assert face[0] > 0 and face[1] > 0 and face[2] < width and face[3] < height
    if crop == "face":
        assert 0.3 < (face[3] - face[1]) / height < 0.5


def test_a_picture_is_made_smaller_and_never_larger(tmp_path):
    whole = cv2.imread(str(FACE))
    height, width = whole.shape[:2]

    assert shown(tmp_path, CropOptions(max_width=100)).shape[1] == 100
    assert shown(tmp_path, CropOptions(max_width=200, max_height=50)).shape[0] == 50
    larger = shown(tmp_path, CropOptions(max_width=4096, max_height=4096))
    assert larger.shape[:2] == (height // 2 * 2, width // 2 * 2)


def test_a_crop_stays_inside_the_picture():
    for face in ([0, 0, 40, 50], [600, 300, 640, 360], [300, 100, 380, 200]):
        for crop in ("face", "square", "portrait", "landscape"):
            box = crop_around_face(np.float32(face), 640, 360, crop)
            assert 0 <= box.x1 < box.x2 <= 640 and 0 <= box.y1 < box.y2 <= 360
            assert not any(side % 2 for side in (box.x1, box.y1, *box.size))


def test_without_a_face_there_is_nothing_to_crop_around(tmp_path):
    wall = tmp_path / "wall.png"
    cv2.imwrite(str(wall), np.full((240, 320, 3), 120, np.uint8))

    with pytest.raises(NoFaceFound, match="crop around"):
        shown(tmp_path, CropOptions("square"), wall)
    assert shown(tmp_path, CropOptions(max_width=100), wall).shape == (74, 100, 3)


def test_a_video_is_refused(tmp_path):
    clip = tmp_path / "clip.avi"
    out = cv2.VideoWriter(str(clip), cv2.VideoWriter_fourcc(*"MJPG"), 25, (64, 64))
    out.write(np.zeros((64, 64, 3), np.uint8))
    out.release()

    with pytest.raises(MediaUnreadable):
        shown(tmp_path, CropOptions("square"), clip)
