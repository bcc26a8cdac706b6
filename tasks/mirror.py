"""The copy of shared artefacts in the object store, where other workers find them."""

import json
from pathlib import Path
from uuid import uuid4

from tasks.errors import ObjectMissing, StorageError
from tasks.objects import Objects, read_small
from tasks.refs import Artefact, is_file_name

_ROOT = "artefacts/"
_MANIFEST = "manifest.json"


class Mirror:
    """
    Shared artefacts below `artefacts/` of a store.

    Each upload has a folder of its own and `manifest.json` names it at the end: half an upload is never
    seen, and two workers that made the same artefact at once cannot mix their files.
    """

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    def find(self, kind: str, key: str) -> Artefact | None:
        """Return the artefact if it was uploaded completely."""
        manifest = self._manifest(kind, key)
        return None if manifest is None else _artefact(kind, key, manifest[1])

    def put(self, artefact: Artefact, folder: Path) -> None:
        """Upload the files of `folder`, then the manifest; does nothing when it is there."""
        if self.find(artefact.kind, artefact.key) is not None:
            return
        base, upload = _base(artefact.kind, artefact.key), uuid4().hex
        sizes: dict[str, int] = {}
        for name in artefact.files:
            sizes[name] = self._objects.upload(folder / name, f"{base}/{upload}/{name}").size
        manifest = json.dumps({"folder": upload, "files": sizes}).encode()
        self._objects.put_bytes(f"{base}/{_MANIFEST}", manifest, "application/json")

    def fetch(self, kind: str, key: str, into: Path) -> Artefact:
        """
        Download all files into an empty folder.

        Raises:
            ObjectMissing: there is no such artefact.
            StorageError:  a file has another size than its manifest says, or the store failed.
        """
        manifest = self._manifest(kind, key)
        if manifest is None:
            raise ObjectMissing(f"the {kind} artefact {key[:12]}… is not in the store any more", key=key)
        upload, sizes = manifest
        for name, size in sizes.items():
            found = self._objects.download(f"{_base(kind, key)}/{upload}/{name}", None, into / name)
            if found.size != size:
                raise StorageError(f"the {kind} artefact {key[:12]}… in the store is damaged", key=key)
        return _artefact(kind, key, sizes)

    def remove(self, kind: str, key: str) -> None:
        """Delete the manifest, then everything else."""
        base = _base(kind, key)
        self._objects.delete(f"{base}/{_MANIFEST}")
        for info in list(self._objects.list(f"{base}/")):
            self._objects.delete(info.key)

    def _manifest(self, kind: str, key: str) -> tuple[str, dict[str, int]] | None:
        try:
            data = json.loads(read_small(self._objects, f"{_base(kind, key)}/{_MANIFEST}"))
            upload, sizes = (
                str(data["folder"]),
                {str(name): int(size) for name, size in data["files"].items()},
            )
        except ObjectMissing:
            return None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StorageError(f"the manifest of the {kind} artefact {key[:12]}… is damaged") from error
        if not upload.isalnum() or not all(is_file_name(name) for name in sizes):
            raise StorageError(f"the manifest of the {kind} artefact {key[:12]}… has unsafe names")
        return upload, sizes


def complete_keys(objects: Objects, kind: str) -> set[str]:
    """
    Name the artefacts of a kind that were uploaded completely.

    Args:
        objects: the store.
        kind:    word for the sort of artefact.
    """
    found = (info.key.split("/") for info in objects.list(f"{_ROOT}{kind}/"))
    return {parts[2] for parts in found if parts[3:] == [_MANIFEST]}


def _base(kind: str, key: str) -> str:
    return f"{_ROOT}{kind}/{key}"


def _artefact(kind: str, key: str, sizes: dict[str, int]) -> Artefact:
    # no validation: it would ask the store once more whether the artefact is there
    return Artefact.model_construct(kind=kind, key=key, size=sum(sizes.values()), files=tuple(sorted(sizes)))
