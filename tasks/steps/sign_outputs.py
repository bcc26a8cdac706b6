"""Prefect task that signs finished files with C2PA manifests, the last step before they are published."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect import task
from pydantic import BaseModel, ConfigDict

from musetalk_core.content_credentials.claims import (
    Action,
    Claim,
    IngredientFile,
    Relationship,
    SourceType,
)
from musetalk_core.content_credentials.file_type import UNKNOWN, detect_media_type
from musetalk_core.content_credentials.isolated import is_manifest_readable
from musetalk_core.content_credentials.signing import is_embeddable, sign_file
from tasks.cache.artefacts import artefact_cache
from tasks.cache.content_keys import content_key
from tasks.catalog.sidecars import read_sidecar
from tasks.content_credentials.signing_keys import open_signer
from tasks.inputs.sources import source_path
from tasks.refs import Artefact, SourceFile
from tasks.run.reports import phase
from tasks.run.task_policies import CACHED_BY_CONTENT, RETRY_COMPUTE, traced
from tasks.storage.media_types import media_type

SIGNED_KIND = "signed"
_VERSION = 1
"""Increase it when the same statement gives another manifest."""


class Statement(BaseModel):
    """
    The statement that a manifest makes about an output. It names no job, tenant or location.

    Attributes:
        title:       generic name of the file, such as `Lip-synced video`.
        action:      what was done to make it.
        source_type: how it was made, a term of the IPTC vocabulary.
        description: one sentence for people.
        program:     name of this program.
        version:     its version.
        facts:       further facts as JSON values: engine, models.
    """

    model_config = ConfigDict(frozen=True)

    title: str
    action: Action
    source_type: SourceType
    description: str
    program: str
    version: str
    facts: dict[str, Any]


class Ingredient(BaseModel):
    """
    An input of a job, for the manifest of its output.

    Attributes:
        role:         the field that named it: `video`, `audio`, `captions`.
        relationship: see `IngredientFile`.
        source:       the fetched file.
        name:         file name to publish; None for none.
        job:          id of the job that made it; None if no job did.
    """

    model_config = ConfigDict(frozen=True)

    role: str
    relationship: Relationship
    source: SourceFile
    name: str | None = None
    job: UUID | None = None


def signed_key(
    made: Artefact,
    files: Sequence[str],
    statement: Statement,
    ingredients: Sequence[Ingredient],
    certificate: str,
) -> str:
    """
    Return the cache key of signed files. No job is part of it, so that a repeated job is not signed again.

    Args:
        made:        cache entry of the finished files.
        files:       their names in it.
        statement:   what the manifest states.
        ingredients: inputs of the job.
        certificate: fingerprint of the signing certificate.
    """
    return content_key(
        kind=SIGNED_KIND,
        version=_VERSION,
        made=[made.kind, made.key],
        files=list(files),
        statement=statement.model_dump(),
        ingredients=[[one.role, one.relationship, one.source.sha256, one.name] for one in ingredients],
        certificate=certificate,
    )


@task(**CACHED_BY_CONTENT, **RETRY_COMPUTE)
@traced
def sign_outputs(
    key: str,
    made: Artefact,
    files: Sequence[str],
    statement: Statement,
    ingredients: Sequence[Ingredient],
    job: UUID,
) -> Artefact:
    """
    Sign finished files: as signed copies, or as `FILE.c2pa` for types that cannot hold a manifest.

    Args:
        key:         `signed_key` of the other arguments.
        made:        cache entry of the finished files.
        files:       their names in it.
        statement:   what the manifests state.
        ingredients: inputs of the job.
        job:         id of the job, which the manifests name. It is not in the key: an equal job that finds
            the signed files in the cache publishes those.

    Raises:
        SigningKeyInvalid: the certificate or key cannot be used.
        SigningFailed:     the signer did not respond or refused, or a file cannot be signed.
        DiskFull:          the disk is full.
    """

    def make(folder: Path) -> None:
        signer, claim = open_signer(), _claim(statement, ingredients, job)
        for file in files:
            path = artefact_cache().file(made, file)
            if path.stat().st_size:  # no hash binds a manifest to an empty file, the text of a silent sound
                sign_file(path, folder / file, media_type(file), claim, signer)

    with phase("sign"):
        return artefact_cache().get_or_create(SIGNED_KIND, key, make)


def _claim(statement: Statement, ingredients: Sequence[Ingredient], job: UUID) -> Claim:
    return Claim(
        title=statement.title,
        action=statement.action,
        source_type=statement.source_type,
        description=statement.description,
        program=statement.program,
        version=statement.version,
        facts={"job": str(job), **statement.facts},
        ingredients=tuple(_ingredient_file(one) for one in ingredients),
    )


def _ingredient_file(ingredient: Ingredient) -> IngredientFile:
    path = source_path(ingredient.source)
    kind = detect_media_type(path)
    if kind == UNKNOWN:
        kind = media_type(ingredient.source.name)
    stored = ingredient.source.stored
    sidecar = read_sidecar(stored) if stored is not None and not is_embeddable(kind) else None
    return IngredientFile(
        role=ingredient.role,
        media_type=kind,
        sha256=ingredient.source.sha256,
        relationship=ingredient.relationship,
        path=path,
        name=ingredient.name,
        job=str(ingredient.job) if ingredient.job else None,
        sidecar=sidecar,
        is_readable=stored is not None or is_manifest_readable(path, kind),
    )


def carries_manifest(file: str) -> bool:
    """Return whether a manifest is embedded in a file of this name, and not stored beside it."""
    return is_embeddable(media_type(file))
