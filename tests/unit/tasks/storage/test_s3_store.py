"""S3 and folder stores behave alike, resume downloads, and say plainly what went wrong."""

import errno
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from musetalk_core.errors import DiskFull, InputError
from tasks.errors import BucketNotAllowed, ObjectMissing, OutputExists, StorageError, UploadFailed
from tasks.run.tenancy import on_behalf_of
from tasks.settings import get_settings
from tasks.storage import bucket_grants, s3_clients
from tasks.storage.bucket_grants import locate
from tasks.storage.folder_store import FolderStore
from tasks.storage.home_store import home_store, store_is_remote
from tasks.storage.object_store import read_small
from tasks.storage.s3_store import S3Store

BODY = bytes(range(256)) * 12_000  # 3 MB, three blocks


class Interrupted(Exception):
    """The test pulls the plug."""


def after(n_bytes: int):
    """A listener that interrupts a download when so many bytes have come."""
    seen = 0

    def listen(n: int) -> None:
        nonlocal seen
        seen += n
        if seen >= n_bytes:
            raise Interrupted

    return listen


@pytest.fixture(params=["s3", "folder"])
def store(request, tmp_path):
    if request.param == "folder":
        return FolderStore(tmp_path / "store")
    return S3Store(request.getfixturevalue("bucket").name, "some/prefix")


@pytest.fixture
def file(tmp_path) -> Path:
    path = tmp_path / "file.bin"
    path.write_bytes(BODY)
    return path


def test_what_is_uploaded_can_be_looked_at_read_listed_and_deleted(store, file):
    info = store.upload(file, "a/b.bin", "video/mp4", metadata={"job": "7"})

    assert info == store.head("a/b.bin")
    assert (info.key, info.size, dict(info.metadata)) == ("a/b.bin", len(BODY), {"job": "7"})
    assert info.uri == store.uri("a/b.bin")
    assert b"".join(store.read("a/b.bin")) == BODY
    assert b"".join(store.read("a/b.bin", 5, 10)) == BODY[5:15]
    assert b"".join(store.read("a/b.bin", len(BODY) - 3)) == BODY[-3:]
    assert [(found.key, found.size) for found in store.list("a/")] == [("a/b.bin", len(BODY))]
    assert list(store.list("other")) == []
    store.delete("a/b.bin")
    store.delete("a/b.bin")
    assert store.find("a/b.bin") is None


def test_a_new_content_has_a_new_version(store, file):
    before = store.upload(file, "a.bin", metadata={"key": "old"})
    file.write_bytes(BODY[::-1])
    after = store.upload(file, "a.bin")

    assert before.version != after.version
    assert dict(after.metadata) == {}


def test_not_overwriting_keeps_what_is_there(store, file):
    store.upload(file, "a.bin", overwrite=False)
    file.write_bytes(b"other")

    with pytest.raises(OutputExists, match="must not be overwritten") as caught:
        store.upload(file, "a.bin", overwrite=False)

    assert not caught.value.retryable
    assert store.head("a.bin").size == len(BODY)


def test_small_objects_are_stored_from_memory(store):
    info = store.put_bytes("a/note.json", b"{}", "application/json", {"job": "7"})

    assert info == store.head("a/note.json")
    assert (info.key, info.size, dict(info.metadata)) == ("a/note.json", 2, {"job": "7"})
    assert read_small(store, "a/note.json") == b"{}"
    assert dict(store.put_bytes("a/note.json", b"[]").metadata) == {}
    with pytest.raises(OutputExists, match="must not be overwritten"):
        store.put_bytes("a/note.json", b"other", overwrite=False)
    assert read_small(store, "a/note.json") == b"[]"
    assert store.put_bytes("empty", b"").size == 0
    assert list(store.pending_uploads()) == []


@pytest.mark.parametrize("key", ["", "/a", "../a", "a/./b", "a\x00b"])
def test_keys_that_would_escape_are_refused_for_small_objects_too(store, key):
    with pytest.raises(BucketNotAllowed):
        store.put_bytes(key, b"x")


def test_a_full_disk_is_named_for_small_objects_too(tmp_path, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    store = FolderStore(tmp_path / "store")
    store.put_bytes("a", b"1")
    monkeypatch.setattr(Path, "write_bytes", full)

    with pytest.raises(DiskFull):
        store.put_bytes("a", b"2")
    assert read_small(store, "a") == b"1"


def test_a_missing_object_is_named(store, tmp_path):
    for ask in (
        lambda: store.head("no.bin"),
        lambda: list(store.read("no.bin")),
        lambda: store.download("no.bin", None, tmp_path / "x"),
    ):
        with pytest.raises(ObjectMissing, match=r"no\.bin"):
            ask()
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("key", ["", "/a", "a//b", "../a", "a/../../b", "a/./b", "a\x00b", "x" * 1025])
def test_keys_that_would_escape_are_refused(store, file, key):
    with pytest.raises(BucketNotAllowed):
        store.upload(file, key)


def test_a_link_out_of_the_folder_is_not_followed(tmp_path):
    outside = tmp_path / "secret"
    outside.mkdir()
    (outside / "x").write_text("secret")
    store = FolderStore(tmp_path / "store")
    store.root.mkdir()
    (store.root / "link").symlink_to(outside)

    with pytest.raises(BucketNotAllowed, match="leads out"):
        list(store.read("link/x"))


def test_an_interrupted_download_goes_on_where_it_stopped(store, file, tmp_path):
    info, target, counted = store.upload(file, "a.bin"), tmp_path / "in" / "x", []
    with pytest.raises(Interrupted):
        store.download("a.bin", info.version, target, after(1))
    assert not target.exists()

    store.download("a.bin", info.version, target, counted.append)

    assert target.read_bytes() == BODY
    assert sum(counted) == len(BODY) - (1 << 20)
    assert [path.name for path in target.parent.iterdir()] == ["x"]


def test_an_object_that_changed_meanwhile_is_fetched_from_its_beginning(store, file, tmp_path):
    info, target, other = store.upload(file, "a.bin"), tmp_path / "in" / "x", BODY[::-1]
    with pytest.raises(Interrupted):
        store.download("a.bin", info.version, target, after(1))
    file.write_bytes(other)
    now = store.upload(file, "a.bin")

    got = store.download("a.bin", info.version, target)

    assert target.read_bytes() == other
    assert got.version == now.version


def test_a_download_that_lacked_only_its_name_is_finished(store, file, tmp_path):
    info, target = store.upload(file, "a.bin"), tmp_path / "in" / "x"
    with pytest.raises(Interrupted):
        store.download("a.bin", info.version, target, after(len(BODY)))

    store.download("a.bin", info.version, target)

    assert target.read_bytes() == BODY


def test_s3_is_asked_for_the_missing_bytes_only(bucket, tmp_path):
    bucket.put("a.bin", BODY)
    objects, target = S3Store(bucket.name), tmp_path / "x"
    bucket.watch()
    info = objects.head("a.bin")
    with pytest.raises(Interrupted):
        objects.download("a.bin", info.version, target, after(1))

    objects.download("a.bin", info.version, target)

    assert bucket.ranges() == ["", f"bytes={1 << 20}-"]


def test_a_versioned_object_is_fetched_as_it_was(bucket, tmp_path):
    bucket.client.put_bucket_versioning(Bucket=bucket.name, VersioningConfiguration={"Status": "Enabled"})
    bucket.put("a.bin", b"old")
    objects = S3Store(bucket.name)
    info = objects.head("a.bin")
    bucket.put("a.bin", b"new")

    assert info.version.startswith("v:")
    assert objects.download("a.bin", info.version, tmp_path / "x").version == info.version
    assert (tmp_path / "x").read_bytes() == b"old"


def test_a_big_file_goes_up_in_parts_and_may_refuse_to_overwrite(bucket, tmp_path):
    big = tmp_path / "big.bin"
    big.write_bytes(b"x" * (17 << 20))
    objects = S3Store(bucket.name)
    bucket.watch()

    assert objects.upload(big, "big.bin").size == 17 << 20
    assert bucket.methods().count("PUT") == 2
    with pytest.raises(OutputExists):
        objects.upload(big, "big.bin", overwrite=False)
    assert bucket.client.list_multipart_uploads(Bucket=bucket.name).get("Uploads", []) == []


def test_a_presigned_link_works_without_credentials(bucket, web):
    import httpx

    bucket.put("a.bin", b"hello")
    url = S3Store(bucket.name).presigned_url("a.bin", 60)

    assert url
    assert httpx.get(url, trust_env=False).content == b"hello"
    assert FolderStore(Path("/nowhere")).presigned_url("a.bin", 60) is None


def test_an_upload_to_no_bucket_says_so(bucket, file):
    with pytest.raises(BucketNotAllowed, match="There is no bucket"):
        S3Store("no-such-bucket").upload(file, "a.bin")


def test_a_storage_that_does_not_answer_is_worth_another_try(configure, bucket):
    configure(s3__endpoint_url="http://127.0.0.1:1", s3__max_attempts=1)

    with pytest.raises(StorageError, match="does not respond") as caught:
        S3Store("media").head("a.bin")
    assert caught.value.retryable


class _Refusing(BaseHTTPRequestHandler):
    status = 403

    def do_GET(self) -> None:
        code = "AccessDenied" if self.status == 403 else "InternalError"
        body = f"<Error><Code>{code}</Code></Error>".encode()
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(b"" if self.command == "HEAD" else body)

    do_HEAD = do_GET

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.do_GET()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(params=[403, 500])
def refusing(request, bucket, configure, monkeypatch):
    monkeypatch.setattr(_Refusing, "status", request.param)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Refusing)
    Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    configure(s3__endpoint_url=f"http://127.0.0.1:{server.server_address[1]}", s3__max_attempts=1)
    yield request.param
    server.shutdown()
    server.server_close()


def test_what_the_storage_refuses_names_bucket_and_cure(refusing, file):
    store, read_error, write_error = S3Store("media"), StorageError, UploadFailed
    if refusing == 403:
        read_error = write_error = BucketNotAllowed
    with pytest.raises(read_error, match="media"):
        store.head("a.bin")
    with pytest.raises(write_error, match="media") as caught:
        store.upload(file, "a.bin")
    assert caught.value.retryable == (refusing == 500)
    assert caught.value.details["bucket"] == "media"


def test_grants_are_held_before_anything_is_sent(bucket, configure):
    configure(s3__read_buckets="media,shared/in,team-*", s3__write_buckets=f"{bucket.name}/out")
    bucket.watch()

    for uri in ("s3://media/x/y", "s3://shared/in/a", "s3://team-7/a"):
        assert locate(uri, "read").objects.uri("k") == uri.rsplit("/", uri.count("/") - 2)[0] + "/k"
    for uri in (
        "s3://other/x",
        "s3://shared/inner/a",
        "s3://shared/x",
        "s3://media2/x",
        "s3://shared/in/../x",
    ):
        with pytest.raises(BucketNotAllowed):
            locate(uri, "read")
    with pytest.raises(BucketNotAllowed, match="MUSETALK_S3__WRITE_BUCKETS"):
        locate("s3://media/x", "write")
    with pytest.raises(BucketNotAllowed):
        bucket_grants.open_bucket(bucket.name, "write").head("in/a.bin")
    assert bucket.sent == []
    assert bucket_grants.open_bucket(bucket.name, "write").find("out/a.bin") is None


def test_a_tenant_has_its_own_part_of_a_bucket(configure):
    configure(s3__read_buckets="media/{tenant},shared", s3__write_buckets="out-{tenant}")
    with on_behalf_of("acme"):
        locate("s3://media/acme/a.mp4", "read")
        locate("s3://shared/a.mp4", "read")
        locate("s3://out-acme/a.mp4", "write")
        for uri, mode in (
            ("s3://media/other/a.mp4", "read"),
            ("s3://media/acme2/a.mp4", "read"),
            ("s3://media/{tenant}/a.mp4", "read"),
            ("s3://out-other/a.mp4", "write"),
            ("s3://media/acme/a.mp4", "write"),
        ):
            with pytest.raises(BucketNotAllowed):
                locate(uri, mode)
    for uri in ("s3://media/acme/a.mp4", "s3://media/None/a.mp4", "s3://media/{tenant}/a.mp4"):
        with pytest.raises(BucketNotAllowed):
            locate(uri, "read")


def test_an_upload_outside_the_grants_is_refused(bucket, configure, file):
    configure(s3__write_buckets=f"{bucket.name}/out")

    with pytest.raises(BucketNotAllowed):
        bucket_grants.open_bucket(bucket.name, "write").upload(file, "in/a.bin")
    assert bucket_grants.open_bucket(bucket.name, "write").upload(file, "out/a.bin").size == len(BODY)
    assert bucket.listed() == ["out/a.bin"]


@pytest.mark.parametrize("grants", [None, "*", "{bucket}", "{bucket}/home/outputs", "s3://{bucket}/home/*"])
@pytest.mark.parametrize("mode", ["read", "write"])
@pytest.mark.parametrize(
    "key",
    [
        "home/artefacts/avatar/x",
        "home/assets/1/data",
        "home/outputs/x.mp4",
        "home/outputs",
        "home/",
        "home",
        "/home/x",
        "home//x",
        "./home/x",
        "a/./../home/x",
        "home%2Fx",
        "home%252Fx",
        "%68ome/x",
        "home\\x",
        "media/%2E%2E/home/x",
    ],
)
def test_our_own_store_is_none_of_the_buckets_that_jobs_name(bucket, configure, mode, key, grants):
    given = grants and grants.format(bucket=bucket.name)
    both = {f"s3__{one}_buckets": given for one in ("read", "write")} if given else {}
    configure(store__url=f"s3://{bucket.name}/home/", **both)
    bucket.watch()

    with pytest.raises(BucketNotAllowed):
        locate(f"s3://{bucket.name}/{key}", mode)
    with pytest.raises(BucketNotAllowed):
        bucket_grants.open_bucket(bucket.name, mode).head(key)
    assert bucket.sent == []


def test_what_lies_beside_our_own_store_is_for_jobs(bucket, configure):
    configure(store__url=f"s3://{bucket.name}/a/home")
    for key in ("homes/x", "home/x", "a/homely", "a/home.mp4", "HOME/x", "a/other/home/x", "b/a/home/x"):
        for mode in ("read", "write"):
            assert locate(f"s3://{bucket.name}/{key}", mode).key == key
    with pytest.raises(BucketNotAllowed, match="own store"):
        locate(f"s3://{bucket.name}/a", "write")  # where the store has a folder


def test_a_listing_of_the_folder_above_leaves_our_own_store_out(bucket, configure):
    configure(store__url=f"s3://{bucket.name}/a/home")
    bucket.put("a/home/assets/1/data", b"x")
    bucket.put("a/speech.wav", b"x")
    place = locate(f"s3://{bucket.name}/a/", "read")
    assert [info.key for info in place.objects.list(place.key)] == ["a/speech.wav"]
    with pytest.raises(BucketNotAllowed):
        list(place.objects.list("a/home/"))


def test_a_bucket_that_is_our_own_store_whole_is_closed(bucket, configure):
    configure(store__url=f"s3://{bucket.name}")
    for key in ("x", "outputs/x", "renders/x.mp4"):
        for mode in ("read", "write"):
            with pytest.raises(BucketNotAllowed, match="own store"):
                locate(f"s3://{bucket.name}/{key}", mode)


@pytest.mark.parametrize("name", ["alias-0a1b2c-s3alias", "alias--ol-s3", "mfzwi23gnjvgw.mrap"])
def test_another_name_of_some_bucket_is_taken_only_where_the_operator_lists_it(bucket, configure, name):
    configure(store__url=f"s3://{bucket.name}/home")
    with pytest.raises(BucketNotAllowed, match="access point"):
        locate(f"s3://{name}/home/x", "read")
    configure(s3__read_buckets="*")
    with pytest.raises(BucketNotAllowed, match="access point"):
        locate(f"s3://{name}/home/x", "read")
    configure(s3__read_buckets=f"{name}/media")
    assert locate(f"s3://{name}/media/x", "read").key == "media/x"
    configure(store__url=f"s3://{name}/home")
    with pytest.raises(BucketNotAllowed, match="MUSETALK_STORE__URL"):
        home_store()


@pytest.mark.parametrize("uri", ["s3://bucket", "s3://", "https://x/y", "bucket/key", ""])
def test_only_whole_s3_references_are_located(configure, uri):
    with pytest.raises(InputError):
        locate(uri, "read")


def test_our_store_is_a_folder_unless_said_otherwise(configure, tmp_path):
    assert not store_is_remote()
    assert home_store().uri("a") == f"file://{tmp_path}/home/store/a"
    configure(store__url=str(tmp_path / "elsewhere"))
    assert home_store().uri("a") == f"file://{tmp_path}/elsewhere/a"
    configure(store__url="s3://media/prefix/")
    assert store_is_remote()
    assert home_store().uri("a") == "s3://media/prefix/a"


class _Block:
    """Minimal prefect-aws block, without Prefect."""

    bucket_name, bucket_folder = "", "folder"

    def __init__(self, endpoint: str) -> None:
        self.credentials = self.aws_client_parameters = self
        self.endpoint = endpoint

    def get_params_override(self) -> dict[str, object]:
        return {"endpoint_url": self.endpoint, "use_ssl": False}

    def get_boto3_session(self):
        import boto3

        return boto3.Session("block-key", "block-secret", region_name="us-east-1")


def test_a_block_brings_its_bucket_endpoint_and_credentials(
    bucket, configure, monkeypatch, s3_endpoint, file
):
    block = _Block(s3_endpoint)
    block.bucket_name = bucket.name
    asked = []
    monkeypatch.setattr(s3_clients, "load_block", lambda reference: asked.append(reference) or block)
    configure(store__url="s3-bucket/media", s3__endpoint_url="http://127.0.0.1:1")

    assert home_store().upload(file, "a.bin").uri == f"s3://{bucket.name}/folder/a.bin"
    assert store_is_remote()
    configure(s3__credentials_block="minio-credentials/lan", s3__endpoint_url="http://127.0.0.1:1")
    assert S3Store(bucket.name).head("folder/a.bin").size == len(BODY)
    assert asked == ["s3-bucket/media", "minio-credentials/lan"]


def test_a_store_behind_a_block_is_closed_to_jobs_too(bucket, configure, monkeypatch, s3_endpoint):
    block = _Block(s3_endpoint)
    block.bucket_name = bucket.name
    monkeypatch.setattr(s3_clients, "load_block", lambda _: block)
    configure(store__url="s3-bucket/media", s3__endpoint_url=s3_endpoint.replace("127.0.0.1", "localhost"))
    for mode in ("read", "write"):
        with pytest.raises(BucketNotAllowed, match="own store"):
            locate(f"s3://{bucket.name}/folder/assets/1/data", mode)
        assert locate(f"s3://{bucket.name}/other/x", mode).key == "other/x"


def test_an_unknown_kind_of_block_is_refused():
    with pytest.raises(StorageError, match="is not a supported block"):
        s3_clients.load_block("gcs-bucket/media")


def test_a_small_object_is_read_whole_or_refused(store, file):
    store.upload(file, "a.bin")

    assert read_small(store, "a.bin", len(BODY)) == BODY
    with pytest.raises(StorageError, match="larger than"):
        read_small(store, "a.bin", 10)


def test_a_failed_copy_into_a_folder_leaves_nothing(tmp_path, file):
    import resource

    store = FolderStore(tmp_path / "store")
    store.upload(file, "a.bin")
    code = os.fork()
    if code == 0:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        try:
            store.upload(file, "a.bin")
        except DiskFull:
            os._exit(7)
        os._exit(1)

    assert os.waitstatus_to_exitcode(os.waitpid(code, 0)[1]) == 7
    assert store.head("a.bin").size == len(BODY)
    assert list((store.root / ".incoming").iterdir()) == []


def test_clients_are_reused(bucket):
    first = S3Store(bucket.name)._client()

    assert S3Store("other")._client() is first
    assert get_settings().s3.force_path_style == "path"
