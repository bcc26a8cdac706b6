"""Settings of the REST API, of webhooks, and of the compatibility routes."""

from typing import Literal

from pydantic import Field

from tasks.refs import BucketName
from tasks.settings.field_types import (
    GB,
    BaseUrl,
    Folder,
    LinkSecrets,
    Origins,
    Rates,
    Secrets,
    SettingsGroup,
    SigningSecrets,
)


class ApiSettings(SettingsGroup, frozen=True):
    """The REST API."""

    host: str = Field(
        default="127.0.0.1", description="Address to listen on; also API_HOST. A public one needs keys."
    )
    port: int = Field(default=8080, ge=0, le=65535, description="Port; also API_PORT and PORT.")
    inference_wait_s: float | None = Field(
        default=None,
        ge=0,
        description="How long POST /inference waits before it responds with 202. Empty: until the job ends.",
    )
    inference_max_time_s: int = Field(
        default=7200, ge=60, le=604_800, description="Maximum running time of a job of POST /inference."
    )
    max_wait_s: float = Field(
        default=60.0, ge=0, le=600, description="Maximum wait for `Prefer: wait=SECONDS` on /v1."
    )
    submit_rate: Rates = Field(
        default="",
        description="Rate limit of submissions per tenant, such as 60/minute or 5/second;500/hour. Empty:"
        " none.",
    )
    max_jobs: int = Field(
        default=0,
        ge=0,
        description="Maximum unfinished jobs per tenant; more are refused. 0: no limit.",
    )
    max_upload_bytes: int = Field(default=2 * GB, gt=0, description="Maximum size of an upload.")
    max_open_uploads: int = Field(
        default=32, ge=0, description="Maximum uploads at a time per tenant. 0: no limit."
    )
    max_pending_uploads: int = Field(
        default=100, ge=0, description="Maximum unfinished resumable uploads per tenant. 0: no limit."
    )
    upload_lifetime_s: int = Field(
        default=86_400,
        ge=60,
        le=604_800,
        description="Time after which a resumable upload that is not complete is deleted.",
    )
    upload_timeout_s: float = Field(
        default=3600.0, gt=0, description="Time that a client may take to send an upload."
    )
    upload_min_bytes_per_s: int = Field(
        default=1000,
        ge=0,
        description="Minimum rate of an upload over 30 s; slower ones are aborted. 0: none.",
    )
    body_timeout_s: float = Field(
        default=60.0, gt=0, description="Time that a client may take to send the body of any other request."
    )
    log_format: Literal["text", "json"] = Field(
        default="text", description="Log format of `musetalk api`: text for people, json for machines."
    )
    models_here: bool = Field(
        default=False,
        description="The workers use the models of this computer: refuse jobs at submission if their models"
        " are not installed. `musetalk up` sets this.",
    )
    keys: Secrets = Field(default=(), description="API keys with full access. See also keys_file.")
    keys_file: Folder | None = Field(
        default=None,
        description="File of API keys with tenants, scopes and expiry, as `musetalk keys` writes it. With"
        " neither this nor keys, the API needs no key.",
    )
    link_days: float = Field(
        default=7.0,
        gt=0,
        le=366,
        description="Lifetime in days of the download links that compatibility routes return.",
    )
    link_secrets: LinkSecrets = Field(
        default=(),
        description="Secrets that sign download links, at least 32 characters each; two during a rotation."
        " API and workers of all machines need the same. Empty: a random key in MUSETALK_HOME.",
    )
    download_redirects: bool = Field(
        default=False,
        description="Answer downloads of files in S3 with a redirect to a presigned link that is valid for"
        " one hour. Off: the API sends the bytes.",
    )
    open: bool = Field(
        default=False,
        description="Listen on a public address without keys: anyone who reaches it can use the API. For"
        " private networks and local trials.",
    )
    allowed_origins: Origins = Field(
        default=(),
        description="Origins of web pages that may call the API from a browser (CORS), such as"
        " https://studio.example.com. Empty: none.",
    )
    root_path: str = Field(
        default="",
        max_length=200,
        pattern=r"^(/[A-Za-z0-9._~-]+)*$",
        description="Path below which a proxy serves the API, such as /render. The proxy may remove it from"
        " requests or not. Empty: none.",
    )
    public_url: BaseUrl | None = Field(
        default=None, description="Public URL of the API, for links in webhooks. Empty: links are paths."
    )


class WebhookSettings(SettingsGroup, frozen=True):
    """Webhooks. Their URLs follow the rules of MUSETALK_EGRESS__*."""

    secrets: SigningSecrets = Field(
        default=(),
        description="Signing secrets: whsec_ and base64 of 24 to 64 random bytes; two during a rotation."
        " Empty: unsigned.",
    )
    timeout_s: float = Field(default=10.0, gt=0, le=30, description="Timeout to connect, and for each read.")
    progress_every_s: float = Field(default=10, ge=5, description="Minimum time between progress webhooks.")


class CompatSettings(SettingsGroup, frozen=True):
    """The compatibility routes of the two older services."""

    deadline_word: Literal["failed", "timed_out"] = Field(
        default="failed",
        description="Status of a job that exceeded its time limit. The original's clients stop polling only"
        " at failed.",
    )
    max_time: int = Field(
        default=1200,
        ge=1,
        le=604_800,
        description="Default time limit in seconds of a job of a C3 route; also DEFAULT_MAX_TIME.",
    )
    complete_in: int = Field(
        default=3600,
        ge=1,
        le=2_592_000,
        description="Default deadline in seconds after submission; also DEFAULT_COMPLETE_IN.",
    )
    output_bucket: BucketName = Field(
        default="",
        description="Bucket of results of POST /inference without s3_bucket. Empty: the system's own store.",
    )
    output_prefix: str = Field(
        default="",
        max_length=500,
        description="Folder of results of POST /inference without s3_prefix; {tenant} is the job's tenant.",
    )
    inference_overwrites: bool = Field(
        default=True,
        description="POST /inference replaces an object of the same name, as the original did.",
    )
