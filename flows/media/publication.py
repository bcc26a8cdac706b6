"""Publication of a job's outputs: sign them, store them, and record how they were signed."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Final
from uuid import UUID

from flows.lineage.recorder import fields_holding, parent_job
from flows.media.statements import OutputKind, statement_of
from flows.schemas.base import Output
from flows.schemas.provenance import Provenance
from musetalk_core.errors import SigningFailed
from musetalk_core.model_registry.hash_cache import sha256_of
from musetalk_core.warning_codes import WarningCode
from tasks.cache.artefacts import artefact_cache
from tasks.catalog.output_index import IndexedOutput
from tasks.catalog.outputs import PublishedFile, current_job, upload, upload_set
from tasks.content_credentials.signing_keys import signing_certificate
from tasks.refs import Artefact
from tasks.settings import get_settings
from tasks.steps.fingerprint import record_fingerprint
from tasks.steps.sign_outputs import Ingredient, carries_manifest, sign_outputs, signed_key

if TYPE_CHECKING:
    from flows.media.context import JobContext

_ROLE_OF_UNNAMED: Final = "input"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Signed:
    """Signed files, or their manifests, and the common name of the signer."""

    artefact: Artefact
    signer: str


def publish(
    context: "JobContext", made: Artefact, files: Mapping[str, str], output: Output, kind: OutputKind
) -> list[PublishedFile]:
    """
    Sign and store files of a cache entry, and set the provenance of the job's result.

    Args:
        context: context of the run; its inputs become the ingredients of the manifests.
        made:    the cache entry.
        files:   public name, with extension, by file name in the entry. Several files are all of a type that
            holds a manifest, or all of types that do not.
        output:  the output location.
        kind:    what the files are.

    Returns:
        The published files in the order of `files`.

    Raises:
        SigningFailed: the files cannot be signed, and the settings say that the job fails then.
        BucketNotAllowed, UploadFailed, StorageError: see `tasks.storage.s3_store`.
    """
    signed = _sign(context, made, tuple(files), kind) if get_settings().provenance.sign else None
    if signed is None:
        published = _store(made, files, output, None)
    elif all(map(carries_manifest, files)):
        stored = _store(signed.artefact, files, output, None)
        published = [
            replace(one, unsigned_sha256=sha256_of(artefact_cache().file(made, file)))
            for one, file in zip(stored, files, strict=True)
        ]
    else:
        published = _store(made, files, output, signed.artefact)
    mark = context.facts.choices.get("imperceptible_mark")
    context.facts.credentials = _provenance(published, signed).model_copy(update={"mark": mark})
    for one in published:
        context.record_output(one)
    if get_settings().provenance.fingerprints and len(published) == 1:
        made_here = IndexedOutput(job=published[0].job, name=published[0].name, tenant=context.facts.tenant)
        context.finalizers.append(partial(record_fingerprint, made, next(iter(files)), made_here))
    return published


def _sign(context: "JobContext", made: Artefact, files: tuple[str, ...], kind: OutputKind) -> _Signed | None:
    """Sign files; None if that fails and the settings say to publish without a manifest."""
    statement = statement_of(kind, (context.facts.models[name] for name in sorted(context.facts.models)))
    ingredients = tuple(_ingredients(context, kind))
    try:
        certificate = signing_certificate()
        key = signed_key(made, files, statement, ingredients, certificate.fingerprint)
        future = sign_outputs.submit(key, made, files, statement, ingredients, current_job())
        return _Signed(context.wait_for("sign", future), certificate.subject)
    except SigningFailed as error:
        if get_settings().provenance.if_signing_fails == "fail":
            raise
        _log.warning("the output is published without a manifest: %s", error)
        context.warn(WarningCode.NOT_SIGNED(str(error)))
        return None


def _ingredients(context: "JobContext", kind: OutputKind) -> Iterator[Ingredient]:
    request, relationships = context.facts.job.model_dump(mode="json"), dict(kind.relationships)
    for reference, source in context.facts.inputs.items():
        field = next(iter(fields_holding(request, reference)), _ROLE_OF_UNNAMED).rpartition(".")[2]
        parent = parent_job(reference)
        yield Ingredient(
            role=field,
            relationship=relationships.get(field, "inputTo"),
            source=source,
            name=source.name if get_settings().provenance.source_names else None,
            job=UUID(str(parent.job)) if parent else None,
        )


def _store(
    made: Artefact, files: Mapping[str, str], output: Output, sidecars: Artefact | None
) -> list[PublishedFile]:
    if len(files) == 1:
        [(file, name)] = files.items()
        return [upload(made, file, name, output, sidecars)]
    return upload_set(made, files, output, sidecars)


def _provenance(published: list[PublishedFile], signed: _Signed | None) -> Provenance:
    if signed is None:
        return Provenance()
    sidecars = dict(one.sidecar for one in published if one.sidecar is not None)
    return Provenance(manifest="sidecar" if sidecars else "embedded", signer=signed.signer, sidecars=sidecars)
