"""Real faces: the mesh of what the engine draws must show the mouth that was asked for."""

from fractions import Fraction
from itertools import pairwise

import av
import cv2
import numpy as np
import pytest

from musetalk_core.engine_protocol import Conditioning, FaceFrame
from musetalk_core.engines.viseme.closed_source import close_source
from musetalk_core.engines.viseme.engine import VisemeEngine
from musetalk_core.engines.viseme.mouth import measure_mouth
from musetalk_core.faces.face_finder import find_faces
from musetalk_core.faces.mesh_topology import face_height
from musetalk_core.media.image.yuv_picture import Picture

ENGINE = VisemeEngine()
CURVE = np.float32(
    [
        [0, 0, 0, 0],
        [0.2, 0, 0, 0],
        [0.45, 0.2, 0, 0],
        [0.8, 0, 0, 0],
        [0.3, -0.8, 0, 0],
        [0.6, 0.3, 0, 0],
        [0, 0, 1, 0],
    ]
)


def frames_of(path, numbers):
    if path.suffix == ".png":
        return [cv2.imread(str(path))]
    with av.open(str(path)) as clip:
        return [f.to_ndarray(format="bgr24") for k, f in enumerate(clip.decode(video=0)) if k in numbers]


def mesh(picture):
    return find_faces(Picture.from_bgr(picture))[0].landmarks


def calmed(meshes):
    """Landmarks smoothed over time, as preparation hands them to an engine (sigma 50 ms)."""
    weights = np.exp(-0.5 * (np.arange(-4, 5) / 1.25) ** 2)
    padded = np.pad(np.stack(meshes), ((4, 4), (0, 0), (0, 0)), mode="edge")
    smooth = sum(w * padded[k : k + len(meshes)] for k, w in enumerate(weights)) / weights.sum()
    return smooth.astype(np.float32)


def scene(path, numbers=(0,)):
    pictures, faces = frames_of(path, numbers), []
    for index, (picture, points) in enumerate(
        zip(pictures, calmed([mesh(p) for p in pictures]), strict=True)
    ):
        size = picture.shape[1::-1]
        box = ENGINE.crop_box(points, *size).align_even().clip(*size)
        faces.append(FaceFrame(index, 0, box, np.ascontiguousarray(picture[box.slices()]), points))
    records = ENGINE.smooth_features(
        np.stack([kept.frame_features for kept in ENGINE.encode_faces(iter(faces))]),
        [0] * len(faces),
        Fraction(25),
    )
    donors = ENGINE.choose_teeth_references(records, [0] * len(faces))
    return pictures, faces, Conditioning(records, {shot: faces[k] for shot, k in donors.items()})


def finished(picture, crop, face):
    whole = picture.copy()
    whole[face.box.slices()] = crop
    return whole


def aperture(picture, crop, face):
    """Distance of the inner lips in face heights, on the finished picture."""
    points = mesh(finished(picture, crop, face))
    return float(np.linalg.norm(points[13] - points[14]) / face_height(face.landmarks))


@pytest.mark.parametrize(("name", "shut"), [("astronaut.png", 0.026), ("sun.mp4", 0.020)])
def test_a_real_smile_shuts_and_opens_as_asked(samples, name, shut):
    pictures, faces, known = scene(samples / name)
    assert aperture(pictures[0], faces[0].crop, faces[0]) > 0.04  # the source shows its teeth

    crops = ENGINE.render(faces[:1] * len(CURVE), known, CURVE)

    # The mesh reads up to 0.02 on smiling lips that are visibly shut.
    seen = [aperture(pictures[0], crop, faces[0]) for crop in crops]
    assert max(seen[0], seen[-1]) < shut
    assert seen[3] > seen[0] + 0.03
    # it also reads rounded lips as opened further than they are
    assert np.corrcoef(seen, CURVE[:, 0])[0, 1] > 0.92


def test_a_frozen_mouth_flickers_no_more_than_its_source(samples):
    pictures, faces, known = scene(samples / "sun.mp4", range(10))

    crops = ENGINE.render(faces, known, np.tile(np.float32([0.3, 0, 0, 0]), (len(faces), 1)))

    outputs = [finished(*each) for each in zip(pictures, crops, faces, strict=True)]
    # the opening is higher than the source's, and so are its edges between teeth and lips
    assert unrest(outputs, faces[0].box) < 1.15 * unrest(pictures, faces[0].box)


def test_lip_colors_stay_inside_the_lips(samples):
    _, faces, known = scene(samples / "sun.mp4")  # pale skin, red lips
    record = known.frame_features[0]
    mouth = measure_mouth(faces[0], record)

    closed = close_source(faces[0], record.tobytes())

    skin, lip = redness(mouth.record.skin), redness(mouth.record.lip)
    for distance in (0.02, 0.03, 0.04, 0.05):
        beside = mouth.upper_outer[[0, 10]] + np.float32([[-distance, 0], [distance, 0]])
        for x, y in np.rint(mouth.pose.to_pixels(beside)).astype(int):
            before = redness(faces[0].crop[y, x].astype(float))
            assert redness(closed[y, x]) < max(before, skin) + 0.1 * (lip - skin) + 0.01


def redness(color):
    return float(color[2] - color[1]) / max(float(color[2]), 1.0)


def unrest(pictures, box):
    """Mean difference of consecutive pictures over the lower face."""
    top = box.y1 + (box.y2 - box.y1) // 3
    lower = [picture[top : box.y2, box.x1 : box.x2].astype(int) for picture in pictures]
    return np.mean([np.abs(a - b).mean() for a, b in pairwise(lower)])
