"""
Faces on which the picture is judged: three public-domain photographs, and what is made from them.

All are enlarged to a face height of about 210 pixels, so that a mouth shows its details.
"""

from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np

from musetalk_core.faces.face_finder import find_faces
from musetalk_core.faces.mesh_topology import (
    CHIN,
    LOWER_LIP_INNER,
    OVAL,
    UPPER_LIP_INNER,
    UPPER_LIP_OUTER,
    face_height,
)
from musetalk_core.media.image.yuv_picture import Picture

ASSETS = Path(__file__).resolve().parents[1] / "assets"
HEIGHT_PX = 210
"""Face height of the cases."""
_SIDE_H = 1.9
"""Side of a picture in face heights."""


@dataclass(frozen=True, eq=False)
class FaceCase:
    """A face: its name, what it shows, its file (PNG or MP4), and whether pictures of it may be published."""

    name: str
    shows: str
    path: Path
    may_be_published: bool


def _astronaut():
    return photograph("astronaut.jpg")


_CASES = {
    "smiling": ("a smile with teeth", _astronaut, True),
    "open": ("a mouth wide open", lambda: opened(_astronaut()), True),
    "turned": ("a head turned by about 30 degrees", lambda: turned(_astronaut(), -36), True),
    "bearded": ("a beard", lambda: bearded(_astronaut()), True),
    "painted": ("a painting", lambda: painted(_astronaut()), True),
    "moving": ("a clip in motion", _astronaut, True),
    # the White House asks not to publish altered photographs
    "grin": ("a broad smile", lambda: photograph("pictures/president.jpg"), False),
    "closed": ("a closed mouth", lambda: photograph("pictures/vice_president.jpg"), False),
}


def face_cases(folder, names=()):
    """Write the faces into a folder and return them; only those with `names` if there are any."""
    found = []
    for name, (shows, make, may_be_published) in _CASES.items():
        if names and name not in names:
            continue
        path = folder / f"{name}.{'mp4' if name == 'moving' else 'png'}"
        if name == "moving":
            _write_clip(make(), path)
        else:
            cv2.imwrite(str(path), make())
        found.append(FaceCase(name, shows, path, may_be_published))
    return found


def photograph(name):
    """Return the head of a photograph, (h, w, 3) uint8, enlarged."""
    picture = cv2.imread(str(ASSETS / name))
    mesh = _mesh(picture)
    unit = face_height(mesh)
    scale = HEIGHT_PX / unit
    side = 2 * round(_SIDE_H * HEIGHT_PX / 2)
    x, y = mesh[OVAL].mean(0) * scale - side / 2
    place = np.float32([[scale, 0, -x], [0, scale, -y]])
    return cv2.warpAffine(
        picture, place, (side, side), flags=cv2.INTER_LANCZOS4, borderMode=cv2.BORDER_REPLICATE
    )


def opened(picture):
    """Lower the jaw of a face that shows its teeth, and paint the dark of the mouth between the lips."""
    mesh = _mesh(picture)
    unit = face_height(mesh)
    upper, lower = mesh[UPPER_LIP_INNER], mesh[LOWER_LIP_INNER]
    y, x = np.mgrid[0 : picture.shape[0], 0 : picture.shape[1]].astype(np.float32)
    drop = 0.075 * unit
    middle, half = upper[:, 0].mean(), np.ptp(upper[:, 0]) / 2
    across = np.clip(1 - ((x - middle) / (1.15 * half)) ** 2, 0, 1)
    edge = np.interp(x[0], lower[:, 0], lower[:, 1]) - 0.012 * unit  # lower edge of the upper teeth
    far = np.exp(-(((x - middle) / (2.6 * half)) ** 2))
    chin = mesh[CHIN, 1]
    # the skin follows the lower lip, less towards cheeks and throat
    follow = np.clip((chin + 0.22 * unit - y) / (0.3 * unit), 0, 1) * far
    gap = drop * np.sqrt(across)
    below = y > edge + gap
    shift = np.where(
        below, np.minimum(gap + (drop - gap) * 0.6 * np.clip((y - edge) / (0.2 * unit), 0, 1), drop), 0
    )
    out = cv2.remap(
        picture, x, y - (shift * follow).astype(np.float32), cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    hole = ((y > edge) & ~below & (across > 0.02)).astype(np.float32)
    hole = cv2.GaussianBlur(hole, (0, 0), 0.006 * unit)[..., None]
    depth = np.clip((y - edge) / np.maximum(gap, 1), 0, 1)[..., None]
    inside = np.float32([22, 20, 38]) + depth**2 * np.float32([48, 45, 95])
    inside = inside + np.random.default_rng(3).normal(0, 3, (*y.shape, 1))
    return np.clip(out * (1 - hole) + inside * hole, 0, 255).astype(np.uint8)


def turned(picture, degrees):
    """Turn a head about its vertical axis: an ellipsoid with a nose, seen from the side."""
    mesh = _mesh(picture)
    unit = face_height(mesh)
    middle = mesh[OVAL].mean(0)
    nose = mesh[4]
    y, x = np.mgrid[0 : picture.shape[0], 0 : picture.shape[1]].astype(np.float32)
    angle = np.radians(degrees)
    u, v = (x - middle[0]) / unit, (y - middle[1]) / unit

    def depth(left):
        """Height above the plane of the ears, of a frontal face."""
        skull = np.sqrt(np.clip(1 - (left / 0.46) ** 2 - (v / 0.75) ** 2, 0, 1)) * 0.42
        tip = (left - (nose[0] - middle[0]) / unit) ** 2 / 0.05**2 + (
            v - (nose[1] - middle[1]) / unit
        ) ** 2 / 0.11**2
        return skull + 0.11 * np.exp(-tip)

    left = u.copy()
    for _ in range(30):  # x seen = x cos + z sin
        left = 0.6 * left + 0.4 * np.clip(
            (u - (depth(left) - 0.2) * np.sin(angle)) / np.cos(angle), -0.6, 0.6
        )
    weight = np.clip(1.6 - 1.6 * np.sqrt((u / 0.62) ** 2 + (v / 0.9) ** 2), 0, 1)
    weight = weight * weight * (3 - 2 * weight)
    moved = middle[0] + unit * (u + (left - u) * weight)
    return cv2.remap(picture, moved.astype(np.float32), y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


def bearded(picture):
    """Draw a short beard on chin, jaw and upper lip."""
    mesh = _mesh(picture)
    unit = face_height(mesh)
    jaw = [
        234,
        93,
        132,
        58,
        172,
        136,
        150,
        149,
        176,
        148,
        152,
        377,
        400,
        378,
        379,
        365,
        397,
        288,
        361,
        323,
        454,
    ]
    upper = [454, 425, 410, 270, 0, 40, 186, 205, 234]
    area = np.zeros(picture.shape[:2], np.uint8)
    cv2.fillPoly(area, [np.round(mesh[jaw + upper]).astype(np.int32)], 255)
    cv2.fillPoly(area, [np.round(mesh[[98, 327, 287, 0, 57]]).astype(np.int32)], 255)
    lips = np.concatenate([mesh[UPPER_LIP_OUTER], mesh[[375, 321, 405, 314, 17, 84, 181, 91, 146]]])
    cv2.fillPoly(area, [np.round(lips).astype(np.int32)], 0)
    soft = cv2.GaussianBlur(area.astype(np.float32) / 255, (0, 0), 0.02 * unit)
    random = np.random.default_rng(7)
    hair = np.zeros(picture.shape[:2], np.float32)
    rows, columns = np.nonzero(area)
    for at in random.integers(0, len(rows), len(rows) // 5):
        start = np.array([columns[at], rows[at]], float)
        way = np.array([random.normal((start[0] - mesh[CHIN, 0]) / unit * 0.6, 0.35), 1.0])
        end = start + way / np.hypot(*way) * random.uniform(0.015, 0.04) * unit
        cv2.line(
            hair,
            *(tuple(int(v * 8) for v in p) for p in (start, end)),
            random.uniform(0.25, 0.8),
            1,
            cv2.LINE_AA,
            3,
        )
    weight = np.clip(hair * soft * 0.8 + soft * 0.22, 0, 0.7)[..., None]
    return np.clip(picture * (1 - weight) + np.float32([52, 72, 96]) * weight, 0, 255).astype(np.uint8)


def painted(picture):
    """Return the picture as if painted: flat areas of colour with soft edges, on canvas."""
    flat = cv2.pyrMeanShiftFiltering(cv2.medianBlur(picture, 5), 9, 22)
    flat = cv2.edgePreservingFilter(flat, flags=1, sigma_s=20, sigma_r=0.3)
    random = np.random.default_rng(11)
    canvas = cv2.GaussianBlur(random.normal(0, 1, picture.shape[:2]).astype(np.float32), (0, 0), 1.2)
    return np.clip(flat.astype(np.float32) + 22 * canvas[..., None], 0, 255).astype(np.uint8)


def _write_clip(picture, path, seconds=6):
    """Write the picture as a clip that sways, turns and zooms, with sensor noise."""
    side = picture.shape[0] // 2 * 2
    random = np.random.default_rng(0)
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "14", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = side, side, "yuv420p"
        for number in range(25 * seconds):
            t = number / 25
            place = cv2.getRotationMatrix2D(
                (side / 2, side * 0.7), 3 * np.sin(1.9 * t), 1.02 + 0.03 * np.sin(1.3 * t)
            )
            place[:, 2] += 7 * np.sin(2.3 * t), 5 * np.sin(3.1 * t + 1)
            frame = cv2.warpAffine(
                picture, place, (side, side), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT
            )
            noisy = frame + random.normal(0, 2, (side, side, 1))
            frame = np.clip(noisy, 0, 255).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "bgr24")))
        container.mux(stream.encode(None))


def _mesh(picture):
    even = picture[: picture.shape[0] // 2 * 2, : picture.shape[1] // 2 * 2]
    return find_faces(Picture.from_bgr(np.ascontiguousarray(even)))[0].landmarks
