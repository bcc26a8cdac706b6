"""C2PA manifests beside outputs (`NAME.c2pa`), read for files that cannot hold one themselves."""

from contextlib import suppress
from typing import Final

from musetalk_core.content_credentials.signing import SIDECAR_SUFFIX
from tasks.catalog.stored_results import find_pinned
from tasks.errors import StorageError
from tasks.file_names import fit_name, key_prefix_and_name_limit
from tasks.refs import ObjectRef
from tasks.storage.object_store import read_small

MAX_SIDECAR_BYTES: Final = 16 << 20
"""Limit of a manifest that is read into memory."""


def read_sidecar(output: ObjectRef) -> bytes | None:
    """
    Return the manifest beside a job's output; None if there is none or it is too large.

    Args:
        output: the pinned output. Whether the manifest belongs to it is for the caller to verify.
    """
    with suppress(StorageError):
        found = find_pinned(output)
        folder, slash, name = found.key.rpartition("/")
        _, max_name_bytes = key_prefix_and_name_limit(folder)
        key = f"{folder}{slash}{fit_name(name, SIDECAR_SUFFIX, max_name_bytes)}"
        return read_small(found.objects, key, MAX_SIDECAR_BYTES)
    return None
