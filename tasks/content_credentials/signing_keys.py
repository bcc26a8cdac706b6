"""
The signer of outputs: local keys, PEM files or an external signer, as the settings say.

Private keys stay in this module's return values and in their files: they are in no log, artifact or result.
"""

from collections.abc import Callable
from pathlib import Path

from musetalk_core.content_credentials.certificates import (
    CertificateInfo,
    KeyPair,
    check_pair,
    check_usable,
    last_certificate,
)
from musetalk_core.content_credentials.signing import Signer
from musetalk_core.errors import SigningFailed, SigningKeyInvalid
from tasks.content_credentials import local_authority
from tasks.content_credentials.external_signer import external_signer
from tasks.settings import get_settings

_MAX_FILE_BYTES = 1_000_000


def signing_certificate() -> CertificateInfo:
    """
    Return the facts about the certificate that signs outputs now.

    Raises:
        SigningKeyInvalid: it is expired, not yet valid, or not for signing media.
        SigningFailed:     it cannot be read, or the local keys cannot be made.
    """
    return check_usable(_chain())


def open_signer() -> Signer:
    """
    Return the signer of outputs; local keys are made at first use.

    Raises:
        SigningKeyInvalid: the certificate cannot be used, or the key does not belong to it.
        SigningFailed:     a file cannot be read, or the local keys cannot be made.
    """
    settings = get_settings().provenance
    chain, key = _chain_and_key()
    info = check_usable(chain)
    return Signer(chain, info.algorithm, key, settings.time_stamp_url)


def trust_anchors() -> str:
    """
    Return the certificates that verification trusts, in PEM: the own authority, former ones, configured ones.

    Raises:
        SigningFailed, SigningKeyInvalid: a configured file cannot be read or holds no certificate.
    """
    settings = get_settings().provenance
    anchors = list(local_authority.authority_certificates())
    if settings.certificate_chain is not None:
        anchors.append(last_certificate(_read(settings.certificate_chain)))
    if settings.trusted_certificates is not None:
        anchors.append(_read(settings.trusted_certificates))
    return "\n".join(anchors)


def _chain() -> str:
    path = get_settings().provenance.certificate_chain
    return local_authority.signer_pair().chain if path is None else _read(path)


def _chain_and_key() -> tuple[str, str | Callable[[bytes], bytes]]:
    settings = get_settings().provenance
    if settings.certificate_chain is None:
        pair = local_authority.signer_pair()
    else:
        chain = _read(settings.certificate_chain)
        if settings.private_key is None:
            return chain, external_signer(chain)
        pair = KeyPair(chain, _read(settings.private_key))
    check_pair(pair)
    return pair.chain, pair.private_key


def _read(path: Path) -> str:
    try:
        with path.open(encoding="ascii") as file:
            return file.read(_MAX_FILE_BYTES)
    except OSError as error:
        raise SigningFailed(f"{path.name} cannot be read: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise SigningKeyInvalid(f"{path.name} is not a PEM file.") from error
