"""The file of API keys: their hashes, whose they are, what they allow and until when. Never a key itself."""

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

from flows.control import Tenant

Scope = Literal["submit", "read", "cancel", "admin"]
_PREFIX = "mk_"
_DRAFT_LIFE_S = 24 * 3600.0


class KeyFileError(Exception):
    """The file of keys cannot be read or is none; the message is one sentence for people."""


class Key(BaseModel):
    """One key, as the file has it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}$")]
    sha256: Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{64})?$")]
    tenant: Tenant | None = None
    """Whose jobs it makes and sees; None: all there are."""
    scopes: frozenset[Scope] = Field(default=frozenset({"submit", "read", "cancel"}), min_length=1)
    expires: AwareDatetime | None = None

    @property
    def is_expired(self) -> bool:
        """Whether its time is over."""
        return self.expires is not None and self.expires <= datetime.now(UTC)


class KeyFile(BaseModel):
    """The whole file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    keys: tuple[Key, ...] = ()


def digest(key: str) -> str:
    """
    Hash a key. It is random and long, so that a plain hash cannot be turned round.

    Args:
        key: as its owner sends it.
    """
    return hashlib.sha256(key.encode()).hexdigest()


def read_keys(path: Path) -> tuple[Key, ...]:
    """
    Read a file of keys.

    Raises:
        KeyFileError: it is missing, or something else.
    """
    try:
        return KeyFile.model_validate_json(path.read_bytes()).keys
    except OSError as error:
        raise KeyFileError(f"The file of keys {path} cannot be read: {error.strerror}.") from error
    except ValidationError as error:
        fault = error.errors()[0]
        place = ".".join(str(part) for part in fault["loc"])
        raise KeyFileError(f"The file of keys {path} is none: {place or 'it'}: {fault['msg']}.") from error


def write_keys(path: Path, keys: Iterable[Key]) -> None:
    """Write it whole, for its owner's eyes only."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_stale_drafts(path)
    said = json.dumps({"keys": [key.model_dump(mode="json", exclude_none=True) for key in keys]}, indent=1)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # readable by its owner only
    try:
        with os.fdopen(handle, "w") as file:
            file.write(said + "\n")
        Path(name).replace(path)
    finally:
        Path(name).unlink(missing_ok=True)


def _remove_stale_drafts(path: Path) -> None:
    """Remove drafts older than a day, left by processes that were killed while writing."""
    for draft in path.parent.glob(f".{path.name}.*"):
        with suppress(FileNotFoundError):
            if time.time() - draft.stat().st_mtime > _DRAFT_LIFE_S:
                draft.unlink()


def new_key() -> str:
    """Make a key of 256 random bits; it is shown once and kept nowhere."""
    return _PREFIX + secrets.token_urlsafe(32)
