"""
Certificates for signing: a local certificate authority, and checks of certificate chains.

Manifests that are signed with a chain of a local authority are valid. Verifiers that do not trust the
authority's certificate report an unknown signer.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from musetalk_core.content_credentials.signing import Algorithm
from musetalk_core.errors import SigningFailed, SigningKeyInvalid
from musetalk_core.installation import command

ORGANIZATION: Final = "musetalk-flows"
_AUTHORITY_YEARS, _SIGNER_YEARS = 20, 5
_CLAIM_SIGNING: Final = ObjectIdentifier("1.3.6.1.4.1.62558.2.1")
"""Extended key usage of C2PA claim signing."""
_ALLOWED_USAGES: Final = {
    ExtendedKeyUsageOID.EMAIL_PROTECTION,
    ObjectIdentifier("1.3.6.1.5.5.7.3.36"),  # document signing
    _CLAIM_SIGNING,
}
_ECDSA: Final[dict[str, Algorithm]] = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}
_HASHES: Final[dict[str, hashes.HashAlgorithm]] = {
    "secp256r1": hashes.SHA256(),
    "secp384r1": hashes.SHA384(),
    "secp521r1": hashes.SHA512(),
}

_Extension = TypeVar("_Extension", bound=x509.ExtensionType)
PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


@dataclass(frozen=True, slots=True, repr=False)
class KeyPair:
    """
    A certificate chain and its private key, both in PEM.

    `repr` shows neither of them, so that a key cannot get into a log.
    """

    chain: str
    private_key: str


@dataclass(frozen=True, slots=True)
class CertificateInfo:
    """
    Facts about a signing certificate.

    Attributes:
        subject:     common name, else the whole subject.
        issuer:      common name of the issuer, else its whole name.
        fingerprint: SHA-256 of the certificate in hexadecimal.
        algorithm:   signature algorithm of its key.
        not_before:  start of validity.
        not_after:   end of validity.
    """

    subject: str
    issuer: str
    fingerprint: str
    algorithm: Algorithm
    not_before: datetime
    not_after: datetime


def make_authority(name: str) -> KeyPair:
    """Return a new certificate authority: a self-signed certificate and its key, valid for 20 years."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _name(f"{name} authority")
    certificate = (
        _builder(subject, subject, key, _AUTHORITY_YEARS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    return KeyPair(_pem(certificate), _key_pem(key))


def issue_signer(authority: KeyPair, name: str) -> KeyPair:
    """
    Return a new signing certificate of an authority and its key, valid for five years.

    Args:
        authority: from `make_authority`.
        name:      common name of the signer.
    """
    issuer = x509.load_pem_x509_certificate(authority.chain.encode())
    issuer_key = _load_key(authority.private_key)
    if not isinstance(issuer_key, ec.EllipticCurvePrivateKey):
        raise SigningKeyInvalid("The key of the certificate authority is not an ECDSA key.")
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        _builder(_name(name), issuer.subject, key, _SIGNER_YEARS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False
        )
        .sign(issuer_key, hashes.SHA256())
    )
    return KeyPair(_pem(certificate) + authority.chain, _key_pem(key))


def describe_chain(chain: str) -> CertificateInfo:
    """
    Return the facts about the signing certificate of a chain.

    Raises:
        SigningKeyInvalid: the text holds no certificate, or its key has no supported signature algorithm.
    """
    certificate = _first_certificate(chain)
    return CertificateInfo(
        subject=_common_name(certificate.subject),
        issuer=_common_name(certificate.issuer),
        fingerprint=certificate.fingerprint(hashes.SHA256()).hex(),
        algorithm=_algorithm(certificate.public_key()),
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
    )


def check_usable(chain: str, now: datetime | None = None) -> CertificateInfo:
    """
    Return the facts about a chain whose certificate can sign now.

    Args:
        chain: certificates in PEM, the signing certificate first.
        now:   point in time; None for the current time.

    Raises:
        SigningKeyInvalid: the certificate is expired, not yet valid, an authority, or not for signing media.
    """
    info, now = describe_chain(chain), now or datetime.now(UTC)
    if now >= info.not_after:
        raise SigningKeyInvalid(
            f"The signing certificate of {info.subject} expired on {info.not_after:%Y-%m-%d}."
            f" Install a new one, or run: {command('provenance keys rotate')}"
        )
    if now < info.not_before:
        raise SigningKeyInvalid(
            f"The signing certificate of {info.subject} is not valid before {info.not_before:%Y-%m-%d}."
        )
    certificate = _first_certificate(chain)
    usages = _extension(certificate, x509.ExtendedKeyUsage)
    if usages is None or not _ALLOWED_USAGES.intersection(usages):
        raise SigningKeyInvalid(
            f"The certificate of {info.subject} is not for signing media: it needs the extended key usage"
            " emailProtection, documentSigning or C2PA claim signing."
        )
    constraints = _extension(certificate, x509.BasicConstraints)
    if constraints is not None and constraints.ca:
        raise SigningKeyInvalid(f"{info.subject} is a certificate authority, which cannot sign media itself.")
    return info


def check_pair(pair: KeyPair) -> None:
    """
    Check that a private key belongs to the first certificate of a chain.

    Raises:
        SigningKeyInvalid: the key cannot be read, or belongs to another certificate.
    """
    key, certificate = _load_key(pair.private_key), _first_certificate(pair.chain)
    if _public_bytes(key.public_key()) != _public_bytes(certificate.public_key()):
        raise SigningKeyInvalid("The private key does not belong to the signing certificate.")


def check_signature(chain: str, data: bytes, signature: bytes) -> None:
    """
    Check a signature that was made outside of this process.

    Args:
        chain:     certificates in PEM, the signing certificate first.
        data:      the signed bytes.
        signature: DER for ECDSA; PSS with SHA-256 and a salt of 32 bytes for RSA; 64 bytes for Ed25519.

    Raises:
        SigningFailed: the signature is not one of this certificate's key.
    """
    key = _first_certificate(chain).public_key()
    try:
        if isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, data, ec.ECDSA(_HASHES[key.curve.name]))
        elif isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, data, padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256())
        elif isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(signature, data)
    except (InvalidSignature, ValueError) as error:
        raise SigningFailed(
            "The external signer returned a signature that does not match the signing certificate."
            " ECDSA signatures must be in DER, RSA signatures must use PSS with SHA-256."
        ) from error


def last_certificate(chain: str) -> str:
    """Return the last certificate of a chain in PEM: the authority of a local chain."""
    return _pem(x509.load_pem_x509_certificates(chain.encode())[-1])


def _first_certificate(chain: str) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificates(chain.encode())[0]
    except ValueError as error:
        raise SigningKeyInvalid("The signing certificate is not a certificate chain in PEM.") from error


def _load_key(private_key: str) -> PrivateKey:
    try:
        key = serialization.load_pem_private_key(private_key.encode(), password=None)
    except (ValueError, TypeError) as error:
        raise SigningKeyInvalid("The signing key is not an unencrypted private key in PEM.") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey):
        raise SigningKeyInvalid("The signing key is not an ECDSA, RSA or Ed25519 key.")
    return key


def _algorithm(public_key: object) -> Algorithm:
    if isinstance(public_key, ec.EllipticCurvePublicKey) and public_key.curve.name in _ECDSA:
        return _ECDSA[public_key.curve.name]
    if isinstance(public_key, rsa.RSAPublicKey):
        return "ps256"
    if isinstance(public_key, ed25519.Ed25519PublicKey):
        return "ed25519"
    raise SigningKeyInvalid("The signing certificate's key is not ECDSA P-256 to P-521, RSA or Ed25519.")


def _public_bytes(public_key: object) -> bytes:
    if not isinstance(public_key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey):
        return b""
    return public_key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, ORGANIZATION),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, years: int
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))  # tolerates clocks of other machines that are slow
        .not_valid_after(now + timedelta(days=365 * years))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _extension(certificate: x509.Certificate, kind: type[_Extension]) -> _Extension | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _common_name(name: x509.Name) -> str:
    attributes = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(attributes[0].value) if attributes else name.rfc4514_string()


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _key_pem(key: PrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
