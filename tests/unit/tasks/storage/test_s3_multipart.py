"""Multipart uploads: all or nothing, and aborted at once when the job is cancelled."""

import hashlib
import os
import signal
import threading
import time

import pytest
from slow_s3 import slow_s3

from tasks.errors import UploadFailed
from tasks.run import cancellation
from tasks.storage import s3_multipart
from tasks.storage.s3_store import S3Store


@pytest.fixture
def slow(bucket, s3_endpoint, configure):
    with slow_s3(s3_endpoint) as slow:
        configure(s3__endpoint_url=slow.url)
        yield slow


@pytest.fixture
def big(tmp_path):
    path = tmp_path / "big.bin"
    path.write_bytes(os.urandom(1 << 20) * 35)
    return path


@pytest.fixture(autouse=True)
def not_asked_to_stop():
    yield
    cancellation.reset_cancellation()


def half_uploads(bucket):
    return bucket.client.list_multipart_uploads(Bucket=bucket.name).get("Uploads", [])


def stop_once_a_part_is_there(slow, stop):
    def look():
        slow.parts.acquire(timeout=20)
        stop()

    threading.Thread(target=look, daemon=True).start()


def test_a_file_arrives_as_it_is(bucket, slow, big):
    S3Store(bucket.name).upload(big, "big.bin", "video/mp4", metadata={"job": "7"})

    told = bucket.client.head_object(Bucket=bucket.name, Key="big.bin")
    assert (told["ContentType"], told["Metadata"]) == ("video/mp4", {"job": "7"})
    assert hashlib.sha256(bucket.body("big.bin")).digest() == hashlib.sha256(big.read_bytes()).digest()
    assert sum("partNumber=" in asked for asked in slow.asked) == 3 and half_uploads(bucket) == []


def test_a_file_of_one_part_goes_in_one_piece(bucket, slow, tmp_path):
    exact = tmp_path / "exact.bin"
    exact.write_bytes(bytes(s3_multipart.PART_BYTES))

    assert S3Store(bucket.name).upload(exact, "exact.bin").size == s3_multipart.PART_BYTES
    assert not any("uploads" in asked or "partNumber" in asked for asked in slow.asked)


def test_checksums_go_along_where_the_storage_knows_them(bucket, big, monkeypatch):
    """As for AWS itself: each part has one, and the whole is made of them."""
    objects = S3Store(bucket.name)
    client = objects._client()
    monkeypatch.setattr(client.meta.config, "request_checksum_calculation", "when_supported")
    told = {}
    for call in ("CreateMultipartUpload", "CompleteMultipartUpload"):
        client.meta.events.register(
            f"provide-client-params.s3.{call}", lambda params, call=call, **_: told.update({call: params})
        )

    s3_multipart.upload_in_parts(client, big, {"Bucket": bucket.name, "Key": "big.bin"}, {})

    assert told["CreateMultipartUpload"]["ChecksumAlgorithm"] == "CRC32"
    parts = told["CompleteMultipartUpload"]["MultipartUpload"]["Parts"]
    assert [part["PartNumber"] for part in parts] == [1, 2, 3]
    assert all(part["ETag"] for part in parts)


def test_a_stopped_job_leaves_no_half_upload_and_waits_for_no_part(bucket, slow, big):
    slow.delay_s = 15.0
    stop_once_a_part_is_there(slow, cancellation.request_cancellation)
    began = time.monotonic()

    with pytest.raises(cancellation.Cancelled):
        S3Store(bucket.name).upload(big, "big.bin")

    assert time.monotonic() - began < slow.delay_s
    assert half_uploads(bucket) == [] and bucket.listed() == []


def test_a_signal_leaves_no_half_upload_either(bucket, slow, big, monkeypatch):
    class Ended(BaseException):
        pass

    def end(*_):
        raise Ended

    before = signal.signal(signal.SIGUSR1, end)
    slow.delay_s = 15.0
    stop_once_a_part_is_there(slow, lambda: os.kill(os.getpid(), signal.SIGUSR1))
    try:
        with pytest.raises(Ended):
            S3Store(bucket.name).upload(big, "big.bin")
    finally:
        signal.signal(signal.SIGUSR1, before)

    assert half_uploads(bucket) == [] and bucket.listed() == []


def test_a_part_that_fails_gives_the_whole_up(bucket, slow, big, monkeypatch):
    slow.refuse_parts = True

    with pytest.raises(UploadFailed):
        S3Store(bucket.name).upload(big, "big.bin")

    assert half_uploads(bucket) == [] and bucket.listed() == []
