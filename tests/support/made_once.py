"""Folders that all processes of `./run test` share: each is filled by the first process that needs it."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

VARIABLE = "SHARED_TEST_FOLDER"
"""Names the folder; without it, this process has one of its own. Not MUSETALK_*: it is no setting."""


def made_once(name: str, make: Callable[[Path], object]) -> Path:
    """Return the folder of that name, which `make` has filled in this or in another process; only read it."""
    folder = _root() / name
    with folder.with_name(f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            draft = folder.with_name(f"{name}.draft")
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir(parents=True)
            make(draft)
            draft.rename(folder)
    return folder


def _root() -> Path:
    return Path(os.environ.get(VARIABLE) or _own().name)


@cache
def _own() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="made-once-")
