"""
Signing by a key that this process cannot read: a command, or an HTTP service, for a KMS or HSM.

Both receive the bytes to sign and return the signature alone. It is checked with the certificate before it is
used, so that a wrong answer never becomes a published manifest.
"""

import shlex
import subprocess
import time
from collections.abc import Callable
from typing import Final

import httpx

from musetalk_core.content_credentials.certificates import check_signature
from musetalk_core.errors import SigningFailed, SigningKeyInvalid
from tasks.outbound.guarded_transport import GuardedBackend, guarded_client, resolve_host, send_request
from tasks.settings import get_settings

_MAX_SIGNATURE_BYTES: Final = 16_384
_MAX_SHOWN_CHARS: Final = 200
_OK: Final = 200


def external_signer(chain: str) -> Callable[[bytes], bytes]:
    """
    Return a function that lets the configured command or URL sign bytes.

    Args:
        chain: certificate chain in PEM; its first certificate checks the signature.
    """
    settings = get_settings().provenance

    def sign(data: bytes) -> bytes:
        if settings.signer_command is not None:
            signature = _run_command(settings.signer_command, data, settings.signer_timeout_s)
        else:
            signature = _post(settings.signer_url or "", data, settings.signer_timeout_s)
        check_signature(chain, data, signature)
        return signature

    return sign


def _run_command(command: str, data: bytes, timeout_s: float) -> bytes:
    try:
        words = shlex.split(command)
        done = subprocess.run(words, input=data, capture_output=True, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired:
        raise SigningFailed(f"The signer command did not end within {timeout_s:g} s.") from None
    except (OSError, ValueError) as error:
        raise SigningKeyInvalid(f"The signer command cannot be run: {error}.") from error
    if done.returncode != 0:
        said = done.stderr.decode("utf-8", "replace").strip()[-_MAX_SHOWN_CHARS:]
        raise SigningFailed(f"The signer command ended with code {done.returncode}: {said}")
    return _checked_length(done.stdout)


def _post(url: str, data: bytes, timeout_s: float) -> bytes:
    """Post the bytes. The operator named this one host, so that it may have a private address."""
    target = httpx.URL(url)
    backend = GuardedBackend(
        resolve_host,
        lambda host, _: host.strip("[]") == target.host,
        get_settings().egress.denied_networks,
        time.monotonic() + timeout_s,
    )
    headers = {"Content-Type": "application/octet-stream", "User-Agent": "musetalk-flows"}
    try:
        with guarded_client(backend, httpx.Timeout(timeout_s)) as client:
            response = send_request(
                client, client.build_request("POST", target, content=data, headers=headers)
            )
            try:
                if response.status_code != _OK:
                    raise SigningFailed(f"The signer responded with status {response.status_code}.")
                return _checked_length(_read_limited(response))
            finally:
                response.close()
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        raise SigningFailed(
            f"The signer at {target.host} does not respond: {type(error).__name__}."
        ) from error


def _read_limited(response: httpx.Response) -> bytes:
    body = b""
    for block in response.iter_raw():
        body += block
        if len(body) > _MAX_SIGNATURE_BYTES:
            break
    return body


def _checked_length(signature: bytes) -> bytes:
    if not 0 < len(signature) <= _MAX_SIGNATURE_BYTES:
        raise SigningFailed(f"The signer returned {len(signature)} bytes, which is not a signature.")
    return signature
