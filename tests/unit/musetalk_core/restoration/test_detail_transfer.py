"""Detail of the source in a blurred face: where both agree, moving with the chin, never in a new mouth."""

import cv2
import numpy as np
import pytest

from musetalk_core.media.image.yuv_picture import Picture
from musetalk_core.restoration.detail_transfer import DetailTransfer
from musetalk_core.restoration.restorer_protocol import RenderedFace
from musetalk_core.types import Box

SIZE = 720
BOX = Box(60, 40, 660, 680)
VISIBLE = Box(60, 300, 660, 680)
MOUTH = (344, 391)
"""Position in the picture."""
LANDMARKS = np.zeros((468, 2), np.float32)


@pytest.fixture(scope="module")
def skin(portrait):
    """A face of about 700 pixels with the fine texture that enlarging cannot give it."""
    face = cv2.resize(portrait[70:210, 158:298], (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)
    random = np.random.default_rng(3)
    texture = cv2.GaussianBlur(random.normal(0, 34, (SIZE, SIZE)).astype(np.float32), (0, 0), 1.2)
    return np.clip(face.astype(np.float32) + texture[..., None], 0, 255).astype(np.uint8)


def chin_down(picture, pixels):
    """The lower part of the picture, moved down smoothly, as an opening jaw does it."""
    y, x = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32)
    share = 1 / (1 + np.exp(-(y - 400) / 20))
    return cv2.remap(
        picture, x, np.float32(y - pixels * share), cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT
    )


def with_open_mouth(picture):
    """A dark opening, as only the rendered face has it."""
    out = picture.copy()
    cv2.ellipse(out, MOUTH, (90, 40), 0, 0, 360, (30, 20, 40), -1, cv2.LINE_AA)
    return out


def rendered_by_a_network(picture):
    """Return the box as an engine with 256 pixels gives it, enlarged to its size."""
    small = cv2.resize(picture[BOX.slices()], (256, 256), interpolation=cv2.INTER_AREA)
    return cv2.resize(cv2.GaussianBlur(small, (0, 0), 0.8), BOX.size, interpolation=cv2.INTER_LINEAR)


def restored(face, source, frame=0, transfer=None):
    rendered = RenderedFace(face, BOX, VISIBLE, frame, Picture.from_bgr(source), LANDMARKS)
    return (transfer or DetailTransfer()).restore(rendered)


def fine(picture, sigma=1.0):
    luma = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY).astype(np.float32)
    return cv2.GaussianBlur(luma, (0, 0), sigma) - cv2.GaussianBlur(luma, (0, 0), 3 * sigma)


def part(picture, area, inside=BOX):
    return picture[area.relative_to(inside).slices()]


def correlation(one, other):
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


CHIN = Box(290, 450, 410, 530)
CHEEK = Box(170, 330, 240, 400)


def test_a_blurred_face_gets_back_the_detail_of_its_source(skin):
    blurred = rendered_by_a_network(skin)
    sharp = restored(blurred, skin)
    truth = skin[BOX.slices()]
    for area in (CHIN, CHEEK):
        before, after, wanted = (fine(part(one, area)) for one in (blurred, sharp, truth))
        assert np.square(before).mean() < 0.4 * np.square(wanted).mean(), "the test blurs too little"
        assert 0.8 < np.square(after).mean() / np.square(wanted).mean() < 1.2
        assert correlation(after, wanted) > 0.95


def test_detail_moves_with_the_chin(skin):
    truth = chin_down(skin, 12)
    sharp = restored(rendered_by_a_network(truth), skin)
    wanted = fine(part(truth, CHIN, Box(0, 0, SIZE, SIZE)))
    unmoved = fine(part(skin, CHIN, Box(0, 0, SIZE, SIZE)))
    assert correlation(unmoved, wanted) < 0.3, "the test moves too little"
    assert correlation(fine(part(sharp, CHIN)), wanted) > 0.6


def test_no_detail_of_the_source_in_a_mouth_that_it_does_not_show(skin):
    truth = with_open_mouth(skin)
    blurred = rendered_by_a_network(truth)
    sharp = restored(blurred, skin)
    opening = Box(MOUTH[0] - 60, MOUTH[1] - 20, MOUTH[0] + 60, MOUTH[1] + 20)
    source = fine(part(skin, opening, Box(0, 0, SIZE, SIZE)))
    assert np.square(fine(part(sharp, opening))).mean() < 0.05 * np.square(source).mean()
    assert abs(correlation(fine(part(sharp, opening)), source)) < 0.2

    edge = Box(MOUTH[0] - 30, MOUTH[1] - 60, MOUTH[0] + 30, MOUTH[1] - 20)
    lip_line = [np.square(fine(part(one, edge), 3.0)).mean() for one in (blurred, sharp, truth[BOX.slices()])]
    assert lip_line[0] < lip_line[1] <= 1.1 * lip_line[2], "edges of the new mouth are sharper than before"


def test_only_the_luma_of_the_visible_part_changes(skin):
    blurred = rendered_by_a_network(skin)
    given = blurred.copy()
    sharp = restored(blurred, skin)
    assert np.array_equal(blurred, given)
    hidden = VISIBLE.relative_to(BOX).y1
    assert np.array_equal(sharp[:hidden], blurred[:hidden])
    change = sharp[hidden:].astype(int) - blurred[hidden:]
    inner = (blurred[hidden:].min(axis=2) > 60) & (blurred[hidden:].max(axis=2) < 195)  # nothing is cut off
    assert np.ptp(change, axis=2)[inner].max() <= 1
    assert np.abs(change).max() > 10


def test_detail_flickers_less_than_the_source(skin):
    """Second differences in time of a chin that moves, against those of the true pictures."""
    transfer, before, after, wanted = DetailTransfer(), [], [], []
    for number in range(6):
        truth = chin_down(skin, 6 + 2.5 * np.sin(number))
        face = rendered_by_a_network(truth)
        before.append(part(face, VISIBLE).astype(float))
        after.append(part(restored(face, skin, transfer=transfer), VISIBLE).astype(float))
        wanted.append(truth[VISIBLE.slices()].astype(float))
    flickers = [np.abs(np.diff(frames, 2, axis=0)).mean() for frames in (before, after, wanted)]
    assert flickers[0] < flickers[1] < 1.05 * flickers[2]


def test_a_restorer_that_is_used_again_gives_the_same_bytes(skin):
    transfer = DetailTransfer()
    other = cv2.flip(skin, 1)
    faces = [(skin, 0), (skin, 0), (other, 1), (skin, 0)]
    again = [restored(rendered_by_a_network(one), one, frame, transfer) for one, frame in faces]
    alone = [restored(rendered_by_a_network(one), one, frame) for one, frame in faces]
    assert all(np.array_equal(one, two) for one, two in zip(again, alone, strict=True))


@pytest.mark.parametrize(
    "visible", [Box(100, 400, 110, 600), Box(100, 400, 100, 400), Box(100, 400, 500, 417)]
)
def test_parts_too_small_for_optical_flow_are_left_alone_or_done(skin, visible):
    face = rendered_by_a_network(skin)
    rendered = RenderedFace(face, BOX, visible, 0, Picture.from_bgr(skin), LANDMARKS)
    out = DetailTransfer().restore(rendered)
    assert out.shape == face.shape
    assert np.array_equal(out, face) == (min(visible.size) < 16)
