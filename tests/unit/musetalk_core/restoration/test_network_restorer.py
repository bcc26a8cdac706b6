"""Restoration by a network for aligned faces: alignment, what is kept of its result, stability in time."""

import cv2
import numpy as np
import pytest

from musetalk_core.faces.mesh_topology import LANDMARKS_68
from musetalk_core.media.image.yuv_picture import Picture
from musetalk_core.restoration.face_alignment import ALIGNED_PX, aligned_area, alignment
from musetalk_core.restoration.network_restorer import NetworkRestorer
from musetalk_core.restoration.restorer_protocol import RenderedFace
from musetalk_core.restoration.temporal_stabilizer import TemporalStabilizer
from musetalk_core.types import Box

TEMPLATE = [(192.98, 239.95), (318.90, 240.19), (256.63, 314.02), (201.26, 371.41), (313.09, 371.15)]
SIDE = 640


def face_points(turn=0.0, scale=1.0, x=0.0, y=0.0):
    """68 points whose eyes, nose and mouth corners are the template's, turned, scaled and moved."""
    points = np.zeros((68, 2))
    points[36:42], points[42:48] = TEMPLATE[0], TEMPLATE[1]
    points[30], points[48], points[54] = TEMPLATE[2:]
    angle = np.deg2rad(turn)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return (scale * points @ rotation.T + (x, y)).astype(np.float32)


@pytest.mark.parametrize("turn", [0, 25, -140])
def test_eyes_nose_and_mouth_get_to_their_places(turn):
    points = face_points(turn, 0.7, 80, 30)
    matrix = alignment(points)
    moved = points @ matrix[:, :2].T + matrix[:, 2]
    for found, wanted in zip((moved[36], moved[42], moved[30], moved[48], moved[54]), TEMPLATE, strict=True):
        assert found == pytest.approx(wanted, abs=0.02)
    mesh = np.zeros((468, 2), np.float32)
    mesh[LANDMARKS_68] = points
    assert alignment(mesh) == pytest.approx(matrix)


def test_the_aligned_area_contains_the_aligned_face_and_stays_in_the_picture():
    area = aligned_area(alignment(face_points(scale=0.5, x=100, y=50)), 1000, 1000)
    assert area.contains(Box(100, 50, 356, 306)) and area.size < (264, 264)
    assert aligned_area(alignment(face_points(x=-100, y=-60)), 300, 200) == Box(0, 0, 300, 200)


@pytest.fixture(scope="module")
def picture(portrait):
    face = cv2.resize(portrait[70:210, 158:298], (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    texture = np.random.default_rng(3).normal(0, 6, (SIDE, SIDE, 1)).astype(np.float32)
    return np.clip(face + texture, 0, 255).astype(np.uint8)


POINTS = face_points(4, 1.0, 70, 40)
BOX, VISIBLE = Box(100, 60, 560, 600), Box(120, 330, 540, 590)


def restore(picture, network, restorer=None, frame=0):
    face = cv2.GaussianBlur(picture[BOX.slices()], (0, 0), 2)
    rendered = RenderedFace(face, BOX, VISIBLE, frame, Picture.from_bgr(picture), POINTS)
    return face, (restorer or NetworkRestorer(network)).restore(rendered)


def sharpen(aligned):
    blurred = cv2.GaussianBlur(aligned.astype(np.float32), (0, 0), 2)
    return np.clip(aligned + 1.5 * (aligned - blurred), 0, 255).astype(np.uint8)


def test_a_network_that_changes_nothing_leaves_the_face_as_it_is(picture):
    face, out = restore(picture, lambda aligned: aligned)
    assert np.array_equal(out, face)


def test_the_network_gets_an_aligned_face_with_the_rendered_mouth(picture):
    seen = []
    restore(picture, lambda aligned: seen.append(aligned) or aligned)
    assert seen[0].shape == (ALIGNED_PX, ALIGNED_PX, 3) and seen[0].dtype == np.uint8
    matrix = alignment(POINTS)
    sharp = cv2.warpAffine(picture, matrix, (ALIGNED_PX, ALIGNED_PX))
    detail = [np.abs(cv2.Laplacian(one, cv2.CV_32F)).mean(axis=2) for one in (seen[0], sharp)]
    mouth, eyes = np.s_[340:400, 220:300], np.s_[190:250, 190:320]
    assert detail[0][mouth].mean() < 0.6 * detail[1][mouth].mean(), "the mouth is the rendered one"
    assert detail[0][eyes].mean() == pytest.approx(detail[1][eyes].mean(), rel=0.1), (
        "the eyes are the source's"
    )


def test_detail_of_the_network_is_added_in_the_visible_part_only(picture):
    face, out = restore(picture, sharpen)
    place = VISIBLE.relative_to(BOX)
    outside = np.ones(face.shape[:2], bool)
    outside[place.slices()] = False
    assert np.array_equal(out[outside], face[outside])
    energy = [np.square(cv2.Laplacian(one[place.slices()], cv2.CV_32F)).mean() for one in (face, out)]
    assert energy[1] > 1.5 * energy[0]


def test_colors_shading_and_contradicting_structure_of_the_network_are_left_out(picture):
    face, tinted = restore(
        picture, lambda aligned: np.clip(aligned * (0.9, 1.0, 1.08), 0, 255).astype(np.uint8)
    )
    inside = VISIBLE.relative_to(BOX).expand(-20).slices()
    assert np.abs(tinted[inside].astype(float) - face[inside]).mean() < 1.5

    def other_mouth(aligned):
        out = aligned.copy()
        cv2.rectangle(out, (200, 350), (310, 400), (20, 20, 20), -1)
        return out

    _, changed = restore(picture, other_mouth)
    difference = np.abs(changed[inside].astype(float) - face[inside])
    assert difference.max() < 60 and difference.mean() < 1.5, "a bar of 100 levels would be 12 on average"


class Flickering:
    """A network that sharpens and invents other fine detail for each frame."""

    def __init__(self):
        self._random = np.random.default_rng(5)

    def __call__(self, aligned):
        noise = cv2.GaussianBlur(self._random.normal(0, 25, aligned.shape).astype(np.float32), (0, 0), 1)
        return np.clip(sharpen(aligned) + noise, 0, 255).astype(np.uint8)


def swaying(picture, count):
    for number in range(count):
        move = np.float32([[1, 0, 3 * np.sin(number / 3)], [0, 1, 2 * np.cos(number / 4)]])
        yield cv2.warpAffine(picture, move, (SIDE, SIDE), borderMode=cv2.BORDER_REPLICATE), move


def jitter(picture, restorer_of):
    """Mean second difference in time of the restored face, where the head is."""
    restorer, network, frames = NetworkRestorer(None), Flickering(), []
    for number, (moved, move) in enumerate(swaying(picture, 20)):
        restorer = restorer_of(network, restorer)
        face, out = restore(moved, network, restorer, number)
        change = np.zeros((SIDE, SIDE, 3), np.float32)
        change[BOX.slices()] = out.astype(np.float32) - face
        back = cv2.warpAffine(change, move, (SIDE, SIDE), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
        frames.append(back[VISIBLE.expand(-12).slices()])
    steady = frames[9:]  # the first frames of a chunk fill the mean
    return np.abs(np.diff(steady, 2, axis=0)).mean(), np.square(np.mean(steady, axis=0)).mean()


def test_jitter_is_at_most_a_quarter_of_that_of_single_frames(picture):
    plain, plain_detail = jitter(picture, lambda network, _: NetworkRestorer(network))
    kept = NetworkRestorer(Flickering())
    stable, stable_detail = jitter(picture, lambda *_: kept)
    assert stable < plain / 4
    assert stable_detail > 0.5 * plain_detail, "detail that all frames have in common stays"


def test_the_mean_starts_anew_where_the_picture_changes(picture):
    first = cv2.resize(picture, (ALIGNED_PX, ALIGNED_PX))
    second = first.copy()
    cv2.ellipse(second, (256, 370), (60, 30), 0, 0, 360, (20, 10, 30), -1)
    before, after = (np.full((ALIGNED_PX, ALIGNED_PX, 3), value, np.float32) for value in (8, -8))
    stabilizer = TemporalStabilizer()
    assert np.array_equal(stabilizer.update(first, before), before)
    mean = stabilizer.update(second, after)
    assert mean[370, 256].mean() == pytest.approx(-8, abs=0.5), "the new mouth takes the new correction"
    assert mean[150, 256].mean() > 4, "elsewhere the mean continues"
