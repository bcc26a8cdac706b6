"""
Signatures of webhooks as Standard Webhooks 1.0.0 wants them: `v1`, HMAC-SHA256 over id, time and body.

Pure: nothing is read from the settings and nothing is sent. Several secrets give several signatures, so that
a receiver can change over without a gap.
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
"""No dot: it parts what is signed."""


def key_of(secret: str) -> bytes:
    """
    Return the bytes that a secret stands for.

    Args:
        secret: `whsec_` and the base64 of 24 to 64 random bytes.

    Raises:
        ValueError: it is not written so. The message does not repeat it.
    """
    if not secret.startswith(PREFIX):
        raise ValueError(f"a webhook secret begins with {PREFIX}")
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"a webhook secret is {PREFIX} and base64") from None
    if not _FEWEST <= len(key) <= _MOST:
        raise ValueError(f"a webhook secret has {_FEWEST} to {_MOST} bytes, this one has {len(key)}")
    return key


def sign(secrets: Sequence[str], webhook_id: str, timestamp: int, body: bytes) -> str:
    """
    Sign one message.

    Args:
        secrets:    as `key_of` takes them; one signature each.
        webhook_id: of the message, without a dot.
        timestamp:  seconds since 1970 of this attempt.
        body:       exactly the bytes that are sent.

    Returns:
        The header `webhook-signature`.

    Raises:
        ValueError: a secret or the id is malformed.
    """
    if not _NAME.fullmatch(webhook_id):
        raise ValueError("a webhook's id has letters, digits, _ and - only")
    text = f"{webhook_id}.{timestamp}.".encode() + body
    return " ".join(_VERSION + _signature(secret, text) for secret in secrets)


def _signature(secret: str, text: bytes) -> str:
    return base64.b64encode(hmac.digest(key_of(secret), text, hashlib.sha256)).decode()


def verify(secrets: Sequence[str], headers: Mapping[str, str], body: bytes, now: float | None = None) -> None:
    """
    See that a message is from somebody who has one of the secrets, unchanged, and new.

    Args:
        secrets: that are in use.
        headers: of the request, whatever their case.
        body:    as it arrived, before any parsing.
        now:     seconds since 1970; None reads the clock.

    Raises:
        SignatureInvalid: it is not; also for messages more than five minutes old or early.
    """
    given = {name.lower(): value for name, value in headers.items()}
    webhook_id, stamp, shown = (given.get(name, "") for name in (ID, TIMESTAMP, SIGNATURE))
    if not _NAME.fullmatch(webhook_id) or not _SECONDS.fullmatch(stamp) or not shown:
        raise SignatureInvalid("The headers of a webhook are missing or malformed.")
    if abs((time.time() if now is None else now) - int(stamp)) > TOLERANCE_S:
        raise SignatureInvalid("The webhook is too old, or its time is in the future.")
    text = f"{webhook_id}.{stamp}.".encode() + body
    wanted = [_signature(secret, text).encode() for secret in secrets]
    offered = [part.removeprefix(_VERSION).encode() for part in shown.split() if part.startswith(_VERSION)]
    # every pair is compared, whole: nothing is learnt from how long it takes
    matches = [hmac.compare_digest(one, other) for one in wanted for other in offered]
    if not any(matches):
        raise SignatureInvalid("No signature of the webhook is ours.")
