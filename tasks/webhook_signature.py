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

PREFIX: Final = "whsec_"
TOLERANCE_S: Final = 300
ID: Final = "webhook-id"
TIMESTAMP: Final = "webhook-timestamp"
SIGNATURE: Final = "webhook-signature"

_VERSION = "v1,"
_FEWEST, _MOST = 24, 64
_SECONDS = re.compile(r"[0-9]{1,12}")
_NAME = re.compile(r"[A-Za-z0-9_-]{1,128}")
"""No dot is allowed, because dots separate the signed parts."""


def key_of(secret: str) -> bytes:
    """
    Decode a webhook secret.

    Args:
        secret: `whsec_` and the base64 of 24 to 64 random bytes.

    Raises:
        ValueError: the secret is malformed. The message does not contain it.
    """
    if not secret.startswith(PREFIX):
        raise ValueError(f"a webhook secret starts with {PREFIX}")
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"a webhook secret is {PREFIX} followed by base64") from None
    if not _FEWEST <= len(key) <= _MOST:
        raise ValueError(f"a webhook secret has {_FEWEST} to {_MOST} bytes, this one has {len(key)}")
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
    if not _NAME.fullmatch(webhook_id):
        raise ValueError("a webhook's id has only letters, digits, _ and -")
    text = f"{webhook_id}.{timestamp}.".encode() + body
    return " ".join(_VERSION + _signature(secret, text) for secret in secrets)


def _signature(secret: str, text: bytes) -> str:
    return base64.b64encode(hmac.digest(key_of(secret), text, hashlib.sha256)).decode()


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
    given = {name.lower(): value for name, value in headers.items()}
    webhook_id, stamp, shown = (given.get(name, "") for name in (ID, TIMESTAMP, SIGNATURE))
    if not _NAME.fullmatch(webhook_id) or not _SECONDS.fullmatch(stamp) or not shown:
        raise SignatureInvalid("The headers of a webhook are missing or malformed.")
    if abs((time.time() if now is None else now) - int(stamp)) > TOLERANCE_S:
        raise SignatureInvalid("The timestamp of the webhook is too old or in the future.")
    text = f"{webhook_id}.{stamp}.".encode() + body
    wanted = [_signature(secret, text).encode() for secret in secrets]
    offered = [part.removeprefix(_VERSION).encode() for part in shown.split() if part.startswith(_VERSION)]
    # all pairs are compared in constant time, which prevents timing attacks
    matches = [hmac.compare_digest(one, other) for one in wanted for other in offered]
    if not any(matches):
        raise SignatureInvalid("No signature of the webhook matches a secret.")
