"""
All configuration, read from MUSETALK_* environment variables. The only reader of the environment.

Nothing is read at import: `get_settings()` reads once per process.
"""

import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from tasks.settings_api import ApiSettings, CompatSettings, WebhookSettings
from tasks.settings_redis import RedisSettings
from tasks.settings_retention import RetentionSettings
from tasks.settings_seeds import SeedNames
from tasks.settings_types import GB, Address, Folder, Folders, Group, Numbers, Words

PREFIX = "MUSETALK_"


class StoreSettings(Group, frozen=True):
    """Our own store (uploads, outputs, shared artefacts) and this machine's cache of artefacts."""

    url: str | None = Field(
        default=None,
        description="Empty: the folder store in MUSETALK_HOME. Else a folder, s3://bucket/prefix, or a"
        " prefect-aws block, s3-bucket/NAME.",
    )
    cache_folder: Folder | None = Field(
        default=None, description="A fast local disk for artefacts. Empty: the folder cache in MUSETALK_HOME."
    )
    cache_bytes: int = Field(
        default=50 * GB, ge=0, description="Above this the least recently used artefacts are removed."
    )
    local_roots: Folders = Field(
        default=(),
        description="Folders whose files may be read as file:///… inputs, except the system's own store and"
        " files. Empty: none.",
    )
    lineage_files: bool = Field(
        default=True,
        description="Write NAME.lineage.json beside each output: inputs, parameters and models, with hashes.",
    )
    min_free_bytes: int = Field(
        default=2 * GB, ge=0, description="Disk space left alone: no work starts that would begin below it."
    )


class S3Settings(Group, frozen=True):
    """How s3:// references are read and written. Without a block: the AWS default credential chain."""

    endpoint_url: str | None = Field(default=None, description="Set for MinIO and others; empty for AWS.")
    region: str | None = Field(default=None, description="Empty: what the credential chain says.")
    credentials_block: str | None = Field(
        default=None, description="A prefect-aws block: aws-credentials/NAME or minio-credentials/NAME."
    )
    force_path_style: bool = Field(
        default=False, description="endpoint/bucket/key instead of bucket.endpoint/key; MinIO needs it."
    )
    read_buckets: Words | None = Field(
        default=None,
        description="Buckets or bucket/prefix to read; * matches any, {tenant} theirs. Empty: any.",
    )
    write_buckets: Words | None = Field(
        default=None,
        description="Buckets or bucket/prefix to write; * matches any, {tenant} theirs. Empty: any.",
    )
    connect_timeout_s: float = Field(default=5.0, gt=0)
    read_timeout_s: float = Field(default=30.0, gt=0)
    max_attempts: int = Field(default=4, ge=1, description="Tries per call, the first included.")


class MediaSettings(Group, frozen=True):
    """Limits on inputs, and the ffmpeg that reads them. All but `ffmpeg` are the core's `Limits`."""

    ffmpeg: Folder | None = Field(default=None, description="Path of the binary. Empty: the one found.")
    video_pixels: int = Field(default=4096 * 4096, gt=0, description="Pixels of one video frame.")
    still_pixels: int = Field(default=50_000_000, gt=0, description="Pixels of a still image.")
    seconds: int = Field(default=3600, gt=0, description="Duration of a video or a sound track.")
    frame_pixels: int = Field(
        default=200_000_000_000, gt=0, description="Frames times pixels: 27 minutes of 1080p at 60 fps."
    )
    streams: int = Field(default=8, gt=0, description="Streams in one file.")
    rate_hz: int = Field(default=120, gt=0, description="Frames per second.")
    video_bytes: int = Field(default=2 * GB, gt=0)
    audio_bytes: int = Field(default=GB // 5, gt=0)
    still_bytes: int = Field(default=30_000_000, gt=0)


class RenderSettings(Group, frozen=True):
    """How videos are rendered and encoded."""

    engine: Literal["auto", "musetalk", "viseme", "fake"] = Field(
        default="auto",
        description="What `auto` jobs get. auto: musetalk if it is installed, else viseme.",
    )
    chunk_seconds: float = Field(
        default=10.0, gt=0, le=120, description="Length of the unit of caching, retry and memory."
    )
    preview: bool = Field(
        default=True,
        description="Show videos in Prefect's pages: pictures, lips, times. Up to 3 s after the result.",
    )
    threads: int = Field(
        default=0, ge=0, description="Threads that render a chunk; 0: half the cores, 1 to 4."
    )


class ModelSettings(Group, frozen=True):
    """How neural networks run."""

    device: Literal["auto", "cpu", "cuda", "mps"] = Field(
        default="auto", description="Which card of several is said by CUDA_VISIBLE_DEVICES."
    )
    precision: Literal["auto", "fp32", "fp16", "bf16"] = Field(
        default="auto", description="auto: fp16 on cards, fp32 on processors."
    )
    memory_bytes: int = Field(
        default=6 * 1024**3,
        gt=0,
        description="Loaded networks above this are let go, oldest use first.",
    )
    idle_s: float = Field(
        default=600.0, ge=0, description="Networks that nobody asked for that long are let go; 0: never."
    )
    landmarks: Literal["auto", "dwpose", "mesh"] = Field(
        default="auto",
        description="What MuseTalk finds faces with. auto: dwpose if installed, else mesh.",
    )
    batch: int = Field(
        default=32, ge=1, le=256, description="Most frames at once; the best number below it is measured."
    )
    channels_last: bool = Field(default=False, description="Memory layout of images; measure before use.")
    compile: bool = Field(default=False, description="torch.compile: slow at first, faster later.")


class StartSettings(Group, frozen=True):
    """Limits of the start of servers, workers and worker processes."""

    limit_s: float = Field(
        default=1800.0, gt=0, description="Limit of a start, in seconds, whatever progress it makes."
    )
    stall_s: float = Field(
        default=180.0,
        gt=0,
        description="Limit of a start without progress, in seconds: no CPU time, no reads, no log lines.",
    )


class WorkerSettings(Group, frozen=True):
    """The warm worker and its child processes."""

    gpus: Words = Field(
        default=(),
        description="Cards of this worker, one child each; a card named twice is shared by two children."
        " Empty: all that are found, or else the processor.",
    )
    children: int = Field(default=0, ge=0, description="Children where there is no card; 0: one.")
    preload: Words = Field(
        default=(), description="Modules that a child imports before its first run, besides its pool's flows."
    )
    placement_wait_s: float = Field(
        default=1.0, ge=0, description="How long a run waits for the child that has its models and face warm."
    )
    stop_grace_s: float = Field(
        default=1.5, ge=0, description="Between asking a run to stop and killing its process."
    )
    drain_s: float = Field(
        default=600.0, ge=0, description="How long runs may go on after SIGTERM before they are handed back."
    )
    hang_s: float = Field(default=120.0, gt=0, description="A child silent for so long is killed.")
    memory_bytes: int = Field(
        default=0, ge=0, description="A child that holds more is killed, as crashed; 0: no limit."
    )
    growth_bytes: int = Field(
        default=4 * GB,
        ge=0,
        description="A child that grew by more since its first run is replaced; 0: no.",
    )
    max_runs: int = Field(default=0, ge=0, description="Runs after which a child is replaced; 0: never.")
    max_starts: int = Field(
        default=5,
        ge=1,
        description="Attempts of a run, counted when a worker claims it; see docs/explanation/workers.md.",
    )


class EgressSettings(Group, frozen=True):
    """Rules for web addresses that jobs name."""

    allow_http: bool = Field(default=False, description="Also fetch http://, not only https://.")
    allowed_hosts: Words = Field(
        default=(),
        description="host or host:port of private object stores: may have a private address, any port.",
    )
    denied_networks: Words = Field(
        default=(),
        description="Addresses or networks never dialled, allowed_hosts or not: put Prefect and databases.",
    )
    ports: Numbers = Field(default=(80, 443, 8443), description="Ports that a public address may have.")
    connect_timeout_s: float = Field(default=5.0, gt=0)
    first_byte_timeout_s: float = Field(default=10.0, gt=0, description="Also the longest silence later on.")
    total_timeout_s: float = Field(default=300.0, gt=0)
    min_bytes_per_s: int = Field(default=1000, ge=0, description="Slower than this over 30 s: given up.")
    max_redirects: int = Field(default=3, ge=0, le=10)
    per_host: int = Field(default=8, ge=1, description="Downloads at a time from one host, per process.")


class WeightsSettings(Group, frozen=True):
    """Where models are and where `musetalk weights pull` gets them."""

    folder: Folder | None = Field(
        default=None,
        description="A folder laid out like the original's models/, used as it is. Empty: models in"
        " MUSETALK_HOME.",
    )
    endpoint: Address | None = Field(
        default=None, description="Address of a model hub or a mirror. Empty: the hub library's own."
    )
    token: SecretStr | None = Field(
        default=None,
        description="For gated models. Empty: what the hub library is logged in with, on its own hub only.",
    )


class Settings(BaseSettings):
    """Root of all settings; nest with a double underscore, e.g. MUSETALK_STORE__URL."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        env_ignore_empty=True,
        hide_input_in_errors=True,  # what is wrong with a secret is told without it
    )

    home: Folder = Field(
        default=Path("~/.musetalk"), description="Holds the store, the cache, Prefect's files and the logs."
    )
    store: StoreSettings = StoreSettings()
    s3: S3Settings = S3Settings()
    media: MediaSettings = MediaSettings()
    render: RenderSettings = RenderSettings()
    models: ModelSettings = ModelSettings()
    start: StartSettings = StartSettings()
    worker: WorkerSettings = WorkerSettings()
    egress: EgressSettings = EgressSettings()
    weights: WeightsSettings = WeightsSettings()
    api: ApiSettings = ApiSettings()
    webhook: WebhookSettings = WebhookSettings()
    compat: CompatSettings = CompatSettings()
    redis: RedisSettings = RedisSettings()
    retention: RetentionSettings = RetentionSettings()

    @property
    def store_url(self) -> str:
        """Where our own store is, never empty."""
        return self.store.url or str(self.home / "store")

    @property
    def cache_folder(self) -> Path:
        """Where this machine keeps artefacts."""
        return self.store.cache_folder or self.home / "cache"

    @property
    def models_folder(self) -> Path:
        """Where the models are."""
        return self.weights.folder or self.home / "models"

    @property
    def prefect_home(self) -> Path:
        """Prefect's own files, when we start its server."""
        return self.home / "prefect"

    @property
    def logs(self) -> Path:
        """Log files of the processes we start."""
        return self.home / "logs"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then MUSETALK_*, then the seeds' names; no .env file, no secrets folder."""
        return init_settings, env_settings, SeedNames(settings_cls, _environment())


def _environment() -> Mapping[str, str]:
    return os.environ  # noqa: TID251  this module is the one reader


@lru_cache
def get_settings() -> Settings:
    """Read the environment once per process; tests call `get_settings.cache_clear()`."""
    return Settings()


def torch_hub_folder() -> Path:
    """Return where torch keeps the weight files that its hub fetched, by torch's own variables."""
    known = _environment()
    cache = known.get("XDG_CACHE_HOME") or "~/.cache"
    home = known.get("TORCH_HOME") or f"{cache}/torch"
    return Path(home).expanduser() / "hub" / "checkpoints"


def whisper_folder() -> Path:
    """Return where openai-whisper keeps the checkpoints that it fetched, by its own variable."""
    return Path(_environment().get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "whisper"


def unknown_variables() -> tuple[str, ...]:
    """Name the MUSETALK_* variables that no setting takes: most likely typing errors."""
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    names = (name.upper() for name in _environment())
    return tuple(
        sorted(name for name in names if name.startswith(PREFIX) and name.split("__", 1)[0] not in known)
    )
