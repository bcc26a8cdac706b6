"""Headers of the tus resumable upload protocol 1.0.0 (https://tus.io): names, parsing and formatting."""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime
from typing import Final

from starlette.datastructures import Headers

from api.errors import Problem

VERSION: Final = "1.0.0"
PREFIX: Final = "/v1/uploads"
"""Path of the routes that speak the protocol."""
CONTENT_TYPE: Final = "application/offset+octet-stream"
CHECKSUM_ALGORITHMS: Final = ("sha1", "sha256")
_EXTENSIONS: Final = ("creation", "termination", "expiration")
_DIGEST_BYTES: Final = {"sha1": 20, "sha256": 32}
_NUMBER: Final = re.compile(r"[0-9]{1,18}")
_METADATA_KEY: Final = re.compile(r"[!-+\--~]{1,64}")
"""ASCII without spaces and commas."""
_MAX_METADATA_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class Checksum:
    """A checksum that the client computed over the body of one request."""

    algorithm: str
    digest: bytes


def is_upload_path(path: str) -> bool:
    """Return whether a path belongs to the routes that speak the protocol."""
    return path == PREFIX or path.startswith(f"{PREFIX}/")


def server_headers(max_size: int, *, checksums: bool) -> dict[str, str]:
    """
    Return the headers that describe the server (OPTIONS).

    Args:
        max_size:  maximum size of an upload in bytes.
        checksums: whether checksums are verified.
    """
    headers = {
        "Tus-Version": VERSION,
        "Tus-Max-Size": str(max_size),
        "Tus-Extension": ",".join((*_EXTENSIONS, *(("checksum",) if checksums else ()))),
    }
    return headers | ({"Tus-Checksum-Algorithm": ",".join(CHECKSUM_ALGORITHMS)} if checksums else {})


def require_version(headers: Headers) -> None:
    """Raise the Problem `tus_version_unsupported` unless the client speaks version 1.0.0."""
    if headers.get("tus-resumable") != VERSION:
        raise Problem(
            "tus_version_unsupported",
            f"Send the header `Tus-Resumable: {VERSION}`.",
            headers={"Tus-Version": VERSION},
        )


def read_length(headers: Headers) -> int:
    """Return the size of a new upload in bytes; raise the Problem `malformed_request` without a valid one."""
    if "upload-defer-length" in headers:
        raise Problem("malformed_request", "Uploads of unknown length are not supported: send Upload-Length.")
    return _read_number(headers, "Upload-Length")


def read_offset(headers: Headers) -> int:
    """Return the offset of a part in bytes; raise the Problem `malformed_request` without a valid one."""
    return _read_number(headers, "Upload-Offset")


def _read_number(headers: Headers, name: str) -> int:
    value = headers.get(name, "")
    if not _NUMBER.fullmatch(value) or len(headers.getlist(name)) != 1:
        raise Problem("malformed_request", f"Send the header {name}, once, with a number of bytes.")
    return int(value)


def read_metadata(headers: Headers) -> Mapping[str, str]:
    """
    Return the metadata of a new upload: UTF-8 texts by key.

    Raises:
        Problem: `malformed_request` for metadata that are not as the protocol says, or have more than 4 kB.
    """
    text = headers.get("upload-metadata", "")
    if len(text) > _MAX_METADATA_BYTES or not text.isascii() or len(headers.getlist("upload-metadata")) > 1:
        raise _bad_metadata(f"send the header once, with at most {_MAX_METADATA_BYTES} bytes of ASCII")
    values: dict[str, str] = {}
    for pair in text.split(",") if text.strip() else ():
        key, _, encoded = pair.strip().partition(" ")
        if not _METADATA_KEY.fullmatch(key) or key in values:
            raise _bad_metadata("each key is ASCII without spaces and commas, not empty, and occurs once")
        try:
            values[key] = base64.b64decode(encoded, validate=True).decode()
        except (binascii.Error, ValueError) as error:  # ValueError: not UTF-8, or not ASCII
            raise _bad_metadata("each value is UTF-8 text in Base64") from error
    return values


def _bad_metadata(rule: str) -> Problem:
    return Problem("malformed_request", f"Upload-Metadata is malformed: {rule}.")


def read_checksum(headers: Headers) -> Checksum | None:
    """Return the checksum of a body, or None; raise the Problem `malformed_request` for an unusable one."""
    text = headers.get("upload-checksum")
    if text is None:
        return None
    algorithm, _, encoded = text.partition(" ")
    try:
        digest = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        digest = b""
    if len(digest) != _DIGEST_BYTES.get(algorithm):
        names = " or ".join(CHECKSUM_ALGORITHMS)
        raise Problem("malformed_request", f"Upload-Checksum is {names}, a space, and the digest in Base64.")
    return Checksum(algorithm, digest)


def http_date(time: datetime) -> str:
    """Return a time in UTC as HTTP headers state it (RFC 9110)."""
    return format_datetime(time, usegmt=True)
