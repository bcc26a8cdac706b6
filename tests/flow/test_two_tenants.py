"""Uploads and results of one tenant are closed to jobs of another, and store names to all."""

import os
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import quote
from uuid import uuid4

import pytest
from pydantic import ValidationError

from flows.batches.rows import batch_rows
from flows.prepare_avatar import prepare_avatar
from flows.schemas.batch import BatchJob
from flows.schemas.control import Control
from flows.schemas.speech import SpeechJob
from flows.schemas.video import PrepareAvatarJob
from flows.speech import speech
from musetalk_core.errors import RenderError
from tasks.cache import artefacts
from tasks.catalog.assets import save_asset
from tasks.errors import BucketNotAllowed, ManifestInvalid, ObjectMissing
from tasks.run.tenancy import on_behalf_of
from tasks.settings import get_settings
from tasks.steps.fetch import fetch
from tasks.storage.home_store import _open_store, home_store

GRANTS = [None, "*", "{bucket},{bucket}/main/*,{tenant}/x"]


def forget():
    for remembered in (get_settings, _open_store, artefacts._open_cache):
        remembered.cache_clear()


@pytest.fixture(params=["folder", "s3"])
def store(request, home, monkeypatch):
    """The system's own store, with a bucket beside it that jobs may use; gives what tests need of both."""
    monkeypatch.setenv("MUSETALK_STORE__LINEAGE_FILES", "false")
    if request.param == "folder":
        forget()
        yield SimpleNamespace(kind="folder", bucket=None, client=None)
        forget()
        return
    import boto3

    endpoint = request.getfixturevalue("s3_endpoint")
    bucket = f"two-{uuid4().hex[:12]}"
    for name, value in {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_EC2_METADATA_DISABLED": "true",
        "MUSETALK_S3__ENDPOINT_URL": endpoint,
        "MUSETALK_S3__FORCE_PATH_STYLE": "true",
        "MUSETALK_S3__REGION": "us-east-1",
        "MUSETALK_STORE__URL": f"s3://{bucket}/main",
    }.items():
        monkeypatch.setenv(name, value)
    client = boto3.Session("test", "test", region_name="us-east-1").client("s3", endpoint_url=endpoint)
    client.create_bucket(Bucket=bucket)
    forget()
    yield SimpleNamespace(kind="s3", bucket=bucket, client=client)
    forget()


@pytest.fixture
def acme(store, portrait_file):
    """Files of the tenant acme: an upload and an output of a job."""
    with on_behalf_of("acme"):
        asset = save_asset([portrait_file.read_bytes()], "anna.jpg")
    state = speech(
        SpeechJob(text="Ours.", output={"name": "ours.wav"}), Control(tenant="acme"), return_state=True
    )
    made = state.result()
    prepare_avatar(PrepareAvatarJob(video=f"asset://{asset}", engine="fake"), Control(tenant="acme"))
    return SimpleNamespace(asset=asset, job=state.state_details.flow_run_id, made=made)


def own_names(store, home, acme):
    """Names of objects in the store: the output, the upload, its note, the avatar's note."""
    output = acme.made.audio.uri
    root = output[: output.index("/outputs/")]
    yield output
    yield f"{root}/assets/{acme.asset}/data"
    yield f"{root}/assets/{acme.asset}/asset.json"
    notes = [info.uri for info in home_store().list("avatars/acme/")]
    assert notes
    yield from notes


def spellings(name, home):
    scheme, _, rest = name.partition("://")
    yield name
    yield f"{scheme.upper()}://{rest}"
    if scheme == "s3":
        bucket, _, key = rest.partition("/")
        for odd in (f"/{key}", key.replace("/", "//", 1), f"./{key}", key.replace("/", "/./", 1)):
            yield f"s3://{bucket}/{odd}"
        yield f"s3://{bucket}/{quote(key, safe='')}"
        yield f"s3://{bucket}/x/%2e%2e/{key}"
        return
    path = Path(rest)
    link = home / f"link-{uuid4().hex[:8]}"
    link.symlink_to(path)
    folder = home / f"folder-{uuid4().hex[:8]}"
    folder.symlink_to(path.parent)
    yield f"file://{link}"
    yield f"file://{folder}/{path.name}"
    yield f"file://{str(path).replace('/store/', '//store/./')}"
    yield f"file://{quote(str(path), safe='')}"
    yield f"file://{quote(str(path)).replace('store', '%73tore')}"


def take(job, tenant):
    """Run a job for a tenant."""
    prepare_avatar.with_options(retries=0)(job, Control(tenant=tenant))


def fetch_for(job, tenant):
    """Do what the first task of a job does, without a run on the server."""
    with on_behalf_of(tenant):
        fetch.fn(job.video, "video")


def refused(reference, tenant, take=take):
    """The error of a job that takes it in; None when the job gets at its bytes."""
    try:
        job = PrepareAvatarJob(video=reference, engine="fake")
    except ValidationError as error:
        return error
    try:
        take(job, tenant)
    except RenderError as error:
        return error if error.code in CODES else None
    return None


CODES = {"bucket_not_allowed", "local_path_disabled", "input_not_found"}
"""Anything else, such as unsupported_media, means that somebody has looked at the bytes."""


@pytest.mark.parametrize("grants", GRANTS)
def test_no_name_of_an_object_in_the_store_is_an_input(store, home, acme, monkeypatch, grants):
    if grants:
        monkeypatch.setenv("MUSETALK_S3__READ_BUCKETS", grants.replace("{bucket}", store.bucket or "media"))
    monkeypatch.setenv("MUSETALK_STORE__LOCAL_ROOTS", f"{home},{home}/home/store,{home}/home/store/outputs")
    forget()
    plain = list(own_names(store, home, acme))
    names = [one for name in plain for one in spellings(name, home)]
    tenants = ("other", "acme", None) if grants is None else ("other",)
    got = [(name, tenant) for tenant in tenants for name in names if refused(name, tenant, fetch_for) is None]
    assert got == []
    assert [name for name in plain if refused(name, "other") is None] == []


def test_caches_keys_and_databases_are_no_inputs_either(store, home, acme, monkeypatch):
    inner = get_settings().home
    (inner / "keys.json").write_text("{}")
    (inner / "logs").mkdir(exist_ok=True)
    (inner / "logs" / "api.log").write_text("x")
    cached = [path for path in (inner / "cache").rglob("*") if path.is_file()]
    assert cached
    names = [f"file://{path}" for path in [cached[0], inner / "keys.json", inner / "logs" / "api.log"]]
    assert [name for name in names if refused(name, None) is None] == []
    mine = home / "mine.jpg"
    mine.write_bytes((Path(__file__).parents[1] / "assets" / "astronaut.jpg").read_bytes())
    assert refused(f"file://{mine}", "other") is None
    assert refused(f"file://{mine}", "other", fetch_for) is None


def test_a_folder_of_the_store_under_another_mount_or_case_is_the_same_folder(store, home, acme, monkeypatch):
    if store.kind != "folder":
        pytest.skip("of folders")
    # what a bind mount or a file system without case looks like: another spelling, the same inode
    from tasks.storage.protected_paths import path_is_inside

    root = home_store().root
    assert path_is_inside(Path(os.path.join("/proc/self/root", *root.parts[1:], "outputs")), [root])  # noqa: PTH118
    assert not path_is_inside(root.parent, [root])


def test_jobs_and_assets_of_another_tenant_are_as_if_they_were_not_there(store, home, acme):
    unknown_job, unknown_asset = uuid4(), uuid4().hex
    for given, missing in [
        (f"job://{acme.job}", f"job://{unknown_job}"),
        (f"job://{acme.job}/ours.wav", f"job://{unknown_job}/ours.wav"),
        (f"asset://{acme.asset}", f"asset://{unknown_asset}"),
    ]:
        theirs, nobodys = refused(given, "other"), refused(missing, "other")
        assert theirs is not None and nobodys is not None, given
        assert theirs.code == nobodys.code == "input_not_found"
        plain = str(theirs).replace(str(acme.job), "ID").replace(acme.asset, "ID")
        assert plain == str(nobodys).replace(str(unknown_job), "ID").replace(unknown_asset, "ID")
    for internal in ("store://outputs/x", f"artefact://speech/{'0' * 64}/speech.wav"):
        assert isinstance(refused(internal, "other"), ValidationError)


def test_its_owner_and_the_operator_use_both(store, home, acme):
    for tenant in ("acme", None):
        assert refused(f"asset://{acme.asset}", tenant) is None
        state = prepare_avatar(
            PrepareAvatarJob(video=f"job://{acme.job}", engine="fake"),
            Control(tenant=tenant),
            return_state=True,
        )
        error = state.result(raise_on_failure=False)
        assert error.code == "unsupported_media"  # it was read: a sound is no picture


def test_an_asset_without_an_owner_needs_a_key_without_a_tenant(store, home, portrait_file):
    asset = save_asset([portrait_file.read_bytes()], "anna.jpg")
    assert refused(f"asset://{asset}", None) is None
    assert refused(f"asset://{asset}", "acme").code == "input_not_found"


def test_where_no_tenant_was_set_what_has_an_owner_is_not_there(store, home, acme):
    """A plain thread does not inherit whose work it does."""
    import threading

    from tasks.catalog.assets import asset_name
    from tasks.inputs.job_outputs import resolve_input

    caught = []

    def look():
        for ask in (lambda: resolve_input(f"job://{acme.job}"), lambda: asset_name(acme.asset)):
            try:
                caught.append(ask())
            except ObjectMissing as error:
                caught.append(type(error))

    with on_behalf_of("acme"):
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
        resolve_input(f"job://{acme.job}")
    assert caught == [ObjectMissing, ObjectMissing]


@pytest.mark.parametrize("grants", GRANTS)
def test_output_locations_in_the_store_are_refused(store, home, acme, monkeypatch, grants):
    if store.kind != "s3":
        pytest.skip("a folder has no bucket to name")
    if grants:
        monkeypatch.setenv("MUSETALK_S3__WRITE_BUCKETS", grants.replace("{bucket}", store.bucket))
        forget()
    before = {one.key: one.version for one in home_store().list()}
    key = acme.made.audio.uri.removeprefix(f"s3://{store.bucket}/")
    folder, _, name = key.rpartition("/")
    for prefix in (folder, f"/{folder}", "main", "main/assets/new", "main/outputs", quote(folder, safe="")):
        job = SpeechJob(text="Theirs.", output={"bucket": store.bucket, "prefix": prefix, "name": name})
        with pytest.raises(BucketNotAllowed):
            speech.with_options(retries=0)(job, Control(tenant="other"))
    assert {one.key: one.version for one in home_store().list() if one.key in before} == before
    beside = SpeechJob(text="Theirs.", output={"bucket": store.bucket, "prefix": "renders", "name": "a.wav"})
    if grants is None:
        assert speech(beside, Control(tenant="other")).audio.uri == f"s3://{store.bucket}/renders/a.wav"


def test_listing_the_store_by_its_name_is_refused(store, home, acme):
    if store.kind != "s3":
        pytest.skip("batches list buckets")
    store.client.put_object(Bucket=store.bucket, Key="photos/a.jpg", Body=b"x")
    for folder in ("main/", "main/assets/", "main/avatars/", "main//assets/", f"main/assets/{acme.asset}/"):
        job = BatchJob(job_type="prepare_avatar", places={"video": f"s3://{store.bucket}/{folder}"})
        with on_behalf_of("other"), pytest.raises((BucketNotAllowed, ManifestInvalid)):
            list(batch_rows(job))
    job = BatchJob(job_type="prepare_avatar", places={"video": f"s3://{store.bucket}/photos/"})
    with on_behalf_of("other"):
        assert [row.job.video for row in batch_rows(job)] == [f"s3://{store.bucket}/photos/a.jpg"]


def test_a_row_or_manifest_that_names_the_store_is_refused_like_a_job(store, home, acme):
    rows = [{"id": "a", "video": acme.made.audio.uri}, {"id": "b", "video": "s3://media/b.jpg"}]
    with on_behalf_of("other"):
        first, second = batch_rows(BatchJob(job_type="prepare_avatar", rows=rows))
        assert first.job is None and [fault.pointer for fault in first.faults] == ["#/video"]
        assert second.job is not None
        for name in (acme.made.audio.uri, f"job://{acme.job}", f"asset://{acme.asset}"):
            with pytest.raises(RenderError):
                list(batch_rows(BatchJob(job_type="prepare_avatar", manifest=name)))


def test_preparations_of_other_tenants_are_not_disclosed(store, home, acme, portrait_file, speech_file):
    from flows.lip_sync import lip_sync
    from flows.schemas.video import LipSyncJob
    from tasks.errors import AvatarNotPrepared

    job = {"video": f"file://{portrait_file}", "audio": f"file://{speech_file}", "engine": "fake"}
    with pytest.raises(AvatarNotPrepared):
        lip_sync(LipSyncJob(**job, preparation=False), Control(tenant="other"))
    with on_behalf_of("acme"):
        assert lip_sync(LipSyncJob(**job, preparation=False), Control(tenant="acme")).avatar
