"""Cleanup of the store, a folder or a bucket: only expired results and abandoned uploads are deleted."""

import io
import os
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from avatar_examples import avatar_note
from moto_s3 import KEYS
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.states import Completed, Scheduled

from flows.janitor import janitor
from flows.maintenance.assets import NEVER_UPLOADED, OLD_ASSET, delete_assets
from flows.maintenance.avatar_notes import STALE_NOTE, delete_stale_notes
from flows.maintenance.context import SweepContext
from flows.maintenance.log_files import OLD_LOG, delete_old_logs
from flows.maintenance.results import OLD_RESULT, delete_expired_results
from flows.maintenance.resumable_uploads import EXPIRED_UPLOAD, delete_expired_uploads
from flows.maintenance.unfinished_uploads import INTERRUPTED_UPLOAD, abort_abandoned_uploads
from flows.schemas.base import Output
from flows.schemas.maintenance import JanitorJob
from tasks.cache.artefacts import artefact_cache
from tasks.catalog.assets import asset_name, create_direct_upload, save_asset
from tasks.catalog.avatar_notes import list_notes, save_note
from tasks.catalog.outputs import upload
from tasks.catalog.resumable_uploads import delete_upload, finish_upload, start_upload
from tasks.catalog.stored_results import find_pinned
from tasks.errors import BucketNotAllowed, ObjectMissing
from tasks.settings import get_settings
from tasks.settings.retention import RetentionSettings
from tasks.storage import s3_clients
from tasks.storage.home_store import _open_store, home_store

FOR_EVER = RetentionSettings(jobs_days=0, chores_days=0, results_days=0, assets_days=0, logs_days=0)


@flow(name="speech")
def job_of_ours(job: dict | None = None):
    return None


@pytest.fixture
def client(home):
    with get_client(sync_client=True) as client:
        yield client


def in_bucket(name, s3_endpoint, monkeypatch):
    for key, value in KEYS.items():
        monkeypatch.setenv(key, value)
    monkeypatch.setenv("MUSETALK_S3__ENDPOINT_URL", s3_endpoint)
    monkeypatch.setenv("MUSETALK_S3__FORCE_PATH_STYLE", "true")
    monkeypatch.setenv("MUSETALK_STORE__URL", f"s3://{name}/ours")
    get_settings.cache_clear()


@pytest.fixture
def s3(client, s3_endpoint, monkeypatch):
    """Our store in a bucket that others use too; gives a client of S3 and the bucket's name."""
    import boto3

    s3 = boto3.client(
        "s3",
        endpoint_url=s3_endpoint,
        aws_access_key_id="test",
        aws_secret_access_key="test",
        region_name="us-east-1",
    )
    name = f"janitor-{uuid4().hex[:12]}"
    s3.create_bucket(Bucket=name)
    in_bucket(name, s3_endpoint, monkeypatch)
    yield s3, name
    _open_store.cache_clear()


@pytest.fixture(params=["folder", "bucket"])
def store(request, client):
    if request.param == "bucket":
        request.getfixturevalue("s3")
    return home_store()


def look_in(client, *, dry_run=False, retention=None, **later):
    now = datetime.now(UTC) + timedelta(**later)
    return SweepContext(client, now, retention or RetentionSettings(), dry_run)


def keys(store):
    return {info.key for info in store.list()}


def put(store, tmp_path, *names):
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    for name in names:
        store.upload(path, name)


def test_results_past_their_retention_go(client, store, tmp_path):
    result = f"outputs/{'a' * 32}/anna.mp4"
    others = {"outputs/clients/anna.mp4", f"artefacts/join/{'b' * 64}/manifest.json", "other.mp4"}
    put(store, tmp_path, result, *others)

    assert list(delete_expired_results(look_in(client, days=30, hours=23))) == []
    assert list(delete_expired_results(look_in(client, days=400, retention=FOR_EVER))) == []
    (would,) = delete_expired_results(look_in(client, days=32, dry_run=True))
    assert (would.kind, would.item, would.freed_bytes) == (OLD_RESULT, result, 5)
    assert keys(store) == {result, *others}
    assert list(delete_expired_results(look_in(client, days=32))) == [would]
    assert keys(store) == others


def test_the_end_of_one_result_takes_nothing_from_an_equal_one(client, store):
    made = artefact_cache().get_or_create(
        "join", "d" * 64, lambda folder: (folder / "x.mp4").write_bytes(b"1")
    )
    first, second = (upload.fn(made, "x.mp4", "你好.mp4", Output()) for _ in range(2))
    artefact_cache().release()

    assert first.name == second.name == "你好.mp4"
    store.delete(find_pinned(first.ref).key)
    with pytest.raises(ObjectMissing):
        find_pinned(first.ref)
    assert find_pinned(second.ref).info.size == 1
    assert len(list(delete_expired_results(look_in(client, days=32)))) == 1


def test_assets_go_after_a_week_unless_a_job_waits_for_them(client, store):
    old, needed, done = (save_asset([b"123"], f"{name}.wav") for name in ("old", "needed", "done"))
    run = client.create_flow_run(
        job_of_ours, parameters={"job": {"audio": f"asset://{needed}"}}, state=Scheduled()
    ).id
    client.create_flow_run(job_of_ours, parameters={"job": {"audio": f"asset://{done}"}}, state=Completed())

    assert list(delete_assets(look_in(client, days=6))) == []
    assert list(delete_assets(look_in(client, days=600, retention=FOR_EVER))) == []
    told = {
        (deed.kind, deed.item, deed.freed_bytes)
        for deed in delete_assets(look_in(client, days=8, dry_run=True))
    }
    assert told == {(OLD_ASSET, old, 3), (OLD_ASSET, done, 3)}
    assert {asset_name(asset) for asset in (old, needed, done)} == {"old.wav", "needed.wav", "done.wav"}

    assert {deed.item for deed in delete_assets(look_in(client, days=8))} == {old, done}
    assert keys(store) == {f"assets/{needed}/data", f"assets/{needed}/asset.json"}
    client.delete_flow_run(run)


def test_what_was_announced_and_never_sent_goes_after_a_day(client, s3):
    sent, never = (create_direct_upload(f"{name}.wav", 3, "audio/wav").asset for name in ("sent", "never"))
    s3[0].put_object(Bucket=s3[1], Key=f"ours/assets/{sent}/data", Body=b"123")

    assert list(delete_assets(look_in(client, hours=23))) == []
    deeds = list(delete_assets(look_in(client, hours=25)))
    assert [(deed.kind, deed.item) for deed in deeds] == [(NEVER_UPLOADED, never)]
    assert keys(home_store()) == {f"assets/{sent}/data", f"assets/{sent}/asset.json"}


def test_notes_of_avatars_that_are_gone_go(client, store):
    kept, gone = "a" * 64, "b" * 64
    artefact_cache().get_or_create("avatar", kept, lambda folder: (folder / "x").write_text("1"))
    for key in (kept, gone):
        save_note(avatar_note(key), "acme")

    assert list(delete_stale_notes(look_in(client, days=29))) == []
    assert [deed.kind for deed in delete_stale_notes(look_in(client, days=31, dry_run=True))] == [STALE_NOTE]
    assert [deed.item for deed in delete_stale_notes(look_in(client, days=31))] == [
        f"avatars/acme/{gone}.json"
    ]
    assert [found.avatar for found in list_notes(None, None, 9)[0]] == [kept]
    artefact_cache().release()


def test_an_avatar_that_lies_in_the_bucket_alone_keeps_its_note(client, s3):
    key = "c" * 64
    artefact_cache().get_or_create("avatar", key, lambda folder: (folder / "x").write_text("1"))
    artefact_cache().release()
    save_note(avatar_note(key), None)
    for folder in (get_settings().cache_folder / "artefacts" / "avatar" / "cc").iterdir():
        if folder.is_dir():
            (folder / "x").unlink()
            folder.rmdir()
    assert list(delete_stale_notes(look_in(client, days=31))) == []


def test_uploads_in_parts_that_broke_off_are_given_up_in_our_part_of_the_bucket(client, s3):
    server, name = s3

    def begin(key):
        upload = server.create_multipart_upload(Bucket=name, Key=key)["UploadId"]
        server.upload_part(Bucket=name, Key=key, UploadId=upload, PartNumber=1, Body=b"1234567")

    begin("ours/outputs/x.mp4")
    begin("theirs/y.mp4")

    def open_now():
        return {entry["Key"] for entry in server.list_multipart_uploads(Bucket=name).get("Uploads", [])}

    # this server says of every upload that it was begun in 2010
    (would,) = abort_abandoned_uploads(look_in(client, dry_run=True))
    assert (would.kind, would.item, would.freed_bytes) == (INTERRUPTED_UPLOAD, "outputs/x.mp4", 7)
    assert open_now() == {"ours/outputs/x.mp4", "theirs/y.mp4"}
    assert list(abort_abandoned_uploads(look_in(client))) == [would]
    assert open_now() == {"theirs/y.mp4"}


@pytest.mark.parametrize(
    ("status", "code", "harmless"), [(501, "NotImplemented", True), (403, "AccessDenied", False)]
)
def test_a_store_that_cannot_say_what_is_unfinished_has_nothing(client, s3, status, code, harmless):
    from botocore.awsrequest import AWSResponse

    class Answer(io.BytesIO):
        def stream(self, **_):
            yield self.read()

    def answer(request, **_):
        body = f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode()
        return AWSResponse(request.url, status, {}, Answer(body))

    events = s3_clients.client(get_settings().s3, False, os.getpid()).meta.events
    events.register("before-send.s3.ListMultipartUploads", answer)
    try:
        if harmless:
            assert list(abort_abandoned_uploads(look_in(client))) == []
        else:
            with pytest.raises(BucketNotAllowed):
                list(abort_abandoned_uploads(look_in(client)))
    finally:
        events.unregister("before-send.s3.ListMultipartUploads", answer)


def test_files_that_were_never_named_go_from_a_folder(client, home):
    left = home_store().root / ".incoming" / "half"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"123")
    assert list(abort_abandoned_uploads(look_in(client, hours=23))) == []
    assert [deed.freed_bytes for deed in abort_abandoned_uploads(look_in(client, hours=25))] == [3]
    assert not left.exists()


def test_logs_of_ended_processes_go(client, home):
    logs = get_settings().logs
    logs.mkdir(parents=True)
    for name in ("api.log", "api.log.1"):
        (logs / name).write_text("word")
    assert list(delete_old_logs(look_in(client, days=29))) == []
    assert [(deed.kind, deed.freed_bytes) for deed in delete_old_logs(look_in(client, days=31))] == [
        (OLD_LOG, 4)
    ]
    assert [path.name for path in logs.iterdir()] == ["api.log"]


def test_a_store_that_does_not_answer_keeps_nothing_else_from_going(client, s3, monkeypatch):
    monkeypatch.setenv("MUSETALK_S3__ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("MUSETALK_S3__MAX_ATTEMPTS", "1")
    monkeypatch.setenv("MUSETALK_RETENTION__LOGS_DAYS", "1")
    get_settings.cache_clear()
    log = get_settings().logs / "api.log.1"
    log.parent.mkdir(parents=True)
    log.write_text("word")
    os.utime(log, (0, 0))

    state = janitor(JanitorJob(), return_state=True)

    assert state.is_failed() and "does not respond" in state.message
    assert not log.exists()


def send(record, offset, data):
    session = record.target.open(offset)
    session.write(data)
    session.sync()
    session.close()


def test_resumable_uploads_that_expired_go_and_what_became_of_complete_ones_stays(client, store):
    cut, whole, live = (start_upload("a.mp4", 5) for _ in range(3))
    send(cut, 0, b"123")
    send(whole, 0, b"12345")
    send(live, 0, b"1")
    finish_upload(whole)

    assert list(delete_expired_uploads(look_in(client, hours=23))) == []
    (would,) = (
        action
        for action in delete_expired_uploads(look_in(client, hours=25, dry_run=True))
        if action.item == cut.id
    )
    assert (would.kind, would.freed_bytes) == (EXPIRED_UPLOAD, 3)
    delete_upload(live)
    delete_upload(live)  # two janitors at once
    # the sweep of other interrupted uploads leaves resumable ones alone, however old
    assert list(abort_abandoned_uploads(look_in(client, days=9))) == []
    assert list(delete_expired_uploads(look_in(client, hours=25))) == [would]
    assert keys(store) == {f"assets/{whole.id}/data", f"assets/{whole.id}/asset.json"}
    assert list(store.pending_uploads()) == []
