"""
Signing of files with C2PA manifests.

The manifest is embedded if the standard defines how for the file type. Other files get a sidecar manifest
that is bound to their bytes by a hash. Signing is the last step: programs that rewrite a file later remove or
break its manifest.
"""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any, Final, Literal

from musetalk_core.content_credentials.claims import Claim, manifest_definition
from musetalk_core.content_credentials.ingredients import add_ingredient
from musetalk_core.errors import RenderError, SigningFailed

if TYPE_CHECKING:
    import c2pa

SIDECAR_SUFFIX: Final = ".c2pa"
"""Suffix that a sidecar manifest adds to the name of its file."""
EMBEDDABLE: Final = frozenset(
    {
        "video/mp4",
        "audio/mp4",
        "audio/mpeg",
        "audio/wav",
        "audio/flac",
        "image/jpeg",
        "image/png",
        "image/webp",
    }
)
"""Media types that hold an embedded manifest. Ogg, WebM and text files have no home for one."""
MAX_MANIFEST_BYTES: Final = 4 << 20
"""Limit of a manifest store. Above it, the manifests of input files are left out; their hashes are kept."""
MAX_MANIFESTS: Final = 100
"""Limit of manifests in a store, with the same effect: c2pa-rs cannot read a chain of more than 200."""
_CLAIM_LABEL: Final = b"c2pa.claim"
"""Label of the box with the claim, one in each manifest."""
Algorithm = Literal["es256", "es384", "es512", "ps256", "ps384", "ps512", "ed25519"]

OFFLINE: Final[dict[str, Any]] = {
    "version": 1,
    "builder": {"thumbnail": {"enabled": False}},
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False, "verify_after_sign": False},
}
"""Settings of c2pa-rs for all uses: no thumbnails of pictures in a manifest, and no network requests."""


@dataclass(frozen=True, slots=True)
class Signer:
    """
    A certificate chain with a function that signs.

    Attributes:
        chain:          certificates in PEM, the signing certificate first.
        algorithm:      signature algorithm of its key.
        key:            the private key in PEM; or, for a key that is kept elsewhere, a function that returns
                        the signature of some bytes (DER for ECDSA).
        time_stamp_url: RFC 3161 time stamp authority; None for no time stamp.
    """

    chain: str
    algorithm: Algorithm
    key: str | Callable[[bytes], bytes] = field(repr=False)
    time_stamp_url: str | None = None


def is_embeddable(media_type: str) -> bool:
    """Return whether a manifest can be embedded in files of a media type."""
    return media_type.partition(";")[0] in EMBEDDABLE


def sign_file(source: Path, target: Path, media_type: str, claim: Claim, signer: Signer) -> Path:
    """
    Write a signed copy of a file, or a sidecar manifest if its type cannot hold one.

    Args:
        source:     the finished file.
        target:     the file to write. For a type without embedded manifests, nothing is written there.
        media_type: media type of the file.
        claim:      what the manifest states.
        signer:     certificate chain and signing function.

    Returns:
        `target`; or the sidecar, `target` with `.c2pa` added to its name.

    Raises:
        SigningFailed: the signature could not be made or the file could not be written.
    """
    media_type = media_type.partition(";")[0]
    is_embedded = is_embeddable(media_type)
    written = target if is_embedded else target.with_name(target.name + SIDECAR_SUFFIX)
    try:
        with source.open("rb") as read, written.open("w+b") as write:
            if is_embedded:
                _sign(read, write, media_type, claim, signer, embed=True)
            else:
                with TemporaryFile(dir=target.parent) as unchanged_copy:
                    write.write(_sign(read, unchanged_copy, media_type, claim, signer, embed=False))
    except BaseException as error:
        written.unlink(missing_ok=True)
        if isinstance(error, RenderError) or not isinstance(error, Exception):
            raise
        raise SigningFailed(f"{claim.title} could not be signed: {error}") from error
    return written


def _sign(read: Any, write: Any, media_type: str, claim: Claim, signer: Signer, *, embed: bool) -> bytes:
    """Write a signed copy and return the manifest store."""
    store = _sign_once(read, write, media_type, claim, signer, embed=embed, with_manifests=True)
    is_small = len(store) <= MAX_MANIFEST_BYTES and store.count(_CLAIM_LABEL) <= MAX_MANIFESTS
    if is_small or not claim.ingredients:
        return store
    for stream in (read, write):
        stream.seek(0)
    write.truncate()
    return _sign_once(read, write, media_type, claim, signer, embed=embed, with_manifests=False)


def _sign_once(
    read: Any,
    write: Any,
    media_type: str,
    claim: Claim,
    signer: Signer,
    *,
    embed: bool,
    with_manifests: bool,
) -> bytes:
    import c2pa  # local: loads a library of 16 MB

    with ExitStack() as stack:
        context = stack.enter_context(c2pa.Context(c2pa.Settings.from_dict(OFFLINE)))
        builder = stack.enter_context(c2pa.Builder(manifest_definition(claim, media_type), context))
        if not embed:
            builder.set_no_embed()
        for ingredient in claim.ingredients:
            add_ingredient(builder, context, ingredient, with_manifest=with_manifests)
        failures: list[RenderError] = []
        native = stack.enter_context(_native_signer(signer, failures))
        try:
            return builder.sign(native, media_type, read, write)
        except c2pa.C2paError as error:
            if failures:  # the library replaces errors of a signing function by one of its own
                raise failures[0] from error
            raise


def _native_signer(signer: Signer, failures: list[RenderError]) -> "c2pa.Signer":
    import c2pa

    if isinstance(signer.key, str):
        url = signer.time_stamp_url.encode() if signer.time_stamp_url else None
        info = c2pa.C2paSignerInfo(signer.algorithm.encode(), signer.chain.encode(), signer.key.encode(), url)
        return c2pa.Signer.from_info(info)
    algorithm = c2pa.C2paSigningAlg[signer.algorithm.upper()]
    make_signature = signer.key

    def sign(data: bytes) -> bytes:
        try:
            return make_signature(data)
        except RenderError as error:
            failures.append(error)
            raise

    return c2pa.Signer.from_callback(sign, algorithm, signer.chain, signer.time_stamp_url)
