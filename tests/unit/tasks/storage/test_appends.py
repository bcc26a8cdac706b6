"""Objects written in several sessions: sessions that end early, beside each other, and after a crash."""

import os

import pytest

from tasks.errors import ObjectMissing, OffsetMismatch, UploadLocked
from tasks.storage import s3_appends
from tasks.storage.append_target import append_target
from tasks.storage.folder_store import FolderStore
from tasks.storage.s3_appends import part_size
from tasks.storage.s3_store import S3Store

KEY, DRAFT = "assets/a/data", "uploads/_/a/"
PART = 5 << 20


@pytest.fixture(params=["folder", "bucket"])
def store(request, tmp_path, monkeypatch):
    monkeypatch.setattr(s3_appends, "_PART_BYTES", PART)
    if request.param == "folder":
        return FolderStore(tmp_path / "store")
    return S3Store(request.getfixturevalue("bucket").name, "main")


def begin(store, size):
    token = append_target(store, KEY, DRAFT, size).begin()
    return lambda: append_target(store, KEY, DRAFT, size, token)  # as another process finds it


def write(target, data):
    session = target.open(target.offset())
    session.write(data)
    session.sync()
    session.close()


def content(store):
    return b"".join(store.read(KEY))


def test_sessions_continue_each_other(store):
    data = os.urandom(2 * PART + 10)
    target = begin(store, len(data))
    for start, end in ((0, 3), (3, PART - 1), (PART - 1, PART + 1), (PART + 1, len(data))):
        assert target().offset() == start
        write(target(), data[start:end])
    assert store.find(KEY) is None  # nothing is seen before it is complete
    target().complete()
    target().complete()
    assert content(store) == data and target().offset() == len(data)
    with pytest.raises(OffsetMismatch, match="complete"):
        target().open(0)
    target().abort()  # too late
    assert content(store) == data
    assert [info.key for info in store.list()] == [KEY] and list(store.pending_uploads()) == []


def test_what_was_not_synchronized_may_be_lost_and_is_sent_again(store):
    target = begin(store, 10)
    session = target().open(0)
    session.write(b"01234")
    session.close()  # the process ended
    offset = target().offset()
    write(target(), b"0123456789"[offset:])
    target().complete()
    assert content(store) == b"0123456789"


def test_an_aborted_one_is_gone(store):
    target = begin(store, 10)
    write(target(), b"01234")
    target().abort()
    target().abort()
    for ask in (target().offset, target().complete, lambda: target().open(5)):
        with pytest.raises((ObjectMissing, FileNotFoundError)):
            ask()
    assert list(store.list()) == [] and list(store.pending_uploads()) == []


def test_one_session_at_a_time_in_a_folder(tmp_path):
    target = begin(FolderStore(tmp_path), 10)
    session = target().open(0)
    with pytest.raises(UploadLocked):
        target().open(0)
    target().abort()
    session.close()
    with pytest.raises(ObjectMissing):
        target().open(0)


def in_bucket(bucket, monkeypatch, size):
    monkeypatch.setattr(s3_appends, "_PART_BYTES", PART)
    store = S3Store(bucket.name, "main")
    return store, begin(store, size)


def test_two_processes_that_write_the_same_file_to_a_bucket_do_no_harm(bucket, monkeypatch):
    data = os.urandom(3 * PART + 77)
    store, target = in_bucket(bucket, monkeypatch, len(data))
    first, second = target().open(0), target().open(0)
    first.write(data[: PART + 100])
    second.write(data[: 2 * PART + 50])
    first.sync()  # its tail begins before what the other one has stored
    assert target().offset() == 2 * PART
    write(target(), data[2 * PART :])
    second.sync()  # out of date, too
    target().complete()
    assert content(store) == data


def test_a_tail_counts_once_when_the_process_ends_before_it_is_deleted(bucket, monkeypatch):
    data = os.urandom(PART + 9)
    store, target = in_bucket(bucket, monkeypatch, len(data))
    write(target(), data[:100])
    session = target().open(100)
    session.write(data[100:PART])  # the part holds the tail, which is still there
    session.close()
    assert target().offset() == PART
    write(target(), data[PART:])
    target().complete()
    assert content(store) == data


def test_parts_after_a_gap_do_not_count(bucket, monkeypatch):
    store, target = in_bucket(bucket, monkeypatch, 3 * PART)
    target().send_part(PART, b"b" * PART)
    assert target().offset() == 0
    assert [part.number for part in target().missing_parts(10, 60)] == [1, 3]
    target().send_part(0, b"a" * PART)
    assert target().offset() == 2 * PART
    del store


@pytest.mark.parametrize(
    ("size", "bytes_of_a_part"),
    [(1, 8 << 20), (80 << 30, 8_589_935), (5_000_000_000_000, 500_000_000), (83_886_080_000, 8 << 20)],
)
def test_ten_thousand_parts_suffice(size, bytes_of_a_part):
    assert part_size(size) == bytes_of_a_part
    assert -(-size // part_size(size)) <= 10_000
