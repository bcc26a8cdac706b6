"""Cache entries are created once and atomically, and evicted only when unused."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import pytest
from pydantic import ValidationError

from musetalk_core.errors import DiskFull, InputError
from tasks.cache.artefacts import ArtefactCache, artefact_cache
from tasks.cache.content_keys import content_key
from tasks.errors import ObjectMissing
from tasks.refs import Artefact

FORK = multiprocessing.get_context("fork")
KEY = content_key(n=0)


def key(n: int) -> str:
    return content_key(n=n)


def writing(size: int):
    return lambda folder: (folder / "data.bin").write_bytes(b"x" * size)


@pytest.fixture
def cache(tmp_path) -> ArtefactCache:
    return ArtefactCache(tmp_path / "cache", cache_bytes=10**9)


def left(cache: ArtefactCache, name: str) -> list[str]:
    return [path.name for path in (cache.folder / name).iterdir()]


def wait_until(true, seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


def test_an_artefact_is_get_or_create_and_found_again(cache):
    made = cache.get_or_create("avatar", KEY, writing(7))
    again = cache.get_or_create("avatar", KEY, lambda _: pytest.fail("made twice"))

    assert made == again == Artefact.model_construct(kind="avatar", key=KEY, size=7, files=("data.bin",))
    assert cache.file(made, "data.bin").read_bytes() == b"x" * 7
    assert cache.path(made) == cache.folder / "artefacts" / "avatar" / KEY[:2] / KEY
    assert (left(cache, "tmp"), left(cache, "locks")) == ([], [])


def test_kinds_do_not_share_keys(cache):
    cache.get_or_create("avatar", KEY, writing(1))

    assert not cache.has("clip", KEY)


def test_twenty_askers_in_four_processes_make_it_once(cache, tmp_path):
    marks = tmp_path / "marks"
    marks.mkdir()

    def make(folder: Path) -> None:
        (marks / f"{os.getpid()}-{threading.get_ident()}").touch()
        time.sleep(0.2)
        (folder / "data.bin").write_bytes(b"once")

    def ask(_: int) -> bytes:
        return (cache.path(cache.get_or_create("avatar", KEY, make)) / "data.bin").read_bytes()

    def process() -> None:
        with ThreadPoolExecutor(5) as pool:
            answers = list(pool.map(ask, range(5)))
        os._exit(0 if answers == [b"once"] * 5 else 1)

    workers = [FORK.Process(target=process) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(20)

    assert [worker.exitcode for worker in workers] == [0] * 4
    assert len(list(marks.iterdir())) == 1
    assert (left(cache, "tmp"), left(cache, "locks")) == ([], [])


def test_when_the_maker_is_killed_the_next_goes_on_at_once(cache):
    def die_slowly(folder: Path) -> None:
        (folder / "half.bin").write_bytes(b"half")
        time.sleep(60)

    maker = FORK.Process(target=lambda: cache.get_or_create("avatar", KEY, die_slowly))
    maker.start()
    wait_until(lambda: list((cache.folder / "tmp").glob("*/half.bin")))
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(cache.get_or_create, "avatar", KEY, writing(4))
        time.sleep(0.2)
        assert not waiting.done()
        began = time.monotonic()
        os.kill(maker.pid or 0, signal.SIGKILL)
        made = waiting.result(10)
    maker.join()

    assert time.monotonic() - began < 10, "the one that was killed would have taken a minute"
    assert made.files == ("data.bin",)
    assert left(cache, "tmp") == []


def test_a_failed_make_leaves_nothing_and_the_next_may_try(cache):
    def fail(folder: Path) -> None:
        (folder / "half.bin").write_bytes(b"half")
        raise InputError("no")

    with pytest.raises(InputError):
        cache.get_or_create("avatar", KEY, fail)

    assert not cache.has("avatar", KEY)
    assert (left(cache, "tmp"), left(cache, "locks")) == ([], [])
    assert cache.get_or_create("avatar", KEY, writing(1)).size == 1


def test_a_maker_that_writes_nothing_is_an_error(cache):
    with pytest.raises(ValueError, match="nothing was written"):
        cache.get_or_create("avatar", KEY, lambda folder: None)


def test_a_make_may_need_another_artefact(cache):
    def outer(folder: Path) -> None:
        inner = cache.get_or_create("pcm", KEY, writing(3))
        (folder / "copy.bin").write_bytes((cache.path(inner) / "data.bin").read_bytes())

    assert cache.get_or_create("avatar", KEY, outer).size == 3


def test_refresh_makes_it_anew_once_for_all_who_ask_at_the_same_time(cache):
    made = cache.get_or_create("avatar", KEY, writing(1))
    count = []

    def make(folder: Path) -> None:
        count.append(1)
        time.sleep(0.1)
        writing(2)(folder)

    with ThreadPoolExecutor(4) as pool:
        fresh = list(pool.map(lambda _: cache.get_or_create("avatar", KEY, make, refresh=True), range(4)))

    assert [artefact.size for artefact in fresh] == [2] * 4
    assert len(count) == 1
    assert (cache.path(made) / "data.bin").read_bytes() == b"xx"
    assert left(cache, "tmp") == []


def test_forget_removes_it(cache):
    made = cache.get_or_create("avatar", KEY, writing(1))

    assert cache.delete("avatar", KEY)
    assert not cache.has("avatar", KEY)
    with pytest.raises(ObjectMissing):
        cache.path(made)


@pytest.mark.parametrize(
    ("kind", "name"), [("../x", KEY), ("avatar", "../../etc"), ("avatar", "a" * 63), ("A", KEY)]
)
def test_names_that_would_be_other_paths_are_refused(cache, kind, name):
    with pytest.raises(ValueError, match="is not a cache entry"):
        cache.get_or_create(kind, name, writing(1))


def test_a_full_disk_is_one_clear_error_and_leaves_nothing(tmp_path):
    code = f"""
import resource, signal
from pathlib import Path
from musetalk_core.errors import DiskFull
from tasks.cache.artefacts import ArtefactCache, content_key
cache = ArtefactCache(Path({str(tmp_path / "cache")!r}), 10**9)
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
def make(folder):
    (folder / "small.bin").write_bytes(b"x" * 10_000)
    (folder / "big.bin").write_bytes(b"x" * 200_000)
try:
    cache.get_or_create("avatar", content_key(n=0), make)
except DiskFull as error:
    assert "disk" in str(error)
    raise SystemExit(7)
"""
    done = subprocess.run([sys.executable, "-c", code], check=False)

    assert done.returncode == 7
    files = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert [path for path in files if path.parent.name != "leases" and path.name != "evict.lock"] == []


def test_too_little_free_disk_is_refused_before_work_begins(tmp_path):
    cache = ArtefactCache(tmp_path / "cache", cache_bytes=10**9, min_free_bytes=10**18)

    with pytest.raises(DiskFull, match="less free space than its reserve"):
        cache.get_or_create("avatar", KEY, lambda _: pytest.fail("began"))


# --- eviction


def fill(cache: ArtefactCache, n: int, size: int = 100) -> None:
    """Create and release cache entries 0..n-1 with past times of last use, 0 the oldest."""
    for i in range(n):
        path = cache.path(cache.get_or_create("clip", key(i), writing(size)))
        os.utime(path, (1000 + i, 1000 + i))
    cache.release()


def kept(cache: ArtefactCache, n: int) -> list[int]:
    folders = {path.name for path in cache.folder.glob("artefacts/clip/*/*/")}
    return [i for i in range(n) if key(i) in folders]


def test_the_least_recently_used_goes_first(tmp_path):
    fill(ArtefactCache(tmp_path, cache_bytes=10**6), 5)
    small = ArtefactCache(tmp_path, cache_bytes=350)
    small.get_or_create("clip", key(0), lambda _: pytest.fail("made twice"))  # 0 is used now
    small.release()

    assert small.evict() == 200
    assert kept(small, 5) == [0, 3, 4]


def test_each_make_brings_the_cache_under_its_limit(tmp_path):
    cache = ArtefactCache(tmp_path, cache_bytes=250)
    for i in range(6):
        cache.get_or_create("clip", key(i), writing(100))
        cache.release()

    assert kept(cache, 6) == [4, 5]


def test_what_this_process_uses_stays_even_over_the_limit(tmp_path):
    cache = ArtefactCache(tmp_path, cache_bytes=250)
    for i in range(6):
        cache.get_or_create("clip", key(i), writing(100))

    assert kept(cache, 6) == [0, 1, 2, 3, 4, 5]
    cache.release()
    cache.evict()
    assert len(kept(cache, 6)) == 2


def test_what_another_living_process_uses_stays_until_it_dies(tmp_path):
    fill(ArtefactCache(tmp_path, cache_bytes=10**6), 4)
    code = f"""
import sys
from pathlib import Path
from tasks.cache.artefacts import ArtefactCache
cache = ArtefactCache(Path({str(tmp_path)!r}), 10**6)
cache.has("clip", {key(0)!r})
print("holding", flush=True)
sys.stdin.read()
"""
    other = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout and other.stdin
    assert other.stdout.readline() == "holding\n"
    small = ArtefactCache(tmp_path, cache_bytes=0)

    small.evict()
    assert kept(small, 4) == [0]
    assert not small.delete("clip", key(0))

    other.kill()
    other.communicate()
    small.evict()
    assert kept(small, 4) == []
    assert not [name for name in left(small, "leases") if name.startswith(f"{other.pid}-")]


def test_a_forked_child_does_not_keep_its_parents_leases(tmp_path):
    cache = ArtefactCache(tmp_path, cache_bytes=10**6)
    release = FORK.Event()

    def parent() -> None:
        cache.get_or_create("clip", key(0), writing(1))
        if os.fork() == 0:  # outlives the parent
            release.wait(20)
            os._exit(0)
        os._exit(0)

    worker = FORK.Process(target=parent)
    worker.start()
    worker.join()  # with a time limit it would wait for the grandchild
    small = ArtefactCache(tmp_path, cache_bytes=0)
    try:
        wait_until(lambda: small.evict() or kept(cache, 1) == [])  # the child closes its copies first
    finally:
        release.set()


def test_a_forked_child_has_leases_of_its_own(tmp_path):
    cache = ArtefactCache(tmp_path, cache_bytes=0)
    cache.get_or_create("clip", key(0), writing(1))

    def child() -> None:
        cache.get_or_create("clip", key(1), writing(1))
        cache.release()
        cache.evict()
        os._exit(0)

    worker = FORK.Process(target=child)
    worker.start()
    worker.join(10)

    assert worker.exitcode == 0
    assert kept(cache, 2) == [0]


def test_eviction_and_making_in_many_threads_never_lose_what_is_in_use(tmp_path):
    cache = ArtefactCache(tmp_path, cache_bytes=300)
    lost = []

    def work(n: int) -> None:
        for i in range(20):
            made = cache.get_or_create("clip", key((n * 7 + i) % 10), writing(100))
            if not (cache.path(made) / "data.bin").is_file():
                lost.append(i)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))

    assert lost == []


def test_eviction_sweeps_up_what_killed_makers_left(cache):
    half = cache.folder / "tmp" / f"avatar-{KEY}.999999-0"
    half.mkdir()
    (half / "x").write_bytes(b"x")
    old = cache.folder / "parts" / "old.part"
    old.parent.mkdir()
    old.write_bytes(b"x")
    os.utime(old, (1000, 1000))

    cache.evict()

    assert (left(cache, "tmp"), left(cache, "parts"), left(cache, "locks")) == ([], [], [])


# --- the cache of the settings


def test_a_kind_keeps_its_own_limit_and_evicts_what_no_job_uses_first(configure):
    configure()
    cache = artefact_cache()
    entries = [cache.get_or_create("crops", f"{n}" * 64, writing(10), shared=False) for n in range(3)]
    other = cache.get_or_create("avatar", KEY, writing(100))
    for age, entry in enumerate(entries):
        os.utime(cache.path(entry), (age, age))

    def kept():
        return [cache.exists("crops", entry.key) for entry in entries]

    cache.limit_kind(entries[2], 30)
    assert kept() == [True, True, True]

    cache.limit_kind(entries[2], 20)
    assert kept() == [True, True, False], "entries of the running job stay, the newest goes"

    cache.release()
    entries[2] = cache.get_or_create("crops", "2" * 64, writing(10), shared=False)
    cache.limit_kind(entries[2], 20)
    assert kept() == [False, True, True], "the oldest entry that no job uses goes first"

    cache.limit_kind(entries[2], 0)
    assert kept() == [False, False, False]
    assert cache.exists("avatar", other.key)


def test_a_stored_result_whose_artefact_vanished_cannot_be_read(configure):
    configure()
    made = artefact_cache().get_or_create("avatar", KEY, writing(1))
    text = made.model_dump_json()
    assert Artefact.model_validate_json(text) == made

    artefact_cache().delete("avatar", KEY)

    with pytest.raises(ValidationError, match="no longer in the store"):
        Artefact.model_validate_json(text)


def test_shared_artefacts_are_found_and_fetched_by_another_machine(bucket, configure):
    configure(store__url=f"s3://{bucket.name}/our/store", store__cache_folder=configure().home / "one")
    made = artefact_cache().get_or_create("avatar", KEY, writing(9))
    artefact_cache().get_or_create("crops", KEY, writing(5), shared=False)
    manifest = f"our/store/artefacts/avatar/{KEY}/manifest.json"
    assert len(bucket.listed()) == 2 and manifest in bucket.listed()

    configure(store__cache_folder=configure().home / "two")
    assert not artefact_cache().has("crops", KEY)
    found = artefact_cache().get_or_create("avatar", KEY, lambda _: pytest.fail("made twice"))
    assert found == made == Artefact.model_validate_json(made.model_dump_json())
    assert not (artefact_cache().folder / "artefacts" / "avatar").exists()

    bucket.watch()
    with ThreadPoolExecutor(4) as pool:
        paths = set(pool.map(lambda _: artefact_cache().path(found), range(4)))
    assert (paths.pop() / "data.bin").read_bytes() == b"x" * 9
    assert bucket.methods() == ["GET", "GET"]  # manifest and file, once
    artefact_cache().get_or_create("avatar", KEY, lambda _: pytest.fail("made twice"))
    assert len(bucket.sent) == 2


def test_sizes_of_entries_with_a_prefix_are_known_here_and_in_the_store(bucket, configure):
    configure(store__url=f"s3://{bucket.name}/our/store", store__cache_folder=configure().home / "one")
    keys = ["ab" * 16 + digit * 32 for digit in "123"]
    for size, name in enumerate(keys, 5):
        artefact_cache().get_or_create("avatar-part", name, writing(size))
    artefact_cache().get_or_create("avatar-part", "ac" * 32, writing(1))
    artefact_cache().get_or_create("avatar", keys[0], writing(1))
    assert artefact_cache().sizes("avatar-part", "ab" * 16) == dict(zip(keys, (5, 6, 7), strict=True))
    bucket.client.delete_object(
        Bucket=bucket.name, Key=f"our/store/artefacts/avatar-part/{keys[1]}/manifest.json"
    )

    configure(store__cache_folder=configure().home / "two")
    artefact_cache().get_or_create("avatar-part", "ab" * 16 + "4" * 32, writing(9), shared=False)
    sizes = artefact_cache().sizes("avatar-part", "ab" * 16)
    assert sizes == {keys[0]: 5, keys[2]: 7, "ab" * 16 + "4" * 32: 9}, "an unfinished upload is no entry"


def test_half_an_upload_is_never_seen(bucket, configure):
    configure(store__url=f"s3://{bucket.name}")
    made = artefact_cache().get_or_create("avatar", KEY, writing(9))
    bucket.client.delete_object(Bucket=bucket.name, Key=f"artefacts/avatar/{KEY}/manifest.json")

    configure(store__cache_folder=configure().home / "two")

    assert not artefact_cache().has("avatar", KEY)
    with pytest.raises(ObjectMissing):
        artefact_cache().path(made)


def test_a_failed_upload_is_made_good_by_the_next_call(bucket, configure):
    from tasks.errors import StorageError

    configure(store__url=f"s3://{bucket.name}-missing")
    with pytest.raises(StorageError):
        artefact_cache().get_or_create("avatar", KEY, writing(9))

    configure(store__url=f"s3://{bucket.name}")
    artefact_cache().get_or_create(
        "avatar", KEY, lambda _: pytest.fail("it lies here, only the upload failed")
    )
    assert len(bucket.listed()) == 2


def test_forget_removes_the_shared_copy_too(bucket, configure):
    configure(store__url=f"s3://{bucket.name}")
    artefact_cache().get_or_create("avatar", KEY, writing(9))

    assert artefact_cache().delete("avatar", KEY)
    assert bucket.listed() == []


# --- keys


def test_a_key_depends_on_every_part_and_not_on_their_order():
    assert content_key(a=1, b="x") == content_key(b="x", a=1)
    keys = {content_key(a=value) for value in (1, 1.0, "1", True, None, [1], {"x": 1}, Fraction(1), "1/1")}
    assert len(keys) == 9


def test_a_key_is_the_same_everywhere():
    key = content_key(fps=Fraction(48000, 2002), sha="ab", shift=-3, x=(1, 0.5))

    # sha256 of {"fps":{"fraction":"24000/1001"},"sha":"ab","shift":-3,"x":[1,0.5]}
    assert key == "18ff6ac705cfe91d6c45a68fffee63560071bc1efeebd7b3ce77017cda9a4488"


@pytest.mark.parametrize("part", [Path("/x"), {1, 2}, b"x", object(), {1: 2}])
def test_what_says_nothing_stable_cannot_be_part_of_a_key(part):
    with pytest.raises(TypeError):
        content_key(a=part)


def test_a_key_has_no_infinite_or_missing_parts():
    for value in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="cannot be part"):
            content_key(a=value)
    with pytest.raises(ValueError, match="at least one"):
        content_key()
