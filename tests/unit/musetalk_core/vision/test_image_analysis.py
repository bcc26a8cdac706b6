"""Real and made-up pictures: words that are there are read, faces counted, boxes lie inside."""

import io
import time
from pathlib import Path

import pictures
import pytest
from PIL import Image

from musetalk_core.faces.mesh_tracker import track_face
from musetalk_core.media.image.photo import read_photo
from musetalk_core.media.image.yuv_picture import Picture
from musetalk_core.media.source.limits import MediaLimits
from musetalk_core.types import Box
from musetalk_core.vision.face_search import find_all_faces
from musetalk_core.vision.tagger import Tagger

ASSETS = pictures.ASSETS
WORDS = " ".join(pictures.PAGE).split()
MADE = {
    "page": (pictures.page, WORDS),
    "scan": (lambda: pictures.page(scan=True), WORDS),
    "upside down": (lambda: pictures.page().rotate(180), WORDS),
    "sideways": (lambda: pictures.page().rotate(90, expand=True), WORDS),
    "on its other side": (lambda: pictures.page().rotate(270, expand=True), WORDS),
    "chart": (
        pictures.chart,
        ["Visitors", "per", "season", "Spring", "Summer", "Autumn", "Winter", "140", "330", "210", "90"],
    ),
    "sign": (pictures.sign, ["DANGER", "Keep", "off", "the", "track"]),
}
FACES = {
    "astronaut.jpg": 1,
    "pictures/president.jpg": 1,
    "pictures/vice_president.jpg": 1,
    "pictures/cameraman.jpg": 1,
    "pictures/cat.jpg": 0,
    "pictures/espresso.jpg": 0,
    "pictures/rocket.jpg": 0,
    "pictures/galaxies.jpg": 0,
}


def decoded(picture: Image.Image, folder: Path):
    data = io.BytesIO()
    picture.save(data, "PNG")
    path = folder / "picture"
    path.write_bytes(data.getvalue())
    return read_photo(path, MediaLimits())


def is_inside(box, photo):
    return Box(0, 0, *photo.size).contains(box) and not box.is_empty


SLOW = {"scan", "sideways", "on its other side"}
ANGLES = [0, 90, *(pytest.param(angle, marks=pytest.mark.slow) for angle in (180, 270))]


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in MADE]
)
def test_words_are_read_and_lie_inside(name, reader, tmp_path):
    make, words = MADE[name]
    photo = decoded(make(), tmp_path)

    lines = reader.read(photo.bgr)

    read = " ".join(line.text for line in lines).split()
    missed = [word for word in words if word not in read]
    assert len(missed) <= len(words) // 10, (missed, read)
    assert all(is_inside(line.box, photo) and 0.5 <= line.score <= 1 for line in lines)
    assert all(0 <= x <= photo.size[0] and 0 <= y <= photo.size[1] for line in lines for x, y in line.corners)


def test_lines_lie_where_they_were_written(reader, tmp_path):
    photo = decoded(pictures.page(), tmp_path)
    turned = decoded(pictures.page().rotate(180), tmp_path)

    for number, (line, over) in enumerate(zip(reader.read(photo.bgr), reader.read(turned.bgr), strict=True)):
        top = 40 + 70 * number
        assert abs(line.box.x1 - 50) < 12 and line.box.y1 < top + 15 and line.box.y2 > top + 20
        assert abs(over.box.x2 - 950) < 12 and over.box.y2 > 420 - top - 15 and over.box.y1 < 420 - top - 20
        assert over.corners[0][0] > over.corners[1][0]  # its own top left lies on the right


@pytest.mark.parametrize("angle", ANGLES)
def test_lines_are_read_in_order_whichever_way_the_page_lies(reader, tmp_path, angle):
    photo = decoded(pictures.page().rotate(angle, expand=True), tmp_path)

    lines = reader.read(photo.bgr)

    assert [line.text[:8] for line in lines] == [text[:8] for text in pictures.PAGE]
    run = {0: (1, 0), 90: (0, -1), 180: (-1, 0), 270: (0, 1)}[angle]
    for line in lines:
        (x1, y1), (x2, y2), (x3, y3), _ = line.corners
        assert (x2 - x1) * run[0] + (y2 - y1) * run[1] > 300  # its top edge, as it is read
        assert (x3 - x2) * -run[1] + (y3 - y2) * run[0] > 15  # then down, as it is read


@pytest.mark.parametrize("angle", ANGLES)
def test_what_stands_in_a_row_is_read_as_a_row(reader, tmp_path, angle):
    photo = decoded(pictures.chart().rotate(angle, expand=True), tmp_path)

    words = [line.text for line in reader.read(photo.bgr)]

    assert words[0] == "Visitors per season"
    assert words[-4:] == ["Spring", "Summer", "Autumn", "Winter"]


@pytest.mark.parametrize("name", FACES)
def test_faces_are_counted(name):
    photo = read_photo(ASSETS / name, MediaLimits())

    faces = find_all_faces(photo.bgr)

    assert len(faces) == FACES[name]
    assert all(is_inside(face.box, photo) and 0.9 <= face.score <= 1 for face in faces)


def test_small_faces_are_found_beside_large_ones(tmp_path):
    wall, places = pictures.group()
    photo = decoded(wall, tmp_path)

    faces = find_all_faces(photo.bgr)

    assert len(faces) == len(places)
    for x, y in places:
        assert sum(f.box.x1 < x < f.box.x2 and f.box.y1 < y < f.box.y2 for f in faces) == 1
    areas = [face.box.size[0] * face.box.size[1] for face in faces]
    assert areas == sorted(areas, reverse=True)


def test_the_position_of_a_face_in_the_list_is_its_number_in_a_job(tmp_path):
    photo = decoded(pictures.group()[0], tmp_path)
    picture = Picture.from_bgr(photo.bgr)

    for number, face in enumerate(find_all_faces(photo.bgr)):
        [tracked] = track_face([picture], number)
        x, y = tracked.landmarks[:, :2].mean(0)
        assert face.box.x1 < x < face.box.x2 and face.box.y1 < y < face.box.y2, number


@pytest.mark.parametrize("name", ["president", "cat", "espresso", "rocket", "galaxies"])
def test_no_words_are_read_where_none_are(name, reader):
    assert reader.read(read_photo(ASSETS / "pictures" / f"{name}.jpg", MediaLimits()).bgr) == []


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("espresso", {"espresso"}),
        ("cat", {"tabby", "tiger cat", "Egyptian cat"}),
        ("cameraman", {"tripod"}),
        ("president", {"suit"}),
    ],
)
def test_tags_name_what_is_seen(name, labels, starter):
    photo = read_photo(ASSETS / "pictures" / f"{name}.jpg", MediaLimits())

    tags = Tagger(starter).tags(photo.bgr)

    assert tags[0].label in labels
    scores = [tag.score for tag in tags]
    assert scores == sorted(scores, reverse=True) and sum(scores) <= 1.0001


@pytest.mark.parametrize("size", [(2, 2), (3, 400), (65_000, 2)])
def test_tiny_and_narrow_pictures_are_looked_at(size, reader, starter, tmp_path):
    photo = decoded(Image.new("RGB", size, (40, 90, 160)), tmp_path)

    began = time.process_time()
    assert reader.read(photo.bgr) == [] and find_all_faces(photo.bgr) == []
    assert Tagger(starter).tags(photo.bgr)
    assert time.process_time() - began < 30  # a strip once became a picture of 72 million pixels


def test_text_in_a_narrow_strip_is_read(reader, tmp_path):
    strip = pictures.page().crop((0, 100, 1000, 150))
    photo = decoded(strip, tmp_path)

    [line] = reader.read(photo.bgr)

    assert line.text == pictures.PAGE[1] and is_inside(line.box, photo)
