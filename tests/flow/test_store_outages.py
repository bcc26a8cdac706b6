"""Outages of the S3 server between the tasks of a flow, which Prefect does not retry: jobs go on."""

from uuid import uuid4

import pytest
from moto_s3 import KEYS
from outages import outage_proxy
from prefect.context import TaskRunContext

from flows.batches.rows import batch_rows, rows_from_folders
from flows.lip_sync import lip_sync
from flows.schemas.batch import BatchJob
from flows.schemas.video import LipSyncJob
from tasks.cache.artefacts import ArtefactCache, artefact_cache
from tasks.cache.remote_mirror import Mirror
from tasks.catalog.spoken_languages import find_spoken_language, note_spoken_language
from tasks.errors import StorageError
from tasks.inputs.sources import fetch_source
from tasks.run import cancellation, retry
from tasks.run.cancellation import Cancelled
from tasks.settings import get_settings
from tasks.storage.home_store import _open_store, home_store
from tasks.storage.json_lines import has_lines, local_lines, read_lines, write_lines
from tasks.storage.s3_store import S3Store

SPEECH_S = 1
OUTAGE_S = 0.7
"""Longer than the attempts of boto3, of which there is one here."""


@pytest.fixture
def server(home, s3_endpoint, monkeypatch):
    """The store in a bucket, behind a proxy that can have outages."""
    import boto3

    name = f"outages-{uuid4().hex[:12]}"
    for key, value in KEYS.items():
        monkeypatch.setenv(key, value)
    boto3.client("s3", endpoint_url=s3_endpoint).create_bucket(Bucket=name)
    with outage_proxy(s3_endpoint) as proxy:
        monkeypatch.setenv("MUSETALK_S3__ENDPOINT_URL", proxy.url)
        monkeypatch.setenv("MUSETALK_S3__FORCE_PATH_STYLE", "true")
        monkeypatch.setenv("MUSETALK_S3__MAX_ATTEMPTS", "1")
        monkeypatch.setenv("MUSETALK_STORE__URL", f"s3://{name}/ours")
        get_settings.cache_clear()
        yield proxy
    _open_store.cache_clear()


@pytest.fixture
def bucket(server):
    return get_settings().store.url.split("/")[2]


def test_a_job_survives_an_outage_at_every_lookup_between_its_tasks(
    server, clip_file, speech_file, tmp_path, monkeypatch
):
    job = LipSyncJob(video=f"file://{clip_file}", audio=f"file://{speech_file}", engine="fake")
    first = lip_sync(job)
    monkeypatch.setenv("MUSETALK_STORE__CACHE_FOLDER", str(tmp_path / "another-machine"))
    get_settings.cache_clear()
    lookups = []

    def with_outage(name):
        method = getattr(ArtefactCache, name)

        def look_up(cache, *arguments, **options):
            if TaskRunContext.get() is None:
                lookups.append(name)
                server.fail_for(OUTAGE_S)
            return method(cache, *arguments, **options)

        monkeypatch.setattr(ArtefactCache, name, look_up)

    with_outage("find")
    with_outage("path")
    second = lip_sync(job)

    assert second.video.sha256 == first.video.sha256
    assert {"find", "path"} <= set(lookups), "the flow looks up entries between its tasks"


def test_an_outage_that_does_not_end_is_an_error_of_the_store(server, monkeypatch):
    monkeypatch.setattr(retry.retry_transient, "__defaults__", (1.0,))
    server.fail_for(60)

    with pytest.raises(StorageError) as error:
        artefact_cache().has("video", "a" * 64)

    assert error.value.code == "storage_unavailable"


def test_a_canceled_job_waits_for_no_store(server):
    server.fail_for(60)
    cancellation.request_cancellation()
    try:
        with pytest.raises(Cancelled):
            artefact_cache().has("video", "a" * 64)
    finally:
        cancellation.reset_cancellation()


def test_the_api_asks_about_an_entry_once(server, monkeypatch):
    monkeypatch.setattr(retry, "_cancellable_sleep", lambda _: pytest.fail("the request was retried"))
    server.fail_for(60)

    with pytest.raises(StorageError):
        artefact_cache().exists("avatar", "a" * 64)


def test_a_damaged_entry_is_an_error_at_once(server):
    asked = []

    def count(call, /):
        asked.append(call)
        return call()

    home_store().put_bytes(f"artefacts/video/{'b' * 64}/manifest.json", b"{}")

    with pytest.raises(StorageError, match="damaged"):
        Mirror(home_store(), count).find("video", "b" * 64)

    assert len(asked) == 1


def test_the_rows_of_a_batch_are_stored_and_read_in_spite_of_outages(server):
    key, lines = "batches/one.jsonl", [{"until": None}, {"row": 1, "id": "a\u2028b"}, {"row": 2}]
    server.fail_for(OUTAGE_S)
    assert not has_lines(key)
    server.fail_for(OUTAGE_S)
    write_lines(key, lines)
    server.fail_for(OUTAGE_S)
    write_lines(key, [{"row": "of another attempt"}])
    server.fail_for(OUTAGE_S)
    with local_lines(key) as path:
        server.fail_for(60)
        assert list(read_lines(path)) == lines, "they are read without the store"


def test_the_rows_of_a_batch_are_found_in_spite_of_outages(server, bucket):
    objects, folder = S3Store(bucket, ""), f"s3://{bucket}/in/"
    for name in ("anna.wav", "bert.wav", "face.jpg"):
        objects.put_bytes(f"in/{name}", b"content of " + name.encode())
    places = {"audio": folder, "video": f"{folder}face.jpg"}
    calls = []

    def with_outage(call, /):
        calls.append(call)
        server.fail_for(OUTAGE_S)
        return retry.retry_transient(call)

    rows = [placed.row for placed in rows_from_folders("lip_sync", places, {}, with_outage)]

    assert [row.id for row in rows] == ["anna", "bert"] and not any(row.faults for row in rows)
    assert len(calls) == len(places)

    table = f"id,audio,video\na,{folder}anna.wav,{folder}face.jpg\n"
    objects.put_bytes("in/rows.csv", table.encode())
    job = BatchJob(job_type="lip_sync", manifest=f"{folder}rows.csv")
    assert [row.id for row in batch_rows(job, with_outage)] == ["a"]


def test_the_language_of_a_recording_is_noted_and_found_in_spite_of_outages(
    server, speech_file, tmp_path, monkeypatch
):
    audio = fetch_source(f"file://{speech_file}", kind="audio")
    server.fail_for(OUTAGE_S)
    note_spoken_language(audio, "base", "de", 0.9)
    monkeypatch.setenv("MUSETALK_STORE__CACHE_FOLDER", str(tmp_path / "another-machine"))
    get_settings.cache_clear()
    server.fail_for(OUTAGE_S)

    assert find_spoken_language(audio) == "de"
