"""
The local certificate authority and its signing certificate, made at first use in `MUSETALK_HOME/provenance`.

`authority.pem` and `signer.pem` hold a certificate chain and its private key each, with mode 0600. A rotation
replaces both and keeps the certificate of the former authority, without its key, in `former/`: what it signed
stays verifiable, and no more files are signed in its name.
"""

import os
import re
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final
from uuid import uuid4

from musetalk_core.content_credentials.certificates import (
    KeyPair,
    describe_chain,
    issue_signer,
    last_certificate,
    make_authority,
)
from musetalk_core.errors import SigningFailed, SigningKeyInvalid
from musetalk_core.installation import command
from tasks.cache.file_locks import exclusive_lock
from tasks.settings import get_settings

_AUTHORITY_FILE, _SIGNER_FILE, _FORMER_FOLDER = "authority.pem", "signer.pem", "former"
_MAX_FILE_BYTES: Final = 100_000
_BLOCK: Final = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----\n?", re.DOTALL)


def signer_pair() -> KeyPair:
    """
    Return the local signing certificate with its chain and key; make them if there are none.

    Raises:
        SigningFailed: the files cannot be read or written, or are damaged.
    """
    path = get_settings().provenance_folder / _SIGNER_FILE
    try:
        if not path.exists():
            _make(replace=False)
        return _read_pair(path)
    except OSError as error:
        raise SigningFailed(f"The signing key cannot be read or made: {error.strerror or error}.") from error


def has_keys() -> bool:
    """Return whether the local keys have been made."""
    return (get_settings().provenance_folder / _SIGNER_FILE).is_file()


def make_keys() -> bool:
    """Make the local keys; return False if they exist. Raises OSError if they cannot be written."""
    return _make(replace=False)


def rotate_keys() -> None:
    """
    Replace authority and signing certificate, and keep trusting the former authority's certificate.

    Raises:
        OSError: the files cannot be written.
    """
    _make(replace=True)


def authority_certificates() -> Iterator[str]:
    """Yield the certificates of the local authority and of its predecessors, in PEM."""
    folder = get_settings().provenance_folder
    paths = [folder / _SIGNER_FILE, *sorted((folder / _FORMER_FOLDER).glob("*.pem"))]
    for path in paths:
        if path.is_file():
            chain = "".join(_blocks(path, "CERTIFICATE"))
            if chain:
                yield last_certificate(chain)


def _make(*, replace: bool) -> bool:
    """Write both files under a lock, the signer last: it is complete by itself, and readers need no lock."""
    folder = get_settings().provenance_folder
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with exclusive_lock(folder / ".lock"):
        path = folder / _SIGNER_FILE
        if path.exists() and not replace:
            return False
        _keep_former(folder)
        name = f"musetalk-flows at {socket.gethostname()[:40]}"
        authority = make_authority(name)
        _write_private(folder / _AUTHORITY_FILE, authority)
        _write_private(path, issue_signer(authority, name))
    return True


def _keep_former(folder: Path) -> None:
    """Keep the certificate of the present authority, unless both files are missing or damaged."""
    certificate = None
    for name in (_SIGNER_FILE, _AUTHORITY_FILE):
        with suppress(FileNotFoundError, SigningKeyInvalid):
            certificate = last_certificate(_read_pair(folder / name).chain)
            break
    if certificate is None:
        return
    (folder / _FORMER_FOLDER).mkdir(exist_ok=True)
    target = folder / _FORMER_FOLDER / f"{describe_chain(certificate).fingerprint[:32]}.pem"
    _replace(target, certificate)


def _write_private(path: Path, pair: KeyPair) -> None:
    _replace(path, pair.chain + pair.private_key)


def _replace(path: Path, text: str) -> None:
    """Write a file atomically, readable by its owner only from the moment it exists."""
    draft = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _read_pair(path: Path) -> KeyPair:
    chain, keys = _blocks(path, "CERTIFICATE"), _blocks(path, "PRIVATE KEY")
    if not chain or len(keys) != 1:
        raise SigningKeyInvalid(
            f"{path.name} in MUSETALK_HOME/provenance is damaged. Run: {command('provenance keys rotate')}"
        )
    return KeyPair("".join(chain), keys[0])


def _blocks(path: Path, kind: str) -> list[str]:
    with path.open(encoding="ascii", errors="replace") as file:
        text = file.read(_MAX_FILE_BYTES)
    return [match.group(0) for match in _BLOCK.finditer(text) if match.group(1) == kind]
