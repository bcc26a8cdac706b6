"""Remote mirror of the cache: copies of shared entries in the object store, for other workers."""

import json
from functools import partial
from pathlib import Path
from uuid import uuid4

from tasks.errors import ObjectMissing, StorageError
from tasks.refs import Artefact, is_file_name
from tasks.run.retry import Retry, call_once
from tasks.storage.object_store import ObjectStore, read_small

_PREFIX = "artefacts/"
_MANIFEST = "manifest.json"


class Mirror:
    """
    Shared cache entries below `artefacts/` of a store.

    Each upload has a folder of its own, and `manifest.json` refers to it once it is complete. So an
    incomplete upload is never visible, and two workers that upload the same entry at once cannot mix their
    files.
    """

    def __init__(self, objects: ObjectStore, retry: Retry = call_once) -> None:
        """
        Open the mirror in a store.

        Args:
            objects: the store.
            retry:   retries of each request; a damaged entry is an error at once.
        """
        self._objects = objects
        self._retry = retry

    def without_retries(self) -> "Mirror":
        """Return the same mirror without retries, for callers that should learn of an outage at once."""
        return Mirror(self._objects)

    def find(self, kind: str, key: str) -> Artefact | None:
        """Return the entry if it was uploaded completely, else None."""
        manifest = self._read_manifest(kind, key)
        return None if manifest is None else _to_artefact(kind, key, manifest[1])

    def upload(self, artefact: Artefact, folder: Path) -> None:
        """Upload the files of `folder`, then the manifest; do nothing if the entry is in the mirror."""
        if self.find(artefact.kind, artefact.key) is not None:
            return
        base, upload = _entry_prefix(artefact.kind, artefact.key), uuid4().hex
        sizes: dict[str, int] = {}
        for name in artefact.files:
            path, target = folder / name, f"{base}/{upload}/{name}"
            sizes[name] = self._retry(partial(self._objects.upload, path, target)).size
        manifest = json.dumps({"folder": upload, "files": sizes}).encode()
        put = partial(self._objects.put_bytes, f"{base}/{_MANIFEST}", manifest, "application/json")
        self._retry(put)

    def fetch(self, kind: str, key: str, into: Path) -> Artefact:
        """
        Download all files of an entry into an empty folder.

        Raises:
            ObjectMissing: the mirror has no such entry.
            StorageError:  a file does not have the size in its manifest, or the store failed.
        """
        manifest = self._read_manifest(kind, key)
        if manifest is None:
            raise ObjectMissing(f"the {kind} cache entry {key[:12]}… is no longer in the store", key=key)
        upload, sizes = manifest
        for name, size in sizes.items():
            source = f"{_entry_prefix(kind, key)}/{upload}/{name}"
            info = self._retry(partial(self._objects.download, source, None, into / name))
            if info.size != size:
                raise StorageError(f"the {kind} cache entry {key[:12]}… in the store is damaged", key=key)
        return _to_artefact(kind, key, sizes)

    def sizes(self, kind: str, prefix: str) -> dict[str, int]:
        """Return the sizes in bytes of the complete entries whose keys begin with `prefix`."""
        sizes: dict[str, int] = {}
        complete: set[str] = set()
        for info in self._retry(lambda: list(self._objects.list(_entry_prefix(kind, prefix)))):
            key, _, name = info.key.removeprefix(f"{_PREFIX}{kind}/").partition("/")
            if name == _MANIFEST:
                complete.add(key)
            else:
                sizes[key] = sizes.get(key, 0) + info.size
        return {key: sizes.get(key, 0) for key in complete}

    def remove(self, kind: str, key: str) -> None:
        """Delete an entry: the manifest first, then the files."""
        base = _entry_prefix(kind, key)
        self._retry(partial(self._objects.delete, f"{base}/{_MANIFEST}"))
        for info in self._retry(lambda: list(self._objects.list(f"{base}/"))):
            self._retry(partial(self._objects.delete, info.key))

    def _read_manifest(self, kind: str, key: str) -> tuple[str, dict[str, int]] | None:
        read = partial(read_small, self._objects, f"{_entry_prefix(kind, key)}/{_MANIFEST}")
        try:
            data = json.loads(self._retry(read))
            upload, sizes = (
                str(data["folder"]),
                {str(name): int(size) for name, size in data["files"].items()},
            )
        except ObjectMissing:
            return None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StorageError(f"the manifest of the {kind} cache entry {key[:12]}… is damaged") from error
        if not upload.isalnum() or not all(is_file_name(name) for name in sizes):
            raise StorageError(f"the manifest of the {kind} cache entry {key[:12]}… has unsafe names")
        return upload, sizes


def list_complete_keys(objects: ObjectStore, kind: str) -> set[str]:
    """
    Return the keys of the entries of a kind that were uploaded completely.

    Args:
        objects: the store.
        kind:    type of entry.
    """
    split_keys = (info.key.split("/") for info in objects.list(f"{_PREFIX}{kind}/"))
    return {parts[2] for parts in split_keys if parts[3:] == [_MANIFEST]}


def _entry_prefix(kind: str, key: str) -> str:
    return f"{_PREFIX}{kind}/{key}"


def _to_artefact(kind: str, key: str, sizes: dict[str, int]) -> Artefact:
    # not validated: validation would ask the store once more whether the entry exists
    return Artefact.model_construct(kind=kind, key=key, size=sum(sizes.values()), files=tuple(sorted(sizes)))
