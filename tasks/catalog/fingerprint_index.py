"""
Fingerprints of outputs in the system's own store: finds the job that made a file which was encoded anew.

One object per output, newest first by key. Maintenance deletes it with the results; a search reads the newest
ones only.
"""

import base64
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from typing import Any, Final

import numpy as np

from musetalk_core.fingerprints.matching import Fingerprint, Match, match
from tasks.catalog.output_index import IndexedOutput
from tasks.errors import ObjectMissing
from tasks.run.cancellation import raise_if_cancelled
from tasks.run.tenancy import may_use
from tasks.storage.home_store import home_store
from tasks.storage.object_store import ObjectStore, read_small

FINGERPRINTS_PREFIX: Final = "provenance/fingerprints/"
"""Key prefix of the fingerprints in the system's own store."""
MAX_COMPARED: Final = 2000
"""Number of outputs, the newest ones of the tenant, with which a file is compared."""
MIN_CONFIDENCE: Final = 0.3
_MAX_FOUND: Final = 5
_MAX_MS: Final = 10**13
"""Later than any time in milliseconds; subtracting from it makes new keys sort first."""
_NO_TENANT: Final = "_"
_MAX_LISTED: Final = 20_000
_CONCURRENT_READS: Final = 16


def save_fingerprint(output: IndexedOutput, fingerprint: Fingerprint) -> None:
    """
    Store the fingerprint of an output, unless it is empty.

    Raises:
        StorageError: the store does not respond.
    """
    if not fingerprint.picture.any() and not fingerprint.sound.any():
        return
    content = output.model_dump(mode="json") | {
        "picture": _to_text(fingerprint.picture.astype("<u8")),
        "sound": _to_text(fingerprint.sound.astype("<u4")),
    }
    moment = _MAX_MS - int(time.time() * 1000)
    key = f"{FINGERPRINTS_PREFIX}{moment:013d}.{output.job.hex}.{output.tenant or _NO_TENANT}.json"
    home_store().put_bytes(key, json.dumps(content).encode(), "application/json")


def find_similar(fingerprint: Fingerprint) -> list[tuple[IndexedOutput, Match]]:
    """
    Return the outputs that resemble a file, among the newest that the current tenant may see, best first.

    Args:
        fingerprint: of the file.

    Raises:
        StorageError: the store does not respond.
    """
    found: list[tuple[IndexedOutput, Match]] = []
    for output, stored in _stored_fingerprints():
        raise_if_cancelled()
        result = match(fingerprint, stored)
        if result is not None and result.confidence >= MIN_CONFIDENCE:
            found.append((output, result))
    return sorted(found, key=lambda one: -one[1].confidence)[:_MAX_FOUND]


def _stored_fingerprints() -> Iterator[tuple[IndexedOutput, Fingerprint]]:
    store = home_store()
    keys = (info.key for info in islice(store.list(FINGERPRINTS_PREFIX), _MAX_LISTED))
    visible = islice(filter(_is_visible, keys), MAX_COMPARED)
    with ThreadPoolExecutor(_CONCURRENT_READS) as pool:
        # in blocks, so that a search that is canceled or fails stops reading soon
        while block := list(islice(visible, 4 * _CONCURRENT_READS)):
            yield from filter(None, pool.map(partial(_read_fingerprint, store), block))


def _read_fingerprint(store: ObjectStore, key: str) -> tuple[IndexedOutput, Fingerprint] | None:
    """Return a stored fingerprint and its output; None if it was deleted meanwhile or is not valid."""
    try:
        content: Any = json.loads(read_small(store, key))
        picture, sound = content.pop("picture"), content.pop("sound")
        return (
            IndexedOutput.model_validate(content),
            Fingerprint(_from_text(picture, "<u8"), _from_text(sound, "<u4")),
        )
    except (ObjectMissing, ValueError, KeyError):
        return None


def _is_visible(key: str) -> bool:
    owner = key.removeprefix(FINGERPRINTS_PREFIX).split(".", 2)[-1].removesuffix(".json")
    return may_use(None if owner == _NO_TENANT else owner)


def _to_text(values: Any) -> str:
    return base64.b64encode(values.tobytes()).decode()


def _from_text(text: str, kind: str) -> Any:
    return np.frombuffer(base64.b64decode(text), kind)
