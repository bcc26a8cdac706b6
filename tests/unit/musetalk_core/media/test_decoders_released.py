"""Decoders close with the block that opened them, despite remaining references and without a collection."""

import gc
import threading
import time
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from parts_engine import PartsEngine

from musetalk_core.avatar import prepare
from musetalk_core.avatar.parts import encode_parts
from musetalk_core.engines.constant_engine import FakeEngine
from musetalk_core.errors import InputError, MediaTooLarge, MediaUnreadable
from musetalk_core.formats.chunk_crops import CropReader
from musetalk_core.media.audio.decode import decode_speech
from musetalk_core.media.output.mux import join_chunks as join
from musetalk_core.media.output.video_encoder import VideoEncoder
from musetalk_core.media.probe import probe
from musetalk_core.media.source.limits import MediaLimits
from musetalk_core.media.video.contact_sheet import contact_sheet
from musetalk_core.media.video.frames import FrameReader, open_scan, write_proxy

BFRAMES = ("-c:v", "libx264", "-preset", "medium", "-bf", "3", "-g", "12", "-pix_fmt", "yuv420p")
TASKS, FILES = Path("/proc/self/task"), Path("/proc/self/fd")
TIMES = 6

pytestmark = pytest.mark.skipif(not TASKS.exists(), reason="threads and files are counted in /proc")


@pytest.fixture
def no_collector(monkeypatch):
    """Neither the collector's own runs nor a call of it may be what ends a decoder."""
    gc.collect()
    gc.disable()
    monkeypatch.setattr(gc, "collect", lambda *_: 0)
    yield
    gc.enable()


def used():
    """Threads and open files of this process."""
    return len(list(TASKS.iterdir())), len(list(FILES.iterdir()))


def assert_no_more_than(before):
    """
    Wait until this process has no more threads and files than `before`.

    The system may count a joined thread for a moment more; a thread without relation to the test may end.
    """
    until = time.monotonic() + 5
    while not is_within(before) and time.monotonic() < until:
        time.sleep(0.05)
    assert is_within(before), (used(), before)


def is_within(before):
    return all(now <= then for now, then in zip(used(), before, strict=True))


@pytest.fixture(scope="module")
def clip(clips):
    sound = ("-f", "lavfi", "-i", "sine=440:d=2")
    source = ("-f", "lavfi", "-i", "testsrc2=s=160x120:r=25:d=2")
    return clips.make("moving.mp4", *source, *sound, *BFRAMES, "-c:a", "aac")


@pytest.fixture(scope="module")
def index(clip):
    with open_scan(clip) as scan:
        for _ in scan:
            pass
    return scan.index


class Use:
    """Ways to use a clip. `held` keeps what a caller may hold on to: readers, generators, exceptions."""

    def __init__(self, clip, index, folder):
        self.clip, self.index, self.folder, self.held = clip, index, folder, []

    def _written(self, name, frames):
        path = self.folder / name
        if not path.exists():
            with (
                VideoEncoder(path, 160, 120, Fraction(25), crf=30, preset="ultrafast") as encoder,
                FrameReader(self.clip, self.index) as reader,
            ):
                for picture in reader.read(range(frames)):
                    encoder.write(picture)
        return path

    def read_whole(self):
        with FrameReader(self.clip, self.index) as reader:
            assert len(list(reader.read(range(50)))) == 50

    def read_backwards(self):
        with FrameReader(self.clip, self.index, 1) as reader:
            list(reader.read([40, 3, 20, 10, 49, 0]))

    def read_in_part(self):
        with FrameReader(self.clip, self.index) as reader:
            next(reader.read(range(50)))

    def read_in_part_and_hold(self):
        with FrameReader(self.clip, self.index) as reader:
            pictures = reader.read(range(50))
            next(pictures)
        self.held += [reader, pictures]

    def read_nothing(self):
        with FrameReader(self.clip, self.index) as reader:
            self.held.append(reader)

    def fail_while_reading(self):
        try:
            with FrameReader(self.clip, self.index) as reader:
                for _ in reader.read(range(50)):
                    raise ZeroDivisionError
        except ZeroDivisionError as error:
            self.held.append(error)

    def ask_for_a_frame_that_is_not_there(self):
        with pytest.raises(InputError) as error, FrameReader(self.clip, self.index) as reader:
            list(reader.read([0, 77]))
        self.held.append(error)

    def read_a_clip_that_was_replaced(self):
        shorter = self._written("shorter.mp4", 5)
        with pytest.raises(MediaUnreadable) as error, FrameReader(shorter, self.index) as reader:
            list(reader.read([30]))
        self.held.append(error)

    def scan_whole(self):
        with open_scan(self.clip) as scan:
            assert sum(1 for _ in scan) == 50
        self.held.append(scan)

    def scan_in_part(self):
        with open_scan(self.clip) as scan:
            next(iter(scan))

    def fail_while_scanning(self):
        try:
            with open_scan(self.clip) as scan:
                for _ in scan:
                    raise ZeroDivisionError
        except ZeroDivisionError as error:
            self.held.append(error)

    def scan_beyond_a_limit(self):
        with pytest.raises(MediaTooLarge) as error, open_scan(self.clip, MediaLimits(seconds=1)) as scan:
            list(scan)
        self.held.append(error)

    def probe(self):
        self.held.append(probe(self.clip))

    def decode_sound(self):
        decode_speech(self.clip, self.folder / "sound.f32")

    def fail_while_decoding_sound(self):
        with pytest.raises(MediaTooLarge) as error:
            decode_speech(self.clip, self.folder / "sound.f32", MediaLimits(seconds=1))
        self.held.append(error)

    def make_a_strip(self):
        contact_sheet(self.clip)

    def write_a_proxy(self):
        write_proxy(self.clip, self.folder / "proxy.mp4", self.index)

    def join_chunks(self):
        chunk = self._written("chunk.mp4", 25)
        assert join([chunk, chunk], self.clip, self.folder / "joined.mp4", rate=Fraction(25)) == 50


WAYS = [name for name in vars(Use) if not name.startswith("_")]


@pytest.mark.parametrize("way", WAYS)
def test_no_thread_and_no_file_is_left(way, clip, index, tmp_path, no_collector):
    use = Use(clip, index, tmp_path)
    getattr(use, way)()  # what is loaded and started once a process
    before = used()

    for _ in range(TIMES):
        getattr(use, way)()

    assert_no_more_than(before)


def test_readers_in_threads_end_too(clip, index, tmp_path, no_collector):
    use = Use(clip, index, tmp_path)
    use.read_backwards()
    before = used()

    threads = [threading.Thread(target=use.read_backwards) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert_no_more_than(before)


@pytest.fixture(scope="module")
def portrait_clip(clips):
    picture = Path(__file__).resolve().parents[3] / "assets" / "astronaut.jpg"
    small = clips.folder / "small.png"
    cv2.imwrite(str(small), cv2.resize(cv2.imread(str(picture)), (256, 256)))
    source = ("-loop", "1", "-framerate", "25", "-t", "1.2", "-i", small)
    return clips.make("portrait.mp4", *source, "-vf", "rotate=0.01*sin(n)", *BFRAMES)


def assert_failures_leave_no_decoder(fail):
    """Call `fail` with 0 to 3; threads and open files must not grow after the first failure."""
    fail(0)
    before = used()
    for number in range(1, 4):
        fail(number)

    assert_no_more_than(before)


class Failing(FakeEngine):
    """Fails at the third face that it is to encode, where asked to."""

    def encode_faces(self, faces):
        for number, kept in enumerate(super().encode_faces(faces)):
            if number == 2:
                raise ZeroDivisionError
            yield kept


def test_a_preparation_that_fails_leaves_no_decoder_while_its_error_is_held(
    portrait_clip, tmp_path, no_collector
):
    held = []

    def fail(number):
        (tmp_path / str(number)).mkdir()
        with pytest.raises(ZeroDivisionError) as error:
            prepare.prepare_avatar(
                prepare.AvatarRequest(portrait_clip, "0" * 64), Failing(), tmp_path / str(number)
            )
        held.append(error)

    assert_failures_leave_no_decoder(fail)


def test_a_part_that_fails_leaves_no_decoder_while_its_error_is_held(portrait_clip, tmp_path, no_collector):
    from musetalk_core.avatar import archive

    held = []
    prepare.prepare_avatar(prepare.AvatarRequest(portrait_clip, "0" * 64), PartsEngine(), tmp_path)
    avatar = archive.load_avatar(tmp_path)

    def fail(number):
        engine = PartsEngine()
        engine.on_face = lambda frame: 1 // (2 - frame)
        with pytest.raises(ZeroDivisionError) as error:
            encode_parts(avatar, engine, portrait_clip, tmp_path / str(number))
        held.append(error)

    assert_failures_leave_no_decoder(fail)


def test_a_chunk_whose_encoder_fails_leaves_no_decoder_while_its_error_is_held(
    portrait_clip, tmp_path, no_collector, monkeypatch
):
    from musetalk_core.avatar import archive
    from musetalk_core.formats.float_rows import Float32RowArray
    from musetalk_core.rendering.chunking import Chunk
    from musetalk_core.rendering.render_chunk import Scene, render_chunk
    from tasks.steps import encode_video
    from tasks.steps.render_chunk import ChunkRef

    engine, held = FakeEngine(), []
    (tmp_path / "avatar").mkdir()
    prepare.prepare_avatar(prepare.AvatarRequest(portrait_clip, "0" * 64), engine, tmp_path / "avatar")
    scene = Scene(archive.load_avatar(tmp_path / "avatar"), portrait_clip, Fraction(25))
    (tmp_path / "crops").mkdir()
    heard = Float32RowArray(np.zeros((25, 1), np.float32))
    render_chunk(scene, engine, heard, Chunk(0, 0, 25), tmp_path / "crops")
    assert len(CropReader.open(tmp_path / "crops").sources) == 25

    class Talk:
        """A render job with all options off."""

        crf, preset = 30, "ultrafast"

        def open_scene(self):
            return scene

        def __getattr__(self, name):
            return None

    def fail():
        with pytest.raises(ZeroDivisionError) as error:
            encode_video._encode_frames(
                Talk(), ChunkRef(number=0, start=0, stop=25), tmp_path / "crops", tmp_path / "v.mp4"
            )
        held.append(error)

    def write(*_):
        raise ZeroDivisionError

    monkeypatch.setattr(encode_video, "get_engine", lambda _: engine)
    monkeypatch.setattr(
        encode_video, "VideoEncoder", type("Broken", (encode_video.VideoEncoder,), {"write": write})
    )
    fail()
    before = used()
    for _ in range(3):
        fail()

    assert_no_more_than(before)
