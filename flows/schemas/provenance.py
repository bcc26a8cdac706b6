"""Schema of a result's signed provenance: where the C2PA manifest is, and who signed it. Pure pydantic."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from tasks.refs import ObjectRef


class Provenance(BaseModel):
    """Content Credentials (C2PA) of the output files."""

    model_config = ConfigDict(frozen=True)

    manifest: Literal["embedded", "sidecar"] | None = Field(
        default=None,
        description="embedded: in the output file; sidecar: in a file beside it, NAME.c2pa; null: none.",
    )
    signer: str | None = Field(default=None, description="Common name of the signing certificate.")
    mark: str | None = Field(
        default=None, description="Id of the key of the imperceptible mark in picture or sound; null: none."
    )
    sidecars: dict[str, ObjectRef] = Field(
        default={}, description="Manifests beside the output files, by file name."
    )


PROVENANCE_FIELD: Any = Field(
    default=Provenance(), description="Content Credentials: where the signed manifest is, and who signed it."
)
