"""Request and result schemas of the verify job. Pure pydantic."""

from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from flows.schemas.base import JobParameters, Usage, Warnings
from tasks.catalog.mark_finding import MarkFinding
from tasks.refs import MediaUri

VerificationState = Literal["valid", "unknown_signer", "altered", "no_manifest"]


class VerifyJob(JobParameters):
    """Check the Content Credentials of a file: who signed it, whether it was changed, what it states."""

    media: MediaUri = Field(
        title="File", description="File to check, of any type.", examples=["s3://media/renders/anna.mp4"]
    )
    sidecar: MediaUri | None = Field(
        default=None,
        title="Manifest",
        description="Manifest beside the file. Empty: the embedded one, else NAME.c2pa beside the output of a"
        " job or the object of a bucket.",
        examples=["s3://media/renders/anna.ogg.c2pa"],
    )


class CheckedManifest(BaseModel):
    """Statements of a manifest. All texts come from the file and are cut at 300 characters."""

    model_config = ConfigDict(extra="ignore")

    title: str | None = Field(description="Title of the file.")
    program: str | None = Field(description="Name and version of the program that signed it.")
    signer: str | None = Field(description="Common name of the signing certificate.")
    issuer: str | None = Field(description="Organization of its issuer.")
    signed_at: str | None = Field(description="Time of an RFC 3161 time stamp; null without one.")
    actions: list[str] = Field(description="What was done, such as c2pa.created.")
    description: str | None = Field(description="Sentence about the main action.")
    source_types: list[str] = Field(description="IPTC terms for how the file was made.")
    facts: dict[str, Any] = Field(description="Job, engine and models, if this program signed it.")
    ingredients: list["CheckedIngredient"] = Field(description="Input files.")


class CheckedIngredient(BaseModel):
    """An input file, as a manifest states it."""

    model_config = ConfigDict(extra="ignore")

    title: str = Field(description="Role or file name.")
    relationship: str = Field(description="parentOf, componentOf or inputTo.")
    media_type: str | None
    sha256: str | None = Field(description="SHA-256 of its bytes, if this program signed the manifest.")
    problems: list[str] = Field(description="Failures of its own manifest when it was added; empty: none.")
    manifest: CheckedManifest | None = Field(description="Its own manifest; null if it had none.")


class FoundOutput(BaseModel):
    """An output of this installation that the file is, or was made from."""

    job: UUID
    name: str
    how: Literal["file", "fingerprint"] = Field(
        description="file: the same bytes, with or without the manifest; fingerprint: similar picture or"
        " sound."
    )
    confidence: float = Field(
        description="1 for equal bytes. Fingerprints: 1 - 2 * (share of bits that differ); 0 is chance. The"
        " mean of picture and sound; half of the picture's if both files have sound and only pictures match."
    )
    picture: float | None = Field(
        description="Confidence by the pictures alone; null: no match, or none compared."
    )
    sound: float | None = Field(
        description="Confidence by the sound alone; null: no match, or none compared."
    )


class VerifyResult(BaseModel):
    """The verification of a file."""

    state: VerificationState = Field(
        description="valid: unchanged, and the signer is trusted here; unknown_signer: unchanged, the signer"
        " is not trusted here; altered: changed after signing, or the manifest cannot be read; no_manifest."
    )
    problems: list[str] = Field(description="Failure codes of the C2PA specification, or a sentence.")
    embedded: bool = Field(description="Whether the manifest is inside the file.")
    manifest: CheckedManifest | None = Field(description="Its statements; null if there is none to read.")
    sha256: str = Field(description="SHA-256 of the file.")
    media_type: str = Field(description="Media type, from the first bytes of the file.")
    found: list[FoundOutput] = Field(
        description="Outputs of this installation that the file equals or resembles, best first; searched if"
        " the file has no intact manifest."
    )
    mark: MarkFinding | None = Field(
        default=None,
        description="Imperceptible mark of this system; searched if the file has no intact manifest. Null:"
        " not searched, or the file is no media.",
    )
    cached: list[str] = Field(description="Steps whose results came from the cache.")
    timings_s: dict[str, float] = Field(description="Seconds per phase.")
    usage: Usage = {}
    warnings: Warnings = []
