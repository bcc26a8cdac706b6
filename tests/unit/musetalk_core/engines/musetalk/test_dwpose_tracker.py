"""Face tracking by detection: one person among several, and upstream's selection on request."""

import numpy as np
import pytest

from musetalk_core.faces.dwpose_tracker import POINT_COUNT, DwposeTracker
from musetalk_core.media.image.yuv_picture import Picture
from musetalk_core.networks.s3fd import Detection

LEFT, RIGHT = (20, 40, 60, 90), (110, 40, 160, 100)


def picture(level=100):
    return Picture.from_bgr(np.full((160, 200, 3), level, np.uint8))


def face(box, score=0.9):
    return Detection(np.array(box, np.float32), score)


class Detector:
    def __init__(self, *frames):
        self.frames = list(frames)

    def detect(self, image):
        return self.frames.pop(0)


class Pose:
    """All 133 points in the middle of what it is shown."""

    def __init__(self):
        self.shown = []

    def points(self, image, box=None):
        self.shown.append(box)
        middle = (100, 80) if box is None else ((box.x1 + box.x2) / 2, (box.y1 + box.y2) / 2)
        return np.full((133, 2), middle, np.float32), np.ones(133, np.float32)


def follow(*frames, choice="largest", upstream=False, levels=None):
    pose = Pose()
    follower = DwposeTracker(Detector(*frames), pose, choice, upstream)
    levels = levels or [100] * len(frames)
    return [follower.update(picture(level)) for level in levels], pose, follower


def corners(seen):
    return None if seen.landmarks is None else tuple(seen.landmarks[68:].ravel().astype(int).tolist())


def test_the_chosen_face_is_followed_though_another_has_a_better_score():
    frames = [[face(RIGHT), face(LEFT, 0.95)], [face((22, 41, 62, 91), 0.6), face(RIGHT, 0.99)]]
    seen, pose, follower = follow(*frames, choice="left")

    assert [corners(one) for one in seen] == [LEFT, (22, 41, 62, 91)]
    assert {one.shot for one in seen} == {0}
    assert seen[0].landmarks.shape == (POINT_COUNT, 2)
    assert follower.detection_count == 2
    assert all(box.x2 <= 125 for box in pose.shown), "the pose is taken of the chosen one's surroundings"


def test_largest_is_by_size_and_not_by_score():
    seen, *_ = follow([face(LEFT, 0.99), face(RIGHT, 0.6)])

    assert corners(seen[0]) == RIGHT


def test_a_person_who_leaves_is_not_replaced_by_a_neighbour():
    seen, *_ = follow([face(RIGHT), face(LEFT)], [face(LEFT), face((0, 0, 30, 30))], [face(RIGHT)])

    assert [corners(one) for one in seen] == [RIGHT, None, RIGHT]


def test_a_cut_starts_a_new_shot_and_a_new_choice():
    seen, *_ = follow([face(RIGHT)], [face(LEFT)], levels=[60, 200])

    assert [one.shot for one in seen] == [0, 1]
    assert corners(seen[1]) == LEFT


def test_a_lone_face_elsewhere_is_a_new_shot():
    seen, *_ = follow([face(RIGHT)], [face(LEFT)])

    assert [one.shot for one in seen] == [0, 1]


def test_frames_without_a_face_have_no_landmarks():
    seen, *_ = follow([], [face(LEFT)], [])

    assert [corners(one) for one in seen] == [None, LEFT, None]


def test_upstream_poses_the_whole_frame_of_whoever_scores_best():
    first, second = [face(LEFT, 0.99), face(RIGHT)], [face(RIGHT, 0.8), face(LEFT, 0.7)]
    seen, pose, _ = follow(first, second, upstream=True)

    assert [corners(one) for one in seen] == [LEFT, RIGHT]
    assert pose.shown == [None, None]


@pytest.mark.parametrize("choice", [0, 1, 5])
def test_a_number_counts_by_size(choice):
    seen, *_ = follow([face(LEFT, 0.99), face(RIGHT, 0.6)], choice=choice)

    assert corners(seen[0]) == {0: RIGHT, 1: LEFT}.get(choice)
