"""
Settings, read from MUSETALK_* environment variables. The only module that reads the environment.

Nothing is read at import: `get_settings()` reads the environment once per process.
"""

import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from tasks.settings.api import ApiSettings, CompatSettings, WebhookSettings
from tasks.settings.field_types import (
    GB,
    BaseUrl,
    Folder,
    Folders,
    Integers,
    PathStyle,
    SettingsGroup,
    Strings,
)
from tasks.settings.legacy_names import LegacyNamesSource
from tasks.settings.mark import MarkSettings
from tasks.settings.metrics import MetricsSettings
from tasks.settings.provenance import ProvenanceSettings
from tasks.settings.redis import RedisSettings
from tasks.settings.render import RenderSettings
from tasks.settings.retention import RetentionSettings
from tasks.settings.start import StartSettings
from tasks.settings.tracing import TracingSettings
from tasks.settings.usage import UsageSettings

PREFIX = "MUSETALK_"


class StoreSettings(SettingsGroup, frozen=True):
    """The system's own store (uploads, outputs, shared cache entries) and the cache of this machine."""

    url: str | None = Field(
        default=None,
        description="A folder, s3://bucket/prefix, or a prefect-aws block, s3-bucket/NAME. Empty: the folder"
        " store in MUSETALK_HOME.",
    )
    cache_folder: Folder | None = Field(
        default=None, description="Cache folder on a fast local disk. Empty: cache in MUSETALK_HOME."
    )
    cache_bytes: int = Field(
        default=50 * GB,
        ge=0,
        description="Size in bytes above which the least recently used cache entries are removed.",
    )
    crops_bytes: int = Field(
        default=2 * GB,
        ge=0,
        description="Size in bytes of the rendered face crops that are kept in the cache, so that a job with"
        " another mask or quality renders nothing again. 0: none.",
    )
    local_roots: Folders = Field(
        default=(),
        description="Folders whose files jobs may read as file:///… inputs, except the system's own store and"
        " files. Empty: none.",
    )
    lineage_files: bool = Field(
        default=True,
        description="Write NAME.lineage.json beside each output: inputs, parameters and models, with hashes.",
    )
    min_free_bytes: int = Field(
        default=2 * GB, ge=0, description="Free disk space in bytes to keep: no new work starts below it."
    )


class S3Settings(SettingsGroup, frozen=True):
    """Access to s3:// references. Without a credentials block: the AWS default credential chain."""

    endpoint_url: str | None = Field(default=None, description="URL of MinIO or another store. Empty: AWS.")
    public_endpoint_url: str | None = Field(
        default=None,
        description="URL of the same store for clients of the API, in presigned links, if endpoint_url is"
        " internal. Empty: endpoint_url. Not used with a credentials block that names an endpoint.",
    )
    region: str | None = Field(default=None, description="Region. Empty: from the credential chain.")
    credentials_block: str | None = Field(
        default=None, description="A prefect-aws block: aws-credentials/NAME or minio-credentials/NAME."
    )
    force_path_style: PathStyle = Field(
        default="auto",
        description="path (or true): endpoint/bucket/key; virtual (or false): bucket.endpoint/key; auto: path"
        " with endpoint_url, virtual on AWS.",
    )
    read_buckets: Strings | None = Field(
        default=None,
        description="bucket or bucket/prefix that jobs may read; * is a wildcard, {tenant} the job's tenant."
        " Empty: any.",
    )
    write_buckets: Strings | None = Field(
        default=None,
        description="bucket or bucket/prefix that jobs may write; * is a wildcard, {tenant} the job's tenant."
        " Empty: any.",
    )
    connect_timeout_s: float = Field(default=5.0, gt=0, description="Timeout to connect.")
    read_timeout_s: float = Field(default=30.0, gt=0, description="Timeout for each read.")
    max_attempts: int = Field(default=4, ge=1, description="Attempts per request, including the first.")


class MediaSettings(SettingsGroup, frozen=True):
    """
    Limits on input media, and the ffmpeg binary.

    All fields but `ffmpeg` are those of the core's `MediaLimits`.
    """

    ffmpeg: Folder | None = Field(
        default=None, description="Path of an ffmpeg binary, version 6.0 or later. Empty: the installed one."
    )
    video_pixels: int = Field(default=4096 * 4096, gt=0, description="Maximum pixels of a video frame.")
    still_pixels: int = Field(default=50_000_000, gt=0, description="Maximum pixels of a still image.")
    seconds: int = Field(default=3600, gt=0, description="Maximum duration of video or audio.")
    frame_pixels: int = Field(
        default=200_000_000_000,
        gt=0,
        description="Maximum of frames times pixels. The default is 27 minutes of 1080p at 60 fps.",
    )
    streams: int = Field(default=8, gt=0, description="Maximum number of streams in one file.")
    rate_hz: int = Field(
        default=120,
        gt=0,
        description="Maximum frames per second of a result.",
    )
    video_bytes: int = Field(default=2 * GB, gt=0, description="Maximum size of a video file.")
    audio_bytes: int = Field(default=GB // 5, gt=0, description="Maximum size of an audio file.")
    still_bytes: int = Field(default=30_000_000, gt=0, description="Maximum size of an image file.")


class ModelSettings(SettingsGroup, frozen=True):
    """Execution of neural networks."""

    device: Literal["auto", "cpu", "cuda", "mps"] = Field(
        default="auto", description="Device type. CUDA_VISIBLE_DEVICES selects one of several GPUs."
    )
    precision: Literal["auto", "fp32", "fp16", "bf16"] = Field(
        default="auto", description="Numeric precision. auto: fp16 on GPUs, fp32 on CPUs."
    )
    memory_bytes: int = Field(
        default=6 * 1024**3,
        gt=0,
        description="Memory in bytes for loaded models. Above it the least recently used are unloaded.",
    )
    idle_s: float = Field(
        default=600.0, ge=0, description="Unload models that have been idle for this long. 0: never."
    )
    landmarks: Literal["auto", "dwpose", "mesh"] = Field(
        default="auto",
        description="Face landmark model of MuseTalk. auto: dwpose if it is installed, else mesh.",
    )
    transcription: Literal["auto", "openai-whisper", "ctranslate2"] = Field(
        default="openai-whisper",
        description="Engine of transcription for jobs with engine auto. ctranslate2: faster, int8 on CPUs;"
        " checkpoints are converted at their first use. auto: ctranslate2 on CPUs for models that are"
        " installed in its format, as the bundled tiny.en, else openai-whisper.",
    )
    batch: int = Field(
        default=32,
        ge=1,
        le=256,
        description="Maximum batch size in frames on a GPU. The best size up to it is measured; a CPU renders"
        " one frame at a time.",
    )
    channels_last: bool = Field(default=False, description="channels_last memory format. Measure before use.")
    compile: bool = Field(default=False, description="Use torch.compile: slow start, faster rendering.")


class WorkerSettings(SettingsGroup, frozen=True):
    """The warm worker and its worker processes."""

    gpus: Strings = Field(
        default=(),
        description="GPUs of this worker, with one worker process each. A GPU that is listed twice is shared"
        " by two processes. Empty: all GPUs, or the CPU if there is none.",
    )
    children: int = Field(default=0, ge=0, description="Worker processes without a GPU. 0: one.")
    health_host: str = Field(
        default="127.0.0.1",
        description="Address on which `musetalk worker --health-port` serves the health check. 0.0.0.0 lets"
        " other machines probe it, as orchestrators of containers do.",
    )
    preload: Strings = Field(
        default=(),
        description="Modules that a worker process imports before its first run, besides its pool's flows.",
    )
    placement_wait_s: float = Field(
        default=1.0,
        ge=0,
        description="How long a run waits for a worker process that has its models and avatar loaded.",
    )
    stop_grace_s: float = Field(
        default=1.5, ge=0, description="Time between canceling a run and killing its process."
    )
    drain_s: float = Field(
        default=600.0, ge=0, description="How long runs may continue after SIGTERM before they are requeued."
    )
    hang_s: float = Field(
        default=120.0, gt=0, description="Kill a worker process that sends no heartbeat for this long."
    )
    memory_bytes: int = Field(
        default=0,
        ge=0,
        description="Memory in bytes above which a worker process is killed; its run crashes. 0: no limit.",
    )
    growth_bytes: int = Field(
        default=4 * GB,
        ge=0,
        description="Replace a worker process whose memory grew by more bytes since its first run. 0: never.",
    )
    max_runs: int = Field(default=0, ge=0, description="Replace a process after this many runs. 0: never.")
    max_starts: int = Field(
        default=5,
        ge=1,
        description="Maximum attempts of a run, counted when a worker claims it."
        " See docs/explanation/workers.md.",
    )


class EgressSettings(SettingsGroup, frozen=True):
    """Egress rules: which URLs of jobs may be fetched."""

    allow_http: bool = Field(default=False, description="Allow http:// besides https://.")
    allowed_hosts: Strings = Field(
        default=(),
        description="host or host:port, such as a private object store, that may have a private IP address"
        " and any port.",
    )
    denied_networks: Strings = Field(
        default=(),
        description="IP addresses or networks that are always denied, allowed_hosts included. List Prefect"
        " and databases.",
    )
    ports: Integers = Field(default=(80, 443, 8443), description="Allowed ports of public hosts.")
    connect_timeout_s: float = Field(default=5.0, gt=0, description="Timeout to connect.")
    first_byte_timeout_s: float = Field(
        default=10.0, gt=0, description="Timeout for the first byte and for each later read."
    )
    total_timeout_s: float = Field(default=300.0, gt=0, description="Timeout for a whole download.")
    min_bytes_per_s: int = Field(
        default=1000, ge=0, description="Downloads that are slower than this over 30 s are aborted."
    )
    max_redirects: int = Field(default=3, ge=0, le=10, description="Maximum redirects of a download.")
    per_host: int = Field(default=8, ge=1, description="Concurrent downloads per host and process.")


class WeightsSettings(SettingsGroup, frozen=True):
    """Model files, and the source of `musetalk weights pull`."""

    folder: Folder | None = Field(
        default=None,
        description="Models folder with the layout of the original MuseTalk's models/. Empty: models in"
        " MUSETALK_HOME.",
    )
    endpoint: BaseUrl | None = Field(
        default=None, description="URL of a model hub or mirror. Empty: the default of huggingface_hub."
    )
    token: SecretStr | None = Field(
        default=None,
        description="Access token for gated models. Empty: the login of huggingface_hub, on its default hub"
        " only.",
    )


class Settings(BaseSettings):
    """All settings; groups and fields are joined by a double underscore, e.g. MUSETALK_STORE__URL."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        env_ignore_empty=True,
        hide_input_in_errors=True,  # an error about a secret must not print the secret
    )

    home: Folder = Field(
        default=Path("~/.musetalk"), description="Folder of the store, the cache, Prefect's files and logs."
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
    mark: MarkSettings = MarkSettings()
    provenance: ProvenanceSettings = ProvenanceSettings()
    retention: RetentionSettings = RetentionSettings()
    metrics: MetricsSettings = MetricsSettings()
    usage: UsageSettings = UsageSettings()
    tracing: TracingSettings = TracingSettings()

    @property
    def store_url(self) -> str:
        """Return the URL or folder of the system's own store; never empty."""
        return self.store.url or str(self.home / "store")

    @property
    def cache_folder(self) -> Path:
        """Return the cache folder of this machine."""
        return self.store.cache_folder or self.home / "cache"

    @property
    def models_folder(self) -> Path:
        """Return the models folder."""
        return self.weights.folder or self.home / "models"

    @property
    def prefect_home(self) -> Path:
        """Return the folder of Prefect's files, for a server that `musetalk up` starts."""
        return self.home / "prefect"

    @property
    def link_key_file(self) -> Path:
        """Return the file of the key that signs download links, if the settings contain no secret for it."""
        return self.home / "link-key"

    @property
    def mark_key_file(self) -> Path:
        """Return the file of the key of the imperceptible mark, if the settings contain no secret for it."""
        return self.home / "provenance" / "mark-key"

    @property
    def provenance_folder(self) -> Path:
        """Return the folder of the local certificate authority and its keys."""
        return self.home / "provenance"

    @property
    def logs(self) -> Path:
        """Return the folder of the log files of the processes that `musetalk up` starts."""
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
        """Return the sources: arguments, MUSETALK_*, legacy names. No .env file, no secrets folder."""
        return init_settings, env_settings, LegacyNamesSource(settings_cls, _environment())


def _environment() -> Mapping[str, str]:
    return os.environ  # noqa: TID251  this module is the one reader


@lru_cache
def get_settings() -> Settings:
    """Read the environment once per process; tests call `get_settings.cache_clear()`."""
    return Settings()


def torch_hub_folder() -> Path:
    """Return the folder of checkpoints that torch.hub downloaded, by torch's own variables."""
    environment = _environment()
    cache = environment.get("XDG_CACHE_HOME") or "~/.cache"
    home = environment.get("TORCH_HOME") or f"{cache}/torch"
    return Path(home).expanduser() / "hub" / "checkpoints"


def whisper_folder() -> Path:
    """Return the folder of checkpoints that openai-whisper downloaded, by its own variable."""
    return Path(_environment().get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "whisper"


def unknown_variables() -> tuple[str, ...]:
    """Return the MUSETALK_* variables that match no setting, most likely typos."""
    known_prefixes = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    names = (name.upper() for name in _environment())
    return tuple(
        sorted(
            name for name in names if name.startswith(PREFIX) and name.split("__", 1)[0] not in known_prefixes
        )
    )
