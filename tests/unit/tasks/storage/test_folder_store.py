"""The folder store: what it leaves behind, and what a list costs."""

import threading
from itertools import islice

import pytest

from tasks.catalog import avatar_notes
from tasks.errors import ObjectMissing
from tasks.storage.folder_store import FolderStore
from tasks.storage.home_store import home_store

KEYS = [
    "a.txt",
    "a/b",
    "a/b.txt",
    "a/b/c",
    "a0",
    "b/a/x",
    "b/b",
    "ä/ö",
    "outputs/1/v.mp4",
    "outputs/10/v.mp4",
]


@pytest.fixture
def store(tmp_path):
    return FolderStore(tmp_path / "store")


def filled(store, keys):
    for key in keys:
        store.put_bytes(key, key.encode(), metadata={"n": key})
    return store


def test_a_deleted_object_leaves_no_folder(store):
    filled(store, ["a/b/c/one", "a/b/c/two", "a/d"])

    store.delete("a/b/c/one")
    assert [info.key for info in store.list()] == ["a/b/c/two", "a/d"]
    store.delete("a/b/c/two")
    assert not (store.root / "a" / "b").exists() and (store.root / "a").is_dir()
    store.delete("a/d")
    store.delete("a/d")

    assert [
        path for path in store.root.rglob("*") if not path.relative_to(store.root).parts[0].startswith(".")
    ] == []
    assert list((store.root / ".metadata").iterdir()) == []
    assert store.root.is_dir()


def test_objects_are_written_while_their_folder_is_removed(store):
    failures = []

    def work(name):
        try:
            for _ in range(100):
                store.put_bytes(f"deep/er/{name}", b"x", overwrite=name != "c")
                store.delete(f"deep/er/{name}")
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


@pytest.mark.parametrize("prefix", ["", "a", "a/", "a/b", "b/", "outputs/1", "outputs/1/", "none", "ä/"])
def test_a_list_continues_after_any_key(store, prefix):
    keys = [key for key in KEYS if key != "a/b"]  # a folder cannot have the name of a file
    filled(store, keys)
    expected = sorted(key for key in keys if key.startswith(prefix))

    assert [info.key for info in store.list(prefix)] == expected
    for after in [*keys, "a/", "a/zzz", "", "zzz", "outputs/1"]:
        found = [info.key for info in store.list(prefix, after)]
        assert found == [key for key in expected if key > after], after


def test_an_object_that_is_deleted_meanwhile_is_left_out(store, monkeypatch):
    filled(store, ["x/1", "x/2", "x/3"])
    found = store.list("x/")
    assert next(found).key == "x/1"
    store.delete("x/2")

    assert [info.key for info in found] == ["x/3"]
    with pytest.raises(ObjectMissing):
        store.head("x/2")


def test_pages_look_at_their_own_objects_only(store, monkeypatch):
    filled(store, [f"n/{number:04}" for number in range(400)])
    looked = []
    really = FolderStore.head
    monkeypatch.setattr(
        FolderStore, "head", lambda self, key, *a: looked.append(key) or really(self, key, *a)
    )
    after, seen = None, []
    while page := [info.key for info in islice(store.list("n/", after), 20)]:
        seen += page
        after = page[-1]

    assert len(seen) == len(set(seen)) == 400
    assert len(looked) == 400


def test_a_page_of_avatars_costs_no_more_than_a_page(configure, monkeypatch):
    configure()
    facts = {"width": 8, "height": 8, "fps": "25", "frames": 1, "with_face": 1, "is_still": False}
    note = avatar_notes.AvatarNote(avatar="0" * 64, engine="viseme", source="a.mp4", sha256="1" * 64, **facts)
    for number in range(60):
        avatar_notes.save_note(note.model_copy(update={"avatar": f"{number:064x}"}), "anna")
    looked = []
    really = FolderStore.head
    monkeypatch.setattr(
        FolderStore, "head", lambda self, key, *a: looked.append(key) or really(self, key, *a)
    )

    after, found = None, []
    for _ in range(6):
        page, after = avatar_notes.list_notes("anna", after, 10)
        found += [one.avatar for one in page]

    assert after is None and found == [f"{number:064x}" for number in range(60)]
    assert home_store().find("avatars/anna/none.json") is None
    assert len(looked) <= 2 * 60 + 10, "a look per note for the list, and one to read it"
