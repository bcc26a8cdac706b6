"""Faces encoded in parts: which parts frames need, and that order and number of the parts change nothing."""

from contextlib import closing
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
from parts_engine import PART_FRAMES, PartsEngine

from musetalk_core.avatar import archive, parts, prepare
from musetalk_core.avatar.parts import PartEncoder, encode_parts, parts_of
from musetalk_core.engines.musetalk import engine as musetalk
from musetalk_core.engines.musetalk.engine import MuseTalkEngine
from musetalk_core.engines.musetalk.options import MuseTalkEngineOptions
from musetalk_core.errors import InputError
from musetalk_core.media.video import frame_reader
from musetalk_core.model_registry.local_models import LocalModels
from musetalk_core.rendering.chunking import Chunk
from musetalk_core.rendering.render_chunk import Scene
from musetalk_core.runtime.config import RuntimeConfig

FRAMES = 30
WALLS = {5, 6, *range(16, 24)}
"""Frames without a face: two of the first part, and all of the third one."""


def write_clip(path, portrait, frames, walls, key_frames=12):
    small = cv2.resize(portrait, (256, 256), interpolation=cv2.INTER_AREA)
    with av.open(str(path), "w") as container:
        options = {"crf": "14", "preset": "ultrafast", "g": str(key_frames), "sc_threshold": "0"}
        stream = container.add_stream("libx264", rate=25, options=options)
        stream.height, stream.width, stream.pix_fmt = 256, 256, "yuv420p"
        for number in range(frames):
            move = np.float32([[1, 0, 4 * np.sin(number / 3)], [0, 1, 2 * np.cos(number / 3)]])
            picture = cv2.warpAffine(small, move, (256, 256), borderMode=cv2.BORDER_REPLICATE)
            picture = np.full((256, 256, 3), 90, np.uint8) if number in walls else picture
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "bgr24")))
        container.mux(stream.encode())
    return path


@pytest.fixture(scope="module")
def clip(portrait, tmp_path_factory):
    return write_clip(tmp_path_factory.mktemp("clip") / "swaying.mp4", portrait, FRAMES, WALLS)


@pytest.fixture(scope="module")
def avatar(clip, tmp_path_factory):
    return prepared(clip, PartsEngine(), tmp_path_factory.mktemp("avatar"))


def prepared(clip, engine, folder):
    prepare.prepare_avatar(prepare.AvatarRequest(clip, "0" * 64), engine, folder)
    return archive.load_avatar(folder)


def blobs_of(avatar):
    return [avatar.conditioning.blobs.read(frame) for frame in range(avatar.manifest.frames)]


def test_preparing_finds_faces_and_boxes_and_encodes_nothing(avatar):
    assert avatar.manifest.part_frames == PART_FRAMES
    assert set(np.flatnonzero(avatar.shots < 0).tolist()) == WALLS
    assert [bool(box.any()) for box in avatar.boxes] == [n not in WALLS for n in range(FRAMES)]
    assert set(blobs_of(avatar)) == {b""}


def test_frames_need_the_parts_that_hold_their_faces(avatar):
    assert parts_of(avatar) == [0, 1, 3], "the third part shows no face"
    assert parts_of(avatar, np.array([9, 8, 25, 9])) == [1, 3]
    assert parts_of(avatar, np.array([5, 6, 20])) == [], "no face needs nothing"
    assert parts_of(avatar, np.array([], np.int64)) == []


def test_a_clip_played_backwards_and_again_needs_no_new_parts(avatar, clip):
    scene = Scene(avatar, clip, Fraction(25))
    needed = [parts_of(avatar, scene.source_frames(Chunk(0, *span))) for span in ((0, 4), (28, 70), (0, 300))]

    assert needed == [[0], [0, 1, 3], [0, 1, 3]]


def test_each_face_is_encoded_once_with_its_place_whatever_the_order(avatar, clip, tmp_path):
    engine = PartsEngine()
    whole = encode_parts(avatar, engine, clip, tmp_path / "whole")
    encode_parts(avatar, engine, clip, tmp_path / "extended", np.array([25]))
    encode_parts(avatar, engine, clip, tmp_path / "extended", np.array([3]))
    extended = encode_parts(avatar, engine, clip, tmp_path / "extended")

    places = iter(range(FRAMES))
    for frame, blob in enumerate(blobs_of(whole)):
        assert bool(blob) == (frame not in WALLS)
        if blob:
            assert np.frombuffer(blob, "<i8")[:2].tolist() == [frame, next(places)]
    assert blobs_of(extended) == blobs_of(whole)
    for part in ("0", "1", "3"):
        first, second = (
            {f.name: f.read_bytes() for f in (tmp_path / n / part).iterdir()} for n in ("whole", "extended")
        )
        assert first == second


def test_ascending_parts_decode_no_frame_twice(avatar, clip, tmp_path, monkeypatch):
    decoded, advance = [], frame_reader.FrameCursor.advance

    def counted(cursor):
        decoded.append(cursor.position)
        return advance(cursor)

    monkeypatch.setattr(frame_reader.FrameCursor, "advance", counted)
    encode_parts(avatar, PartsEngine(), clip, tmp_path)

    assert len(decoded) == len(set(decoded)) <= FRAMES


def test_a_later_part_is_decoded_from_its_key_frame(avatar, clip, tmp_path, monkeypatch):
    decoded, advance = [], frame_reader.FrameCursor.advance
    monkeypatch.setattr(
        frame_reader.FrameCursor, "advance", lambda cursor: decoded.append(cursor.position) or advance(cursor)
    )
    encode_parts(avatar, PartsEngine(), clip, tmp_path, np.array([29]))

    assert decoded == list(range(24, 30)), "frame 24 is a key frame"


def test_an_encoder_that_failed_goes_on_with_the_part_that_it_is_asked_for(avatar, clip, tmp_path):
    engine, failing = PartsEngine(), True

    def fail(frame):
        if frame == 9 and failing:
            raise InterruptedError

    engine.on_face = fail
    with closing(PartEncoder(avatar, engine, clip)) as encoder:
        for name in ("0", "broken", "1", "3"):
            (tmp_path / name).mkdir()
        encoder.write(0, tmp_path / "0")
        with pytest.raises(InterruptedError):
            encoder.write(1, tmp_path / "broken")
        failing = False
        done = []
        encoder.write(1, tmp_path / "1", done.append)
        encoder.write(3, tmp_path / "3")

    assert done == list(range(1, 9))
    extended = parts.with_parts(avatar, lambda part: tmp_path / str(part))
    assert blobs_of(extended) == blobs_of(encode_parts(avatar, engine, clip, tmp_path / "whole"))


def test_a_damaged_part_is_noticed(avatar, clip, tmp_path):
    made = encode_parts(avatar, PartsEngine(), clip, tmp_path)
    assert made.conditioning.blobs.read(0)
    (tmp_path / "1" / "offsets.npz").write_bytes(b"PK")
    with pytest.raises(InputError, match="part of the prepared avatar"):
        made.conditioning.blobs.read(9)
    (tmp_path / "3" / "plates.bin").write_bytes(b"")
    with pytest.raises(InputError, match="ends too early"):
        made.conditioning.blobs.read(25)


@pytest.fixture(scope="module")
def machine(golden_models, tmp_path_factory):
    root = golden_models("unet-v15", "vae", "whisper", "bisenet")
    spare = tmp_path_factory.mktemp("ledger") / "hashes.json"
    return RuntimeConfig(LocalModels(root, spare), device="cpu", landmarks="mesh")


@pytest.mark.parametrize("latents", ["mode", "sample"])
def test_a_neural_avatar_that_is_extended_twice_equals_one_encoded_at_once(
    latents, machine, portrait, tmp_path, monkeypatch
):
    monkeypatch.setattr(musetalk, "_PART_FRAMES", 2)
    clip = write_clip(tmp_path / "short.mp4", portrait, 6, {2})
    engine = MuseTalkEngine(MuseTalkEngineOptions(latents=latents, seed=7), machine)
    (tmp_path / "avatar").mkdir()
    avatar = prepared(clip, engine, tmp_path / "avatar")
    faces = parts.read_faces(
        parts.TrackedClip(clip, avatar.index, avatar.shots, avatar.boxes, avatar.landmarks),
        np.flatnonzero(avatar.shots >= 0),
    )
    at_once = dict(zip((0, 1, 3, 4, 5), (f.blob for f in engine.encode_faces(faces)), strict=True))

    for frames in ([3], [1, 0], [5, 3]):
        extended = encode_parts(avatar, engine, clip, tmp_path / "parts", np.array(frames))

    assert parts_of(avatar) == [0, 1, 2]
    assert blobs_of(extended) == [at_once.get(frame, b"") for frame in range(6)]
    assert len(set(at_once.values())) == 5
