import threading

import numpy as np
import pytest

from musetalk_core.formats.npz import load_arrays, open_array


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
