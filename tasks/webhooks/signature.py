"""
Webhook signatures as specified by Standard Webhooks 1.0.0: `v1`, HMAC-SHA256 over id, timestamp and body.

Pure functions: nothing is read from the settings and nothing is sent. Several secrets give several
signatures, so that secrets can be rotated without an interruption.
"""

import base64
import binascii
import hashlib
import hmac
import re
import time
from collections.abc import Mapping, Sequence
from typing import Final

from tasks.errors import SignatureInvalid

SECRET_PREFIX: Final = "whsec_"  # noqa: S105  the scheme's public prefix
TOLERANCE_S: Final = 300
ID_HEADER: Final = "webhook-id"
TIMESTAMP_HEADER: Final = "webhook-timestamp"
SIGNATURE_HEADER: Final = "webhook-signature"

_VERSION = "v1,"
_MIN_KEY_BYTES, _MAX_KEY_BYTES = 24, 64
_SECONDS = re.compile(r"[0-9]{1,12}")
_WEBHOOK_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
"""No dot is allowed, because dots separate the signed parts."""


def decode_secret(secret: str) -> bytes:
    """
    Decode a webhook secret.

    Args:
        secret: `whsec_` and the base64 of 24 to 64 random bytes.

    Raises:
        ValueError: the secret is malformed. The message does not contain it.
    """
    if not secret.startswith(SECRET_PREFIX):
        raise ValueError(f"a webhook secret starts with {SECRET_PREFIX}")
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"a webhook secret is {SECRET_PREFIX} followed by base64") from None
    if not _MIN_KEY_BYTES <= len(key) <= _MAX_KEY_BYTES:
        raise ValueError(
            f"a webhook secret has {_MIN_KEY_BYTES} to {_MAX_KEY_BYTES} bytes, this one has {len(key)}"
        )
    return key


def sign(secrets: Sequence[str], webhook_id: str, timestamp: int, body: bytes) -> str:
    """
    Sign one message.

    Args:
        secrets:    the secrets, see `decode_secret`; each gives one signature.
        webhook_id: id of the message, without a dot.
        timestamp:  Unix time of this attempt in seconds.
        body:       exactly the bytes that are sent.

    Returns:
        The value of the header `webhook-signature`.

    Raises:
        ValueError: a secret or the id is malformed.
    """
    if not _WEBHOOK_ID.fullmatch(webhook_id):
        raise ValueError("a webhook's id has only letters, digits, _ and -")
    text = f"{webhook_id}.{timestamp}.".encode() + body
    return " ".join(_VERSION + _signature(secret, text) for secret in secrets)


def _signature(secret: str, text: bytes) -> str:
    return base64.b64encode(hmac.digest(decode_secret(secret), text, hashlib.sha256)).decode()


def verify(secrets: Sequence[str], headers: Mapping[str, str], body: bytes, now: float | None = None) -> None:
    """
    Verify the signature and the timestamp of a received webhook.

    Args:
        secrets: the secrets in use; one of them must match.
        headers: headers of the request, in any case.
        body:    the received bytes, before any parsing.
        now:     Unix time in seconds; None for the current time.

    Raises:
        SignatureInvalid: no signature matches, a header is missing or malformed, or the timestamp differs
            from `now` by more than five minutes.
    """
    lowercase_headers = {name.lower(): value for name, value in headers.items()}
    webhook_id, timestamp, signature_header = (
        lowercase_headers.get(name, "") for name in (ID_HEADER, TIMESTAMP_HEADER, SIGNATURE_HEADER)
    )
    if not _WEBHOOK_ID.fullmatch(webhook_id) or not _SECONDS.fullmatch(timestamp) or not signature_header:
        raise SignatureInvalid("The headers of a webhook are missing or malformed.")
    if abs((time.time() if now is None else now) - int(timestamp)) > TOLERANCE_S:
        raise SignatureInvalid("The timestamp of the webhook is too old or in the future.")
    text = f"{webhook_id}.{timestamp}.".encode() + body
    expected = [_signature(secret, text).encode() for secret in secrets]
    received = [
        part.removeprefix(_VERSION).encode() for part in signature_header.split() if part.startswith(_VERSION)
    ]
    # all pairs are compared in constant time, which prevents timing attacks
    matches = [hmac.compare_digest(one, other) for one in expected for other in received]
    if not any(matches):
        raise SignatureInvalid("No signature of the webhook matches a secret.")
