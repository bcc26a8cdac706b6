"""Settings of signed provenance: C2PA Content Credentials of output files."""

from typing import Literal, Self

from pydantic import Field, model_validator

from tasks.settings.field_types import BaseUrl, Folder, SettingsGroup


class ProvenanceSettings(SettingsGroup, frozen=True):
    """Signed provenance of outputs (C2PA Content Credentials), and keys."""

    sign: bool = Field(
        default=True,
        description="Sign every output: embed a C2PA manifest, or store NAME.c2pa beside files that cannot"
        " hold one.",
    )
    if_signing_fails: Literal["fail", "publish"] = Field(
        default="fail",
        description="fail: the job fails with signing_failed; publish: the output is stored without a"
        " manifest, with the warning not_signed.",
    )
    certificate_chain: Folder | None = Field(
        default=None,
        description="PEM file with the signing certificate and its issuers, the signing certificate first."
        " Empty: a local certificate authority in MUSETALK_HOME/provenance.",
    )
    private_key: Folder | None = Field(
        default=None, description="PEM file with the unencrypted private key of the signing certificate."
    )
    signer_command: str | None = Field(
        default=None,
        description="Command that signs instead of private_key, run without a shell: reads the bytes to sign"
        " on standard input, writes the signature to standard output.",
    )
    signer_url: BaseUrl | None = Field(
        default=None,
        description="URL that signs instead of private_key: receives the bytes to sign by POST, responds with"
        " the signature.",
    )
    signer_timeout_s: float = Field(
        default=30.0, gt=0, le=600, description="Timeout of signer_command and signer_url."
    )
    time_stamp_url: BaseUrl | None = Field(
        default=None, description="URL of an RFC 3161 time stamp authority. Empty: no time stamps."
    )
    trusted_certificates: Folder | None = Field(
        default=None,
        description="PEM file with root certificates that verification trusts besides the own ones.",
    )
    fingerprints: bool = Field(
        default=True,
        description="Store fingerprints of pictures and sound, so that verification finds outputs that were"
        " encoded anew and lost their manifest.",
    )
    source_names: bool = Field(
        default=False, description="Publish the file names of inputs in manifests. Off: their roles only."
    )

    @model_validator(mode="after")
    def _require_one_signer(self) -> Self:
        ways = [self.private_key, self.signer_command, self.signer_url]
        count = sum(way is not None for way in ways)
        if count > 1:
            raise ValueError("set only one of private_key, signer_command and signer_url")
        if (self.certificate_chain is not None) != (count == 1):
            raise ValueError(
                "certificate_chain needs one of private_key, signer_command and signer_url, and each of them"
                " needs certificate_chain"
            )
        return self
