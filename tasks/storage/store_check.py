"""Check of the system's own store, for readiness and `musetalk doctor`: whether it can be written now."""

import contextlib
import shutil
from pathlib import Path
from uuid import uuid4

from musetalk_core.errors import RenderError
from tasks.settings import Settings
from tasks.storage.folder_store import FolderStore
from tasks.storage.home_store import home_store


def find_store_problem(settings: Settings) -> str | None:
    """
    Write, read and delete a small object in the store, and check the free disk space.

    Args:
        settings: home folder and minimum free space.

    Returns:
        What is wrong, as a sentence for operators; None if the store can be used.
    """
    key = f"health/{uuid4().hex}"
    try:
        store = home_store()
        with contextlib.ExitStack() as cleanup:
            store.put_bytes(key, b"ok")
            cleanup.callback(store.delete, key)
            content = b"".join(store.read(key))
    except RenderError as error:
        return str(error)
    except OSError as error:
        return f"the store cannot be written: {error.strerror or type(error).__name__}"
    except Exception as error:  # any error means that the store cannot be used
        return f"the store is unavailable ({type(error).__name__})"
    if content != b"ok":
        return "the store returned other data than was written"
    folders = [settings.home, *([store.root] if isinstance(store, FolderStore) else [])]
    too_full = any(_free_bytes(folder) < settings.store.min_free_bytes for folder in folders)
    return "the disk is nearly full" if too_full else None


def _free_bytes(folder: Path) -> int:
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free
