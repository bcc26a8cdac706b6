"""The check of the store sees what an upload would see."""

import errno
from pathlib import Path

import pytest
from moto import mock_aws

from tasks.errors import BucketNotAllowed
from tasks.settings import get_settings
from tasks.storage import home_store
from tasks.storage.folder_store import FolderStore
from tasks.storage.store_check import find_store_problem


@pytest.fixture
def check(tmp_path, monkeypatch):
    def check(**variables):
        for name, value in {
            "MUSETALK_HOME": tmp_path,
            "MUSETALK_STORE__MIN_FREE_BYTES": 1,
            **variables,
        }.items():
            monkeypatch.setenv(name, str(value))
        get_settings.cache_clear()
        home_store._open_store.cache_clear()
        return find_store_problem(get_settings())

    yield check
    get_settings.cache_clear()
    home_store._open_store.cache_clear()


def test_a_store_that_works_has_no_problem_and_keeps_nothing(check, tmp_path):
    assert check() is None
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_bucket_that_is_missing_is_named(check, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        assert "no bucket nowhere" in check(MUSETALK_STORE__URL="s3://nowhere/main")


def test_a_disk_that_is_full_is_a_problem(check, monkeypatch):
    def full(self, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        assert "disk is full" in check()
    assert check(MUSETALK_STORE__MIN_FREE_BYTES=10**18) == "the disk is nearly full"


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS])
def test_a_folder_that_cannot_be_written_is_a_problem_and_a_typed_error(check, monkeypatch, tmp_path, number):
    def refuse(self, *_, **__):
        raise OSError(number, "refused", str(self))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", refuse)
        assert "may not write" in check()
        with pytest.raises(BucketNotAllowed, match="MUSETALK_HOME"):
            FolderStore(tmp_path).put_bytes("a", b"b")
