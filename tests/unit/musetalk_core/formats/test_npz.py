import threading
import zipfile

import numpy as np
import pytest

from musetalk_core.errors import EncodeError, MediaUnreadable
from musetalk_core.formats.chunk_crops import CropReader
from musetalk_core.formats.npz import load_arrays, open_array
from musetalk_core.media.video.frame_index import VideoIndex


def test_many_threads_read_at_once(tmp_path):
    path = tmp_path / "many.npz"
    np.savez(path, **{f"a{n}": np.arange(n) for n in range(30)})
    np.save(tmp_path / "one.npy", np.arange(6.0).reshape(3, 2))
    failures = []

    def read():
        try:
            for _ in range(20):
                assert len(load_arrays(path)) == 30
                assert open_array(tmp_path / "one.npy")[1].tolist() == [2.0, 3.0]
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=read) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_a_collision_with_foreign_parsing_is_tried_again(tmp_path, monkeypatch):
    np.save(tmp_path / "one.npy", np.arange(3))
    real, calls = np.load, []

    def collides_twice(*args, **kwargs):
        calls.append(args)
        if len(calls) < 3:
            raise SystemError("AST constructor recursion depth mismatch (before=75, after=71)")
        return real(*args, **kwargs)

    monkeypatch.setattr(np, "load", collides_twice)

    assert open_array(tmp_path / "one.npy").tolist() == [0, 1, 2]


def test_objects_are_refused(tmp_path):
    np.savez(tmp_path / "bad.npz", a=np.array([{}], object))

    with pytest.raises(ValueError, match="allow_pickle"):
        load_arrays(tmp_path / "bad.npz")


def damaged_files(folder):
    """(name, bytes) of files that are no whole .npz file."""
    path = folder / "good.npz"
    np.savez_compressed(path, a=np.arange(5000), b=np.ones((40, 40)))
    good = path.read_bytes()
    middle = len(good) // 3
    yield "empty", b""
    yield "cut short", good[: len(good) // 2]
    yield (
        "flipped bytes",
        good[:middle] + bytes(255 - b for b in good[middle : middle + 40]) + good[middle + 40 :],
    )
    yield "no zip", b"hello" * 100
    np.save(folder / "plain.npy", np.arange(3))
    yield "npy", (folder / "plain.npy").read_bytes()
    np.savez(path, a=np.arange(5000))
    stored = path.read_bytes()
    yield "damaged header", stored.replace(b"'shape': (5000,)", b"'shape': (9999,)")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", "no array")
    yield "other member", path.read_bytes()


def test_a_damaged_file_is_a_value_error(tmp_path):
    for name, content in damaged_files(tmp_path):
        (tmp_path / "bad.npz").write_bytes(content)
        with pytest.raises(ValueError, match=r"bad\.npz|not a zip|array|truncated|CRC"):
            print(name, load_arrays(tmp_path / "bad.npz"))


def test_whatever_reads_arrays_has_its_own_documented_error(tmp_path):
    for name, content in damaged_files(tmp_path):
        for file in ("crops.npz", "index.npz"):
            (tmp_path / file).write_bytes(content)
        (tmp_path / "crops.bin").write_bytes(b"")
        with pytest.raises(EncodeError):
            print(name, CropReader.open(tmp_path))
        with pytest.raises(MediaUnreadable):
            print(name, VideoIndex.load(tmp_path / "index.npz"))


def test_a_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_arrays(tmp_path / "none.npz")
