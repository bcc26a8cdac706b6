"""The core from a source file to finished pictures: what must not change and what must line up."""

import threading
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest

from musetalk_core.avatar import archive, prepare
from musetalk_core.compositing.blending import blend_square, feather
from musetalk_core.engine_protocol import EngineCapabilities
from musetalk_core.engine_registry import load_engine
from musetalk_core.engines.constant_engine import FakeEngine
from musetalk_core.errors import InputError, NoFaceFound
from musetalk_core.formats.chunk_crops import CropReader
from musetalk_core.formats.float_rows import Float32RowArray
from musetalk_core.media.video.frame_reader import FrameReader
from musetalk_core.rendering.chunking import Chunk, plan_chunks
from musetalk_core.rendering.compose import compose
from musetalk_core.rendering.render_chunk import Scene, render_chunk
from musetalk_core.speech.phones import Phone
from musetalk_core.types import Box

RATE = Fraction(25)
WORDS = [Phone(0.0, 0.2, ""), Phone(0.2, 0.5, "AA"), Phone(0.5, 0.7, "M"), Phone(0.7, 1.2, "AO")]


def write_clip(path, pictures, rate=25):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "14", "preset": "ultrafast"})
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "bgr24")))
        container.mux(stream.encode())
    return path


@pytest.fixture(scope="module")
def swaying(portrait, tmp_path_factory):
    """Twelve frames of the portrait, moving; frames 5 and 6 show a wall."""
    small = cv2.resize(portrait, (256, 256), interpolation=cv2.INTER_AREA)
    pictures = []
    for number in range(12):
        move = np.float32([[1, 0, 4 * np.sin(number)], [0, 1, 2 * np.cos(number)]])
        pictures.append(cv2.warpAffine(small, move, (256, 256), borderMode=cv2.BORDER_REPLICATE))
    pictures[5:7] = [np.full((256, 256, 3), 90, np.uint8)] * 2
    return write_clip(tmp_path_factory.mktemp("clip") / "swaying.mp4", pictures)


@pytest.fixture(scope="module")
def still(portrait, tmp_path_factory):
    path = tmp_path_factory.mktemp("still") / "portrait.png"
    cv2.imwrite(str(path), portrait)
    return path


def prepared(source, engine, folder):
    folder.mkdir()
    prepare.prepare_avatar(prepare.AvatarRequest(source, "0" * 64), engine, folder)
    return archive.load_avatar(folder)


def heard_by(engine, samples, frames, rate):
    return Float32RowArray.from_blocks(engine.encode_audio(samples, frames, rate, WORDS))


def rendered(scene, engine, folder, samples, frames=30, idle_seed=None, threads=1):
    """(source frame, source picture, finished picture) of each output frame."""
    folder.mkdir(exist_ok=True)
    chunk = Chunk(0, 0, frames)
    render_chunk(scene, engine, heard_by(engine, samples, frames, scene.rate), chunk, folder, threads=threads)
    crops = CropReader.open(folder)
    sources = crops.sources.tolist()
    with FrameReader(scene.avatar.source_path(scene.source), scene.avatar.index) as reader:
        before = list(reader.read(sources))
    return list(zip(sources, before, compose(scene, engine, crops, chunk, idle_seed), strict=True))


def outside(picture, box):
    """The luma and chroma bytes of a picture that lie outside a box of even coordinates."""
    rows, columns = box.slices()
    mask = np.ones(picture.y.shape, bool)
    mask[rows, columns] = False
    half = mask[::2, ::2]
    return np.concatenate([picture.y[mask], picture.u[half], picture.v[half]])


def test_an_engine_gets_the_number_of_faces_that_it_asks_for(swaying, tmp_path, reading):
    class Growing(FakeEngine):
        capabilities = EngineCapabilities(needs_crops=True, thread_safe=False, feature_size=2)
        given = []  # noqa: RUF012

        @property
        def batch_size(self):
            return 40 if self.given else 3

        def render(self, faces, *rest):
            self.given.append(len(faces))
            return super().render(faces, *rest)

    engine, done = Growing(), []
    scene = Scene(prepared(swaying, engine, tmp_path / "avatar"), swaying, RATE)
    (tmp_path / "crops").mkdir()
    heard = heard_by(engine, reading, 100, RATE)
    render_chunk(scene, engine, heard, Chunk(0, 0, 100), tmp_path / "crops", on_frames=done.append)

    assert engine.given[0] == 3 and max(engine.given) > 32
    assert done == list(range(1, 101))


@pytest.mark.parametrize("name", ["viseme", "fake"])
def test_every_byte_outside_the_crop_is_the_sources(name, swaying, tmp_path, reading):
    engine = load_engine(name)
    scene = Scene(prepared(swaying, engine, tmp_path / "avatar"), swaying, RATE)

    changed = 0
    for source, before, after in rendered(scene, engine, tmp_path / "crops", reading):
        box = scene.avatar.box(source)
        if box.is_empty:
            np.testing.assert_array_equal(after.i420, before.i420)
            continue
        # the blur of the mask may reach out of the crop, but never out of the square it is drawn in
        reach = box if name == "viseme" else blend_square(box).align_even().clip(256, 256)
        np.testing.assert_array_equal(outside(after, reach), outside(before, reach))
        changed += (after.i420 != before.i420).any()
    assert changed > 10


def test_every_row_above_the_reach_of_the_mask_is_the_sources(swaying, tmp_path, reading):
    engine = load_engine("fake")
    scene = Scene(prepared(swaying, engine, tmp_path / "avatar"), swaying, RATE)

    for source, before, after in rendered(scene, engine, tmp_path / "crops", reading, frames=12):
        box = scene.avatar.box(source)
        if box.is_empty:
            continue
        square = blend_square(box)
        side = square.x2 - square.x1
        kernel = int(0.05 * side // 2 * 2) + 1
        top = (square.y1 + side // 2 - kernel // 2) & ~1
        np.testing.assert_array_equal(after.y[:top], before.y[:top])
        np.testing.assert_array_equal(after.u[: top // 2], before.u[: top // 2])
        assert (after.y[top:] != before.y[top:]).any()


def test_the_blur_that_reach_is_computed_from_is_the_real_one():
    mask = np.zeros((200, 200), np.uint8)
    mask[100:150, 50:150] = 255
    area = feather(mask, Box(0, 0, 200, 200), Box(0, 0, 200, 200))[1]

    assert area.y1 == 100 - (int(0.05 * 200 // 2 * 2) + 1) // 2


def test_a_still_with_idle_motion_off_moves_only_its_mouth(still, tmp_path, reading):
    engine = load_engine("viseme")
    scene = Scene(prepared(still, engine, tmp_path / "avatar"), still, RATE)
    box = scene.avatar.box(0)

    moved = [after for _, _, after in rendered(scene, engine, tmp_path / "crops", reading)]

    first = moved[0]
    assert all((outside(picture, box) == outside(first, box)).all() for picture in moved)
    assert any((picture.i420 != first.i420).any() for picture in moved)


def test_idle_motion_is_seeded_and_stays_in_its_region(still, tmp_path, reading):
    engine = load_engine("viseme")
    scene = Scene(prepared(still, engine, tmp_path / "avatar"), still, RATE)

    once = rendered(scene, engine, tmp_path / "a", reading, idle_seed=3)
    again = rendered(scene, engine, tmp_path / "b", reading, idle_seed=3)
    other = rendered(scene, engine, tmp_path / "c", reading, idle_seed=4)

    assert all((x[2].i420 == y[2].i420).all() for x, y in zip(once, again, strict=True))
    assert any((x[2].i420 != y[2].i420).any() for x, y in zip(once, other, strict=True))
    np.testing.assert_array_equal(once[-1][2].y[:8], once[0][1].y[:8])


def test_faceless_frames_keep_their_place(swaying, tmp_path, reading):
    engine = load_engine("fake")
    made = prepared(swaying, engine, tmp_path / "avatar")
    scene = Scene(made, swaying, RATE)

    assert made.manifest.gaps == ((5, 7),)
    sources = [source for source, *_ in rendered(scene, engine, tmp_path / "crops", reading)]
    there, back = list(range(12)), list(range(11, -1, -1))
    assert sources == (there + back + there)[:30]


def test_hold_shows_the_nearest_frame_with_a_face(swaying, tmp_path, reading):
    engine = load_engine("fake")
    scene = Scene(prepared(swaying, engine, tmp_path / "avatar"), swaying, RATE, "hold")

    sources = [s for s, *_ in rendered(scene, engine, tmp_path / "crops", reading, frames=12)]

    assert sources == [0, 1, 2, 3, 4, 4, 7, 7, 8, 9, 10, 11]


def test_fail_names_the_first_frame_without_a_face(swaying, tmp_path, reading):
    engine = load_engine("fake")
    scene = Scene(prepared(swaying, engine, tmp_path / "avatar"), swaying, RATE, "fail")

    with pytest.raises(NoFaceFound, match="source frame 5"):
        rendered(scene, engine, tmp_path / "crops", reading)


@pytest.mark.parametrize("name", ["viseme", "fake"])
def test_chunks_and_threads_do_not_change_a_pixel(name, swaying, tmp_path, reading):
    engine = load_engine(name)
    scene = Scene(prepared(swaying, engine, tmp_path / "avatar"), swaying, RATE)
    features = heard_by(engine, reading, 30, RATE)
    whole, parts = tmp_path / "whole", []
    whole.mkdir()
    render_chunk(scene, engine, features, Chunk(0, 0, 30), whole, threads=2)
    for number, (start, stop) in enumerate([(0, 13), (13, 14), (14, 30)]):
        part = tmp_path / f"part{number}"
        part.mkdir()
        render_chunk(scene, engine, features, Chunk(number, start, stop), part)
        crops = CropReader.open(part)
        parts += [crops.crop(i) for i in range(stop - start)]

    expected = CropReader.open(whole)
    for number, crop in enumerate(parts):
        np.testing.assert_array_equal(crop, expected.crop(number))


def test_an_avatar_survives_being_saved_and_loaded(swaying, tmp_path):
    engine = load_engine("viseme")
    made = prepared(swaying, engine, tmp_path / "avatar")
    again = archive.load_avatar(tmp_path / "avatar")

    assert again.manifest == made.manifest
    assert again.manifest.detections >= 1
    np.testing.assert_array_equal(again.conditioning.frame_features, made.conditioning.frame_features)
    assert again.conditioning.teeth_references.keys() == made.conditioning.teeth_references.keys()
    assert np.isfinite(again.landmarks(4)).all()
    assert not any(path.suffix in {".pkl", ".pt", ".pickle"} for path in (tmp_path / "avatar").iterdir())


def test_an_avatar_is_small_beside_its_source(swaying, tmp_path):
    made = prepared(swaying, load_engine("viseme"), tmp_path / "avatar")
    files = [p for p in made.folder.iterdir() if p.name != archive.TEETH_REFERENCES_FILE]

    assert sum(p.stat().st_size for p in files) / made.manifest.frames < 20_000


def test_a_damaged_avatar_is_noticed(swaying, tmp_path):
    prepared(swaying, load_engine("fake"), tmp_path / "avatar")
    points = tmp_path / "avatar" / archive.LANDMARKS_FILE
    points.write_bytes(points.read_bytes()[:-4000])

    with pytest.raises(InputError, match="disagrees about its length"):
        archive.load_avatar(tmp_path / "avatar")


def test_a_source_without_any_face_is_refused(tmp_path):
    wall = write_clip(tmp_path / "wall.mp4", [np.full((64, 64, 3), 90, np.uint8)] * 5)

    with pytest.raises(NoFaceFound, match="5 frames"):
        prepared(wall, load_engine("viseme"), tmp_path / "avatar")


def test_features_and_plan_agree_about_the_number_of_frames(reading):
    rate = Fraction(30000, 1001)
    frames = plan_chunks(reading.count, rate, 10).frames

    assert heard_by(load_engine("viseme"), reading, frames, rate).count == frames


class OnADevice(FakeEngine):
    """Has a device to itself, and notes which thread works with it."""

    capabilities = EngineCapabilities(needs_crops=False, thread_safe=False, feature_size=2)
    batch_size = 32

    def __init__(self):
        self.threads = []

    def render(self, faces, conditioning, audio_features, on_face):
        self.threads.append(threading.get_ident())
        return [np.zeros((8, 8, 3), np.uint8) for _ in faces]


def test_a_device_is_worked_with_in_one_thread_from_chunk_to_chunk(swaying, tmp_path, reading):
    engine = OnADevice()
    scene = Scene(prepared(swaying, engine, tmp_path / "avatar"), swaying, RATE)
    heard = heard_by(engine, reading, 70, RATE)

    def stopped(done):
        raise InterruptedError

    for number in range(2):
        (tmp_path / str(number)).mkdir()
        render_chunk(scene, engine, heard, Chunk(number, 0, 70), tmp_path / str(number), threads=4)
    (tmp_path / "stopped").mkdir()
    with pytest.raises(InterruptedError):
        render_chunk(scene, engine, heard, Chunk(2, 0, 70), tmp_path / "stopped", on_frames=stopped)
    after = len(engine.threads)
    (tmp_path / "last").mkdir()
    render_chunk(scene, engine, heard, Chunk(3, 0, 70), tmp_path / "last")

    assert set(engine.threads) == {engine.threads[0]}
    assert threading.get_ident() not in engine.threads
    assert len(engine.threads) == after + 3, "what was stopped is over"


class Restoring(FakeEngine):
    """A restorer that paints faces white and remembers what it was given."""

    def __init__(self):
        self.given = []

    def open_restorer(self):
        return self

    def restore(self, rendered):
        self.given.append(rendered)
        return np.full_like(rendered.face, 255)


def test_a_restorer_gets_each_face_with_its_source_and_its_result_is_blended(swaying, tmp_path, reading):
    engine = Restoring()
    scene = Scene(prepared(swaying, engine, tmp_path / "avatar"), swaying, RATE)
    frames = rendered(scene, engine, tmp_path / "crops", reading, frames=12)

    with_face = [(source, before, after) for source, before, after in frames if source not in (5, 6)]
    assert [one.frame for one in engine.given] == [source for source, _, _ in with_face]
    for given, (source, before, after) in zip(engine.given, with_face, strict=True):
        assert np.array_equal(given.picture.i420, before.i420)
        assert given.face.shape[1::-1] == given.box.size and given.box == scene.avatar.box(source)
        assert given.box.contains(given.visible) and not given.visible.is_empty
        x, y = scene.avatar.landmarks(source)[0].astype(int)  # on a lip: the mask shows only the new face
        assert after.y[y, x] == 235 > before.y[y, x]
