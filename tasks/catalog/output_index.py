"""
Index of outputs by the SHA-256 of their bytes: finds the job that made a file whose manifest was removed.

One small object per hash and tenant in the system's own store. Maintenance deletes it with the results.
"""

import json
from collections.abc import Iterable
from contextlib import suppress
from itertools import islice
from typing import Final
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from tasks.errors import ObjectMissing, OutputExists
from tasks.run.tenancy import may_use
from tasks.storage.home_store import home_store
from tasks.storage.object_store import read_small

INDEX_PREFIX: Final = "provenance/hashes/"
"""Key prefix of the index in the system's own store."""
_NO_TENANT: Final = "_"
"""Name of the entries without a tenant. It is not a valid tenant name."""
_MAX_FOUND: Final = 20


class IndexedOutput(BaseModel):
    """The output of a job, and the tenant that owns it."""

    model_config = ConfigDict(frozen=True)

    job: UUID
    name: str
    tenant: str | None


def index_output(hashes: Iterable[str], output: IndexedOutput) -> None:
    """
    Record the hashes of an output; the first job of a tenant with these bytes stays recorded.

    Args:
        hashes: SHA-256 of the file, with and without its manifest.
        output: the output.

    Raises:
        StorageError: the store does not respond.
    """
    content = output.model_dump_json().encode()
    for sha256 in hashes:
        key = f"{_folder(sha256)}{output.tenant or _NO_TENANT}.json"
        with suppress(OutputExists):
            home_store().put_bytes(key, content, "application/json", overwrite=False)


def find_outputs(sha256: str) -> list[IndexedOutput]:
    """
    Return the outputs with this hash that the current tenant may see.

    Raises:
        StorageError: the store does not respond.
    """
    store = home_store()
    found: list[IndexedOutput] = []
    for info in islice(store.list(_folder(sha256)), _MAX_FOUND):
        with suppress(ObjectMissing, ValueError):
            output = IndexedOutput.model_validate(json.loads(read_small(store, info.key)))
            if may_use(output.tenant):
                found.append(output)
    return found


def _folder(sha256: str) -> str:
    return f"{INDEX_PREFIX}{sha256[:2]}/{sha256}/"
