"""Random secrets in files of MUSETALK_HOME, created at first use."""

import os
import secrets
import tempfile
from pathlib import Path
from typing import Final

SECRET_BYTES: Final = 32


class SecretFileDamaged(ValueError):
    """A file is too short to be a secret."""


def read_secret_file(path: Path) -> bytes:
    """
    Read a secret, and create it with mode 0600 if the file is missing. Concurrent processes get one secret.

    Returns:
        At least `SECRET_BYTES` bytes.

    Raises:
        SecretFileDamaged: the file is too short.
    """
    if not path.exists():
        _create(path)
    secret = path.read_bytes()
    if len(secret) < SECRET_BYTES:
        raise SecretFileDamaged(f"The key file {path.name} is damaged. Delete it to create a new one.")
    return secret


def _create(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, draft = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # created with mode 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(secrets.token_bytes(SECRET_BYTES))
        try:
            path.hardlink_to(draft)
        except FileExistsError:
            return  # another process was faster: its secret is used
    finally:
        Path(draft).unlink(missing_ok=True)
