"""Inputs are fetched once per content, continued after interruptions, and never decide a path."""

import hashlib
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from musetalk_core.errors import InputError, MediaTooLarge, RenderError
from tasks.cache.artefacts import artefact_cache
from tasks.catalog import assets
from tasks.catalog.assets import delete_asset, save_asset
from tasks.catalog.stored_results import home_store_key
from tasks.errors import InputBlocked, InputUnreachable, LocalPathDisabled, ObjectMissing
from tasks.inputs.internal_files import StoredFile
from tasks.inputs.sources import fetch_source, source_path
from tasks.refs import ObjectRef
from tasks.run.cancellation import Cancelled, request_cancellation, reset_cancellation
from tasks.storage.home_store import home_store

BODY = bytes(range(256)) * 12_000


def sha(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


class Interrupted(Exception):
    """The test pulls the plug."""


def pull_the_plug(_: int) -> None:
    raise Interrupted


def leftovers() -> list[str]:
    folder = artefact_cache().folder
    return [
        path.name
        for name in ("parts", "tmp", "locks")
        if (folder / name).is_dir()
        for path in (folder / name).iterdir()
    ]


def test_an_object_is_fetched_once_and_only_looked_at_afterwards(bucket):
    uri = bucket.put("clips/anna.mp4", BODY)
    bucket.watch()

    source = fetch_source(uri, kind="video")
    assert bucket.methods() == ["HEAD", "GET"]
    again = fetch_source(uri, kind="video")

    assert bucket.methods() == ["HEAD", "GET", "HEAD"]
    assert again == source
    assert (source.sha256, source.size, source.name, source.uri) == (sha(BODY), len(BODY), "anna.mp4", uri)
    assert source_path(source).read_bytes() == BODY
    assert leftovers() == []


def test_a_changed_object_is_a_new_source(bucket):
    uri = bucket.put("anna.mp4", b"one")
    before = fetch_source(uri, kind="video")
    bucket.put("anna.mp4", b"two")

    after = fetch_source(uri, kind="video")

    assert (before.sha256, after.sha256) == (sha(b"one"), sha(b"two"))
    assert source_path(before).read_bytes() == b"one"
    assert source_path(after).read_bytes() == b"two"


def test_one_basename_in_two_folders_makes_two_sources(bucket):
    one = fetch_source(bucket.put("a/voice.wav", b"first"), kind="audio")
    two = fetch_source(bucket.put("b/voice.wav", b"second"), kind="audio")

    assert one.name == two.name == "voice.wav"
    assert source_path(one) != source_path(two)
    assert source_path(one).read_bytes() == b"first"


def test_two_references_to_the_same_bytes_share_one_file(bucket):
    one = fetch_source(bucket.put("a.mp4", BODY), kind="video")
    two = fetch_source(bucket.put("b.mp4", BODY), kind="video")

    assert source_path(one) == source_path(two)
    assert (one.name, two.name) == ("a.mp4", "b.mp4")
    assert leftovers() == []


@pytest.mark.parametrize("key", ["..a/...", "etc/..%2f..%2fpasswd", "a\\..\\b.mp4", "x/ü ☺.mp4", "-f.mp4"])
def test_a_key_never_becomes_a_path(bucket, key):
    source = fetch_source(bucket.put(key, b"x"), kind="video")

    assert (
        source_path(source)
        == artefact_cache().folder / "artefacts/source" / sha(b"x")[:2] / sha(b"x") / "data"
    )
    assert "/" not in source.name and "\\" not in source.name


def test_twenty_jobs_fetch_a_cold_input_once(bucket):
    uri = bucket.put("anna.mp4", BODY)
    bucket.watch()

    with ThreadPoolExecutor(20) as pool:
        sources = set(pool.map(lambda _: fetch_source(uri, kind="video"), range(20)))

    assert len(sources) == 1
    assert bucket.methods().count("GET") == 1
    assert bucket.methods().count("HEAD") == 20


def test_an_interrupted_fetch_goes_on_where_it_stopped(bucket):
    uri = bucket.put("anna.mp4", BODY)
    bucket.watch()
    with pytest.raises(Interrupted):
        fetch_source(uri, kind="video", on_bytes=pull_the_plug)

    source = fetch_source(uri, kind="video")

    assert bucket.ranges() == ["", f"bytes={1 << 20}-"]
    assert source.sha256 == sha(BODY)
    assert leftovers() == []


def test_an_object_replaced_between_two_tries_is_fetched_whole(bucket):
    uri = bucket.put("anna.mp4", BODY)
    with pytest.raises(Interrupted):
        fetch_source(uri, kind="video", on_bytes=pull_the_plug)
    bucket.put("anna.mp4", b"new")

    assert fetch_source(uri, kind="video").sha256 == sha(b"new")


def test_an_object_replaced_after_it_was_looked_at_is_remembered_as_what_it_is(bucket):
    uri = bucket.put("anna.mp4", BODY)
    replaced = threading.Event()

    def replace(_: int) -> None:
        if not replaced.is_set():
            replaced.set()
            bucket.put("anna.mp4", b"new")
            raise Interrupted

    with pytest.raises(Interrupted):
        fetch_source(uri, kind="video", on_bytes=replace)
    source = fetch_source(uri, kind="video")
    bucket.watch()

    assert fetch_source(uri, kind="video") == source
    assert bucket.methods() == ["HEAD"]


def test_an_evicted_source_is_fetched_again_when_its_path_is_asked_for(bucket):
    source = fetch_source(bucket.put("anna.mp4", b"one"), kind="video")
    artefact_cache().delete("source", source.sha256)

    assert source_path(source).read_bytes() == b"one"

    artefact_cache().delete("source", source.sha256)
    bucket.put("anna.mp4", b"two")
    with pytest.raises(ObjectMissing, match=r"anna\.mp4 was replaced"):
        source_path(source)


def test_a_file_over_its_limit_is_refused_before_it_is_fetched(bucket, configure):
    uri = bucket.put("anna.mp4", b"x" * 1001)
    configure(media__video_bytes=1000, media__audio_bytes=2000)
    bucket.watch()

    with pytest.raises(MediaTooLarge):
        fetch_source(uri, kind="video")
    assert bucket.methods() == ["HEAD"]
    assert leftovers() == []
    fetch_source(uri, kind="audio")
    with pytest.raises(MediaTooLarge):
        fetch_source(uri, kind="video")


def test_missing_and_empty_inputs_are_named(bucket):
    with pytest.raises(ObjectMissing, match=r"anna\.mp4"):
        fetch_source(f"s3://{bucket.name}/anna.mp4", kind="video")
    with pytest.raises(InputError, match=r"empty\.mp4 is empty"):
        fetch_source(bucket.put("empty.mp4", b""), kind="video")
    assert leftovers() == []


@pytest.mark.parametrize("uri", ["job://x", "ftp://x/y", "concat:a|b", "/etc/passwd", "data:,x"])
def test_other_references_are_refused(configure, uri):
    with pytest.raises(InputError, match="not a media reference"):
        fetch_source(uri, kind="video")


# --- files of this machine


def test_files_of_this_machine_are_not_read_by_default(configure, tmp_path):
    file = tmp_path / "a.mp4"
    file.write_bytes(b"x")

    with pytest.raises(LocalPathDisabled, match="MUSETALK_STORE__LOCAL_ROOTS"):
        fetch_source(f"file://{file}", kind="video")


def test_files_below_an_opened_folder_are_read(configure, tmp_path):
    root = tmp_path / "media"
    root.mkdir()
    (root / "a b.mp4").write_bytes(b"inside")
    (tmp_path / "secret.mp4").write_bytes(b"outside")
    (root / "link.mp4").symlink_to(tmp_path / "secret.mp4")
    configure(store__local_roots=root)

    source = fetch_source(f"file://{root}/a%20b.mp4", kind="video")
    assert (source.name, source_path(source).read_bytes()) == ("a b.mp4", b"inside")
    for path in (
        root / "link.mp4",
        root / "../secret.mp4",
        "/etc/passwd",
        "relative.mp4",
        root,
        f"{root}/%2e%2e/secret.mp4",
    ):
        with pytest.raises(LocalPathDisabled):
            fetch_source(f"file://{path}", kind="video")
    with pytest.raises(ObjectMissing):
        fetch_source(f"file://{root}/gone.mp4", kind="video")


def test_a_rewritten_file_is_a_new_source(configure, tmp_path):
    file = tmp_path / "a.mp4"
    configure(store__local_roots=tmp_path)
    file.write_bytes(b"one")
    before = fetch_source(f"file://{file}", kind="video")
    file.write_bytes(b"two!")

    assert fetch_source(f"file://{file}", kind="video").sha256 == sha(b"two!")
    assert source_path(before).read_bytes() == b"one"


def test_a_result_in_our_own_store_is_read_by_what_only_steps_can_name(configure, tmp_path):
    made = tmp_path / "made.mp4"
    made.write_bytes(b"video")
    stored = home_store().upload(made, "outputs/1/made.mp4")

    ref = ObjectRef(uri=stored.uri, version=stored.version, size=stored.size)
    source = fetch_source(StoredFile(ref=ref, key=home_store_key(stored.uri)), kind="video")
    assert (source.sha256, source.uri) == (sha(b"video"), "store://outputs/1/made.mp4")
    shutil.rmtree(artefact_cache().folder / "artefacts")
    assert source_path(source).read_bytes() == b"video"
    for text in (stored.uri, source.uri, "artefact://speech/x/speech.wav"):
        with pytest.raises(RenderError):
            fetch_source(text, kind="video")


# --- uploads


@pytest.mark.parametrize("where", ["folder", "s3"])
def test_an_upload_is_an_input(request, configure, where):
    if where == "s3":
        configure(store__url=f"s3://{request.getfixturevalue('bucket').name}")

    asset = save_asset(iter([b"he", b"llo"]), "C:\\clips\\../anna.mp4")
    source = fetch_source(f"asset://{asset}", kind="video")

    assert (source.name, source.sha256) == ("anna.mp4", sha(b"hello"))
    assert source_path(source).read_bytes() == b"hello"
    assert leftovers() == []
    delete_asset(asset)
    with pytest.raises(ObjectMissing, match="no asset"):
        fetch_source(f"asset://{asset}", kind="video")


def test_an_upload_over_the_limit_leaves_nothing(configure):
    sent = []

    def endless():
        while True:
            sent.append(1)
            yield b"x" * 1000

    with pytest.raises(MediaTooLarge):
        save_asset(endless(), "big.mp4", max_bytes=10_500)

    assert len(sent) == 11
    assert leftovers() == []
    assert list(assets.home_store().list()) == []


def test_an_empty_upload_is_refused(configure):
    with pytest.raises(InputError, match="empty"):
        save_asset([], "a.mp4")
    assert list(assets.home_store().list()) == []


@pytest.mark.parametrize("asset", ["", "..", "a/b", "../x", "x" * 65, "ü"])
def test_an_asset_id_never_becomes_another_key(configure, asset):
    with pytest.raises(InputError, match="asset://ID"):
        fetch_source(f"asset://{asset}", kind="video")


# --- web addresses


@pytest.fixture
def allowed(web, configure):
    configure(egress__allow_http="true", egress__allowed_hosts=f"127.0.0.1:{web.port}")
    return web


def counted(server, least):
    """Bytes the server has sent; it counts them just after the client has got them."""
    until = time.monotonic() + 5
    while server.sent_bytes < least and time.monotonic() < until:
        time.sleep(0.01)
    return server.sent_bytes


def test_a_web_file_is_fetched_once_while_its_tag_holds(allowed):
    allowed.put("/clips/anna.mp4?sig=1", BODY, headers={"ETag": '"1"'})
    url = allowed.url("/clips/anna.mp4?sig=1")

    source = fetch_source(url, kind="video")
    sent = counted(allowed, len(BODY))
    assert fetch_source(url, kind="video") == source

    assert (source.name, source.sha256) == ("anna.mp4", sha(BODY))
    assert counted(allowed, sent + 1) == sent + 1
    allowed.put("/clips/anna.mp4?sig=1", b"new", headers={"ETag": '"2"'})
    assert fetch_source(url, kind="video").sha256 == sha(b"new")


def test_a_web_file_without_a_tag_is_fetched_each_time(allowed):
    allowed.put("/a.mp4", b"one")
    url = allowed.url("/a.mp4")

    assert fetch_source(url, kind="video").sha256 == sha(b"one")
    allowed.put("/a.mp4", b"two")
    assert fetch_source(url, kind="video").sha256 == sha(b"two")


def test_a_web_file_over_its_limit_is_cut_off(allowed, configure):
    configure(media__video_bytes=1000)
    allowed.put("/a.mp4", b"x" * 1001, ranges=False)

    with pytest.raises(MediaTooLarge):
        fetch_source(allowed.url("/a.mp4"), kind="video")
    assert leftovers() == []


def test_addresses_nobody_allowed_are_blocked(web, configure):
    configure(egress__allow_http="true")
    web.put("/a.mp4", b"x")

    with pytest.raises(InputBlocked):
        fetch_source(web.url("/a.mp4"), kind="video")
    with pytest.raises(InputUnreachable):
        fetch_source("https://metadata.internal/a", kind="video")
    assert web.asked == []


@pytest.mark.parametrize("size", [0, 2, 3, 5_000_000])
def test_an_evicted_source_that_was_replaced_by_a_file_of_any_size_says_so(bucket, size):
    source = fetch_source(bucket.put("anna.mp4", b"one"), kind="video")
    artefact_cache().delete("source", source.sha256)
    bucket.put("anna.mp4", b"x" * size)

    with pytest.raises(RenderError) as caught:
        source_path(source)
    assert (str(caught.value), caught.value.code) == (
        "anna.mp4 was replaced by another file while the job ran",
        "input_not_found",
    )


def test_a_source_that_another_job_fetches_is_not_awaited_after_a_cancellation(bucket):
    uri = bucket.put("anna.mp4", BODY)
    fetching, go_on = threading.Event(), threading.Event()

    def pause(_: int) -> None:
        fetching.set()
        go_on.wait(20)

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(fetch_source, uri, kind="video", on_bytes=pause)
        assert fetching.wait(20)
        threading.Timer(0.3, request_cancellation).start()
        began = time.monotonic()
        try:
            with pytest.raises(Cancelled):
                fetch_source(uri, kind="video")
            assert time.monotonic() - began < 1.3
        finally:
            reset_cancellation()
            go_on.set()
        assert first.result(20).size == len(BODY)
