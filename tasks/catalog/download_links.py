"""
Signatures of download links, which need no API key: of one file of one job, or of one upload.

HMAC-SHA256 over job, file name and expiry, or over upload and expiry. The key is the setting
`api.link_secrets`, else a random key that is created in the home folder at first use. Replacing the key
revokes all links; deleting a job or an upload revokes its links.
"""

import base64
import hashlib
import hmac
import time
from datetime import datetime
from typing import Final
from uuid import UUID

from tasks.errors import LinkExpired, LinkInvalid
from tasks.settings import get_settings
from tasks.storage.home_store import store_is_remote
from tasks.storage.secret_file import SecretFileDamaged, read_secret_file

_CONTEXT: Final = "musetalk download 1"
_ASSET_CONTEXT: Final = "musetalk asset download 1"
"""First lines of signed texts: signatures for another purpose are not valid here."""


def link_expiry(created: datetime) -> int:
    """Return when a link that is created at a time (with a time zone) expires, as Unix time in seconds."""
    return int(created.timestamp() + get_settings().api.link_days * 86_400)


def has_link_key() -> bool:
    """
    Return whether links that this process signs are valid at the API.

    With a secret in the settings they are. Without one the key is in MUSETALK_HOME, which is shared on one
    machine only.
    """
    return bool(get_settings().api.link_secrets) or not store_is_remote()


def sign_link(job: UUID, name: str, expires: int) -> str:
    """
    Return the signature of a link.

    Args:
        job:     id of the job.
        name:    name of its output file.
        expires: Unix time in seconds after which the link is refused.

    Returns:
        43 characters of URL-safe base64.
    """
    return _signature(_keys()[0], _file_text(job, name, expires))


def sign_asset_link(asset: str, expires: int) -> str:
    """Return the signature of a link to an upload; see `sign_link`."""
    return _signature(_keys()[0], _asset_text(asset, expires))


def verify_link(job: UUID, name: str, expires: int, signature: str) -> None:
    """
    Check the signature of a link, in constant time, and its expiry.

    Args:
        job:       id of the job.
        name:      name of the requested file.
        expires:   expiry in the link.
        signature: signature in the link.

    Raises:
        LinkInvalid: no key gives this signature for this job, name and expiry.
        LinkExpired: the link was valid and has expired.
    """
    _verify(_file_text(job, name, expires), expires, signature, "Request the job's result for a new link.")


def verify_asset_link(asset: str, expires: int, signature: str) -> None:
    """Check the signature of a link to an upload, and its expiry; see `verify_link`."""
    _verify(_asset_text(asset, expires), expires, signature, "Request a new link.")


def _verify(text: str, expires: int, signature: str, advice: str) -> None:
    received = signature.encode()
    matches = [hmac.compare_digest(_signature(key, text).encode(), received) for key in _keys()]
    if not any(matches):
        raise LinkInvalid(f"The signature of this link is not valid. {advice}")
    if expires <= time.time():
        raise LinkExpired(f"This link has expired. {advice}")


def _file_text(job: UUID, name: str, expires: int) -> str:
    return f"{_CONTEXT}\n{job}\n{expires}\n{name}"


def _asset_text(asset: str, expires: int) -> str:
    return f"{_ASSET_CONTEXT}\n{asset}\n{expires}"


def _signature(key: bytes, text: str) -> str:
    digest = hmac.digest(key, text.encode("utf-8", "surrogatepass"), hashlib.sha256)
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def _keys() -> list[bytes]:
    """Return the keys in use; the first one signs."""
    configured = [secret.get_secret_value().encode() for secret in get_settings().api.link_secrets]
    if configured:
        return configured
    try:
        return [read_secret_file(get_settings().link_key_file)]
    except SecretFileDamaged as error:
        raise LinkInvalid(str(error)) from error
