"""Settings of the REST shim, of webhooks, and of what clients of the older services see."""

from typing import Literal

from pydantic import Field

from tasks.settings_types import GB, Address, Folder, Group, Origins, Rates, Secrets, SigningSecrets


class ApiSettings(Group, frozen=True):
    """The REST shim."""

    host: str = Field(default="127.0.0.1", description="API_HOST is read too. A public one needs keys.")
    port: int = Field(default=8080, ge=0, le=65535, description="API_PORT and PORT are read too.")
    inference_wait_s: float | None = Field(
        default=None,
        ge=0,
        description="How long POST /inference waits before it answers 202. Empty: until the job ends.",
    )
    inference_max_time_s: int = Field(
        default=7200, ge=60, le=604_800, description="Longest running time of a job of POST /inference."
    )
    max_wait_s: float = Field(
        default=60.0, ge=0, le=600, description="Longest wait that `Prefer: wait=SECONDS` gets on /v1."
    )
    submit_rate: Rates = Field(
        default="", description="Jobs that a tenant may submit, such as 60/minute or 5/second;500/hour."
    )
    max_jobs: int = Field(
        default=0,
        ge=0,
        description="Unfinished jobs that a tenant may have; more are refused. 0: any number.",
    )
    max_upload_bytes: int = Field(default=2 * GB, gt=0)
    log_format: Literal["text", "json"] = Field(
        default="text", description="How `musetalk api` writes its log: for people or for machines."
    )
    models_here: bool = Field(
        default=False,
        description="The workers use the models of this computer: refuse jobs at once that lack theirs."
        " `musetalk up` sets it.",
    )
    keys: Secrets = Field(
        default=(), description="Keys that clients may present, for everything. See keys_file too."
    )
    keys_file: Folder | None = Field(
        default=None,
        description="Keys with tenants, scopes and expiry, as `musetalk keys` writes them. With neither"
        " this nor keys, no key is asked for.",
    )
    allowed_origins: Origins = Field(
        default=(),
        description="Pages of other origins that may use it from a browser, such as"
        " https://studio.example.com. Empty: none.",
    )
    public_url: Address | None = Field(
        default=None, description="Where clients reach it, for links in webhooks. Empty: links are paths."
    )


class WebhookSettings(Group, frozen=True):
    """Telling others that a job has ended. Addresses follow the rules of MUSETALK_EGRESS__*."""

    secrets: SigningSecrets = Field(
        default=(),
        description="whsec_ and base64 of 24 to 64 random bytes; two during a change. Empty: unsigned.",
    )
    timeout_s: float = Field(default=10.0, gt=0, le=30, description="To connect; for each wait for bytes.")
    progress_every_s: float = Field(default=10, ge=5, description="Least time between words of progress.")


class CompatSettings(Group, frozen=True):
    """What the older services' clients are told."""

    deadline_word: Literal["failed", "timed_out"] = Field(
        default="failed",
        description="Status of a job out of time. The original's clients stop asking at failed only.",
    )
    max_time: int = Field(
        default=1200,
        ge=1,
        le=604_800,
        description="Seconds that a job of a C3 route may run if it says none. DEFAULT_MAX_TIME is read too.",
    )
    complete_in: int = Field(
        default=3600,
        ge=1,
        le=2_592_000,
        description="Seconds within which it is to be finished. DEFAULT_COMPLETE_IN is read too.",
    )
    inference_overwrites: bool = Field(
        default=True,
        description="Whether POST /inference replaces an object of the same name, as the original did.",
    )
