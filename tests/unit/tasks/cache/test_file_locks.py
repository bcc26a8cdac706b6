"""Single flight holds between threads, and lock files do not pile up."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tasks.cache import file_locks
from tasks.cache.file_locks import exclusive_lock, release_lock, shared_lock, single_flight, try_acquire


def test_one_works_and_the_others_get_its_result(tmp_path):
    result: list[str] = []
    worked: list[int] = []

    def ask(n: int) -> str:
        with single_flight(tmp_path / "x.lock", lambda: result[0] if result else None) as found:
            if found is None:
                worked.append(n)
                time.sleep(0.05)
                result.append(found := "done")
        return found

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(ask, range(24))) == {"done"}
    assert len(worked) == 1
    assert list(tmp_path.iterdir()) == []


def test_never_two_at_a_time_though_lock_files_come_and_go(tmp_path):
    inside: list[int] = []
    together: list[int] = []

    def work(n: int) -> None:
        for _ in range(10):
            with single_flight(tmp_path / "x.lock", lambda: None):
                inside.append(n)
                together.append(len(inside))
                inside.remove(n)

    # without a result everybody has to work, one after the other
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert together == [1] * 40


def test_a_failure_releases_the_lock(tmp_path):
    with pytest.raises(RuntimeError), single_flight(tmp_path / "x.lock", lambda: None):
        raise RuntimeError
    fd = try_acquire(tmp_path / "x.lock")

    assert fd is not None
    assert try_acquire(tmp_path / "x.lock") is None
    release_lock(fd, tmp_path / "x.lock")


def test_an_exclusive_lock_waits_for_shared_ones(tmp_path):
    path, order = tmp_path / "x.lock", []

    def alone() -> None:
        with exclusive_lock(path):
            order.append("alone")

    with shared_lock(path):
        thread = threading.Thread(target=alone)
        thread.start()
        with shared_lock(path):
            time.sleep(0.1)
            order.append("together")
    thread.join()

    assert order == ["together", "alone"]


def test_a_lock_file_that_was_replaced_meanwhile_does_not_count(tmp_path, monkeypatch):
    path, real = tmp_path / "x.lock", file_locks.try_lock
    first, next_one = try_acquire(path), []
    assert first is not None

    def meanwhile(fd: int) -> bool:
        monkeypatch.setattr(file_locks, "try_lock", real)
        release_lock(first, path)
        next_one.append(try_acquire(path))
        return real(fd)

    monkeypatch.setattr(file_locks, "try_lock", meanwhile)

    assert try_acquire(path) is None
    assert next_one != [None]
    release_lock(next_one[0], path)
