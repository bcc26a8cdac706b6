"""No two writers share a temporary file: threads and processes that write one thing at once all succeed."""

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from at_once import run_at_once
from avatar_examples import avatar_note

from api.auth.key_file import ApiKey, read_keys, write_keys
from musetalk_core.formats.atomic_files import replace_atomically
from musetalk_core.model_registry.hash_cache import HashCache
from tasks.catalog import avatar_notes
from tasks.catalog.avatar_notes import list_notes, save_note
from tasks.inputs import sources
from tasks.refs import SourceFile
from tasks.storage.folder_store import FolderStore

REPOSITORY = Path(__file__).resolve().parents[4]
AVATAR = "a" * 64
A_DAY_AND_MORE = 25 * 3600


class Slow(FolderStore):
    """A folder on a share: each write takes 30 ms before anything is stored."""

    def upload(self, *words, **more):
        time.sleep(0.03)
        return super().upload(*words, **more)

    def put_bytes(self, *words, **more):
        time.sleep(0.03)
        return super().put_bytes(*words, **more)


def test_many_threads_write_the_note_of_one_avatar(configure, tmp_path, monkeypatch):
    store = Slow(tmp_path / "store")
    monkeypatch.setattr(avatar_notes, "home_store", lambda: store)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: save_note(avatar_note(AVATAR), f"tenant{number % 40}"), range(400)))

    assert len(list_notes(None, None, 1000)[0]) == 40
    assert list(store.pending_uploads()) == []


# each process writes for tenants of its own, so that none finds its note there already
WRITER = """
import sys, time
from avatar_examples import avatar_note
from tasks.catalog.avatar_notes import save_note
from tasks.storage.folder_store import FolderStore

for name in ("upload", "put_bytes"):
    if plain := getattr(FolderStore, name, None):
        def slow(*words, plain=plain, **more):
            time.sleep(0.002)
            return plain(*words, **more)
        setattr(FolderStore, name, slow)
print("ready", flush=True)
sys.stdin.readline()
failed = 0
for number in range(60):
    try:
        save_note(avatar_note("a" * 64), f"{sys.argv[1]}-{number}")
    except FileNotFoundError:
        failed += 1
print(failed)
"""


def test_four_processes_write_the_note_of_one_avatar(configure, tmp_path):
    folders = os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "tests" / "support")])
    environment = os.environ | {"PYTHONPATH": folders, "MUSETALK_HOME": str(tmp_path / "home")}

    failed = run_at_once(WRITER, [(f"process{number}",) for number in range(4)], environment, 120)

    assert [int(count) for count in failed] == [0, 0, 0, 0]
    assert len(list_notes(None, None, 1000)[0]) == 240


def test_jobs_that_learn_one_identity_at_once_all_remember_it(configure, tmp_path):
    file, source = tmp_path / "note.json", None
    failed: list[Exception] = []

    def remember_often():
        for _ in range(150):
            try:
                sources._save_identity(file, source)
            except OSError as error:
                failed.append(error)

    source = SourceFile(sha256="c" * 64, size=1, name="a", uri="s3://b/a", version="e:1")
    threads = [threading.Thread(target=remember_often) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failed == []
    assert [path.name for path in tmp_path.glob("*note*")] == ["note.json"]


def test_one_thread_may_write_one_file_twice_at_once(tmp_path):
    with replace_atomically(tmp_path / "a.json") as outer, replace_atomically(tmp_path / "a.json") as inner:
        assert outer != inner
        outer.write_text("1")
        inner.write_text("2")


def test_threads_that_write_the_file_of_keys_leave_a_whole_one(tmp_path):
    path, keys = tmp_path / "keys.json", [ApiKey(name="anna", sha256="d" * 64)]

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: write_keys(path, keys), range(300)))

    assert list(read_keys(path)) == keys
    assert [found.name for found in tmp_path.iterdir()] == ["keys.json"]
    assert path.stat().st_mode & 0o777 == 0o600


def left_behind(path, age_s=A_DAY_AND_MORE):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("half")
    os.utime(path, (time.time() - age_s,) * 2)
    return path


@pytest.mark.parametrize("age_s", [0, A_DAY_AND_MORE])
def test_what_a_killed_process_left_is_removed_after_a_day(configure, tmp_path, age_s):
    from tasks.cache.artefacts import artefact_cache

    weights, keys = tmp_path / "weights", tmp_path / "keys.json"
    left = [
        left_behind(weights / ".weights.json.abcdef", age_s),
        left_behind(tmp_path / ".keys.json.abcdef", age_s),
        left_behind(artefact_cache().folder / "identities" / ".x.0123456789ab.part.json", age_s),
    ]

    (weights / "file.bin").write_bytes(b"1")
    HashCache(weights, tmp_path / "spare.json").sha256(weights / "file.bin")
    write_keys(keys, [])
    artefact_cache().remove_leftovers()

    assert [path.exists() for path in left] == [age_s == 0] * 3
