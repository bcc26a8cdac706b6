"""The API key file: SHA-256 hashes of keys with tenant, scopes and expiry. It never contains a key."""

import hashlib
import json
import os
import secrets
import tempfile
import time
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from flows.schemas.control import Tenant

Scope = Literal["submit", "read", "cancel", "admin"]
_KEY_PREFIX = "mk_"
_MAX_DRAFT_AGE_S = 24 * 3600.0


class KeyFileError(Exception):
    """The key file cannot be read or is invalid; the message is one sentence for people."""


class ApiKey(BaseModel):
    """An API key as stored in the key file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}$")]
    sha256: Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{64})?$")]
    tenant: Tenant | None = None
    """Tenant whose jobs the key may create and read; None: jobs of all tenants."""
    scopes: frozenset[Scope] = Field(default=frozenset({"submit", "read", "cancel"}), min_length=1)
    expires: AwareDatetime | None = None

    @property
    def is_expired(self) -> bool:
        """Whether the key has expired."""
        return self.expires is not None and self.expires <= datetime.now(UTC)


class KeyFile(BaseModel):
    """The contents of the key file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    keys: tuple[ApiKey, ...] = ()


def hash_key(key: str) -> str:
    """
    Return the SHA-256 of a key in hex. Keys have 256 random bits, so a fast hash cannot be reversed.

    Args:
        key: the key as the client sends it.
    """
    return hashlib.sha256(key.encode()).hexdigest()


def read_keys(path: Path) -> tuple[ApiKey, ...]:
    """
    Read the key file.

    Raises:
        KeyFileError: the file is missing, unreadable or invalid.
    """
    try:
        return KeyFile.model_validate_json(path.read_bytes()).keys
    except OSError as error:
        raise KeyFileError(f"Cannot read the key file {path}: {error.strerror}.") from error
    except ValidationError as error:
        first_error = error.errors()[0]
        location = ".".join(str(part) for part in first_error["loc"])
        raise KeyFileError(
            f"Invalid key file {path}: {location or 'document'}: {first_error['msg']}."
        ) from error


def write_keys(path: Path, keys: Iterable[ApiKey]) -> None:
    """Replace the key file atomically; only its owner can read it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_stale_drafts(path)
    text = json.dumps({"keys": [key.model_dump(mode="json", exclude_none=True) for key in keys]}, indent=1)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # created with mode 0600
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text + "\n")
        Path(name).replace(path)
    finally:
        Path(name).unlink(missing_ok=True)


def _remove_stale_drafts(path: Path) -> None:
    """Remove drafts older than a day, left by processes that were killed while writing."""
    for draft in path.parent.glob(f".{path.name}.*"):
        with suppress(FileNotFoundError):
            if time.time() - draft.stat().st_mtime > _MAX_DRAFT_AGE_S:
                draft.unlink()


def generate_key() -> str:
    """Return a new key of 256 random bits. The key itself is not stored."""
    return _KEY_PREFIX + secrets.token_urlsafe(32)
