"""Following one face: when it is detected, who it is, and what happens where there is none."""

from itertools import islice

import av
import cv2
import numpy as np

from musetalk_core.faces.mesh_tracker import MeshTracker, track_face
from musetalk_core.faces.scene_cuts import SceneCutDetector
from musetalk_core.media.image.yuv_picture import Picture

WALL = Picture.from_bgr(np.full((288, 512, 3), 90, np.uint8))


def scene(portrait, x=0, background=90, second=None):
    """A 512x288 picture with the portrait's head at x, and a smaller one at `second`."""
    out = np.full((288, 512, 3), background, np.uint8)
    head = portrait[20:220, 120:330]
    out[40:240, x : x + 210] = head
    if second is not None:
        small = cv2.resize(head, (158, 150), interpolation=cv2.INTER_AREA)
        out[60:210, second : second + 158] = small
    return Picture.from_bgr(out)


def middles(faces):
    return [None if f.landmarks is None else round(float(f.landmarks[:, 0].mean())) for f in faces]


def test_a_moving_face_is_detected_once_and_then_followed(portrait):
    tracker = MeshTracker()

    faces = [tracker.update(scene(portrait, x)) for x in range(20, 80, 3)]

    assert (tracker.detection_count, tracker.propagated_mesh_count) == (1, 19)
    assert [f.index for f in faces] == list(range(20))
    np.testing.assert_allclose(np.diff(middles(faces)), 3, atol=1)
    assert {f.shot for f in faces} == {0}


def test_frames_without_a_face_keep_their_place(portrait):
    pictures = [scene(portrait, 50)] * 3 + [WALL] * 20 + [scene(portrait, 50)] * 3

    faces = list(track_face(pictures))

    assert [f.landmarks is None for f in faces] == [False] * 3 + [True] * 20 + [False] * 3
    assert [f.index for f in faces] == list(range(26))
    assert all(f.score == 0 for f in faces[3:23])


def test_a_scene_cut_starts_a_new_shot_and_detects_anew(portrait):
    tracker = MeshTracker()
    pictures = [scene(portrait, 50)] * 5 + [scene(portrait, 60, background=220)] * 5

    shots = [tracker.update(p).shot for p in pictures]

    assert shots == [0] * 5 + [1] * 5
    assert tracker.detection_count == 2


def test_a_face_that_jumps_is_a_cut_even_where_the_brightness_hides_it(portrait):
    tracker = MeshTracker()

    shots = [tracker.update(scene(portrait, x)).shot for x in (20, 20, 20, 260, 260)]

    assert shots == [0, 0, 0, 1, 1]


def test_slow_and_quick_movement_without_a_cut_stays_one_shot(portrait):
    shots = [f.shot for f in track_face(scene(portrait, x) for x in range(20, 200, 12))]

    assert set(shots) == {0}


def test_the_wanted_face_of_two_is_followed(portrait):
    pictures = [scene(portrait, 20 + 2 * i, second=330) for i in range(4)]

    large, small = middles(track_face(pictures)), middles(track_face(pictures, 1))

    assert all(100 < x < 160 for x in large)
    assert all(390 < x < 440 for x in small)
    assert middles(track_face(pictures, "right")) == small
    assert middles(track_face(pictures, "left")) == large
    assert middles(track_face(pictures, 2)) == [None] * 4


def test_nobody_takes_the_place_of_a_person_who_turns_away(portrait):
    both = scene(portrait, 20, second=330)
    blurred = both.bgr()
    blurred[:, :250] = cv2.GaussianBlur(blurred, (0, 0), 20)[:, :250]
    away = Picture.from_bgr(blurred)

    faces = list(track_face([both] * 3 + [away] * 10 + [both] * 2))

    assert [f.landmarks is None for f in faces] == [False] * 3 + [True] * 10 + [False] * 2
    assert {f.shot for f in faces} == {0}
    assert abs(middles(faces)[-1] - middles(faces)[0]) < 3


def test_after_two_seconds_somebody_else_may_step_in_as_a_new_shot(portrait):
    both = scene(portrait, 20, second=330)
    blurred = both.bgr()
    blurred[:, :250] = cv2.GaussianBlur(blurred, (0, 0), 20)[:, :250]

    faces = list(track_face([both] * 3 + [Picture.from_bgr(blurred)] * 54))

    assert [f.landmarks is None for f in faces] == [False] * 3 + [True] * 50 + [False] * 4
    assert [f.shot for f in faces] == [0] * 53 + [1] * 4


def test_a_face_half_hidden_for_a_moment_is_found_again_in_its_place(portrait):
    hidden = scene(portrait, 50).bgr()
    hidden[60:200, 60:220] = 90
    pictures = [scene(portrait, 50)] * 3 + [Picture.from_bgr(hidden)] * 2 + [scene(portrait, 50)] * 3

    faces = list(track_face(pictures))

    assert [f.landmarks is None for f in faces] == [False] * 3 + [True] * 2 + [False] * 3
    assert middles(faces)[0] == middles(faces)[-1]


def test_pictures_are_taken_one_at_a_time(portrait):
    taken = []

    def pictures():
        for number in range(100):
            taken.append(number)
            yield scene(portrait, 50)

    list(islice(track_face(pictures()), 2))

    assert taken == [0, 1]


def test_grain_and_a_slow_fade_are_no_cuts():
    rng, cuts = np.random.default_rng(0), SceneCutDetector()
    grain = [Picture.from_bgr(rng.integers(0, 256, (144, 256, 3), dtype=np.uint8)) for _ in range(5)]
    fade = [Picture.from_bgr(np.full((144, 256, 3), 20 + 5 * i, np.uint8)) for i in range(40)]

    assert not any(cuts.is_cut(p) for p in grain)
    cuts = SceneCutDetector()
    assert not any(cuts.is_cut(p) for p in fade)


def test_a_real_clip_is_followed_without_a_gap(samples):
    with av.open(str(samples / "sun.mp4")) as file:
        frames = islice(file.decode(video=0), 75)
        tracker = MeshTracker()
        faces = [tracker.update(Picture(f.to_ndarray(format="yuv420p"))) for f in frames]

    assert all(f.landmarks is not None and f.shot == 0 for f in faces)
    assert (tracker.detection_count, tracker.propagated_mesh_count) == (1, 74)
