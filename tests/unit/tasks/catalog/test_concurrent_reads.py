"""Pages of avatars and searches of fingerprints read several objects of the store at once, in order."""

from threading import Barrier
from uuid import UUID

import numpy as np
import pytest

from musetalk_core.fingerprints.matching import Fingerprint
from tasks.catalog import avatar_notes, fingerprint_index
from tasks.catalog.avatar_notes import AvatarNote
from tasks.catalog.output_index import IndexedOutput
from tasks.errors import StorageError
from tasks.storage.folder_store import FolderStore

COUNT = 8


@pytest.fixture
def store(tmp_path, monkeypatch):
    """Return a store in which a read ends only while all the others are in progress."""
    together = Barrier(COUNT, timeout=30)

    class Store(FolderStore):
        is_slow = False

        def read(self, *args, **kwargs):
            if self.is_slow:
                together.wait()
            return super().read(*args, **kwargs)

    store = Store(tmp_path)
    for module in (avatar_notes, fingerprint_index):
        monkeypatch.setattr(module, "home_store", lambda: store)
    return store


def save_notes():
    for number in range(COUNT):
        fields = {"engine": "viseme", "source": "a.mp4", "sha256": "0" * 64, "fps": "25", "is_still": False}
        sizes = {"width": 2, "height": 2, "frames": 1, "with_face": 1}
        avatar_notes.save_note(AvatarNote(avatar=f"{number:064}", **fields, **sizes), None)


def save_fingerprints():
    shown = Fingerprint(np.arange(1, 99, dtype=np.uint64), np.arange(1, 99, dtype=np.uint32))
    for number in range(COUNT):
        fingerprint_index.save_fingerprint(
            IndexedOutput(job=UUID(int=number), name="a.mp4", tenant=None), shown
        )
    return shown


def test_the_notes_of_a_page_are_read_at_once_and_keep_their_order(store):
    save_notes()
    store.is_slow = True

    notes, following = avatar_notes.list_notes(None, None, COUNT)

    assert [int(note.avatar) for note in notes] == list(range(COUNT)) and following is None


def test_fingerprints_are_read_at_once_and_what_is_damaged_is_left_out(store):
    shown = save_fingerprints()
    [damaged, *_] = [info.key for info in store.list(fingerprint_index.FINGERPRINTS_PREFIX)]
    store.put_bytes(damaged, b"{", "application/json")
    store.is_slow = True

    found = fingerprint_index.find_similar(shown)

    assert len({output.job for output, _ in found}) == fingerprint_index._MAX_FOUND


def test_a_store_that_fails_ends_the_search(store, monkeypatch):
    shown = save_fingerprints()

    def fail(*_, **__):
        raise StorageError("the store is away")

    monkeypatch.setattr(store, "read", fail)
    with pytest.raises(StorageError):
        fingerprint_index.find_similar(shown)
