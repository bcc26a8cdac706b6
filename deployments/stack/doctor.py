"""Checks of the `musetalk doctor` command: installation, settings and services, each with a suggested fix."""

import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from tempfile import TemporaryFile
from typing import Any, Literal

from musetalk_core.installation import command, setup_command
from tasks.settings import Settings, unknown_variables

CheckState = Literal["ok", "note", "missing"]
BYTES_PER_GB = 10**9
_SOON_DAYS = 30
"""Days before the end of a certificate from which on it is reported."""
TESTED_PYTHONS = ((3, 11), (3, 12), (3, 13))


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result of one check; its fields are the keys of `musetalk doctor --json`."""

    name: str
    state: CheckState
    detail: str
    mend: str = ""

    @property
    def is_fatal(self) -> bool:
        """Whether rendering is impossible until this is fixed."""
        return self.state == "missing"

    def format_line(self) -> str:
        """Return the result as one line of text."""
        mend = f" -> {self.mend}" if self.mend else ""
        label = {"ok": "OK", "note": "note", "missing": "MISSING"}[self.state]
        return f"{label:<8}{self.name}: {self.detail}{mend}"

    def as_dict(self) -> dict[str, Any]:
        """Return the result as a JSON-compatible dictionary."""
        return asdict(self)


class _CheckFailed(Exception):
    def __init__(self, detail: str, remedy: str, state: CheckState = "missing") -> None:
        super().__init__(detail)
        self.remedy = remedy
        self.state: CheckState = state


def run_checks(settings: Settings) -> list[CheckResult]:
    """
    Run all checks.

    Args:
        settings: current settings.

    Returns:
        One result per check, in the order in which problems should be fixed.
    """
    checks: dict[str, Callable[[Settings], str]] = {
        "python": _check_python,
        "settings": _check_settings,
        "home": _check_home,
        "ffmpeg": _check_ffmpeg,
        "face networks": _check_face_networks,
        "voice": _check_voice,
        "speech aligner": _check_aligner,
        "transcription": _check_transcription,
        "weights": _check_models,
        "store": _check_store,
        "disk": _check_disk,
        "signing": _check_signing,
        "redis": _check_redis,
        "api keys": _check_api_keys,
        "prefect and worker": _check_stack,
    }
    return [_run_check(name, check, settings) for name, check in checks.items()]


def _run_check(name: str, check: Callable[[Settings], str], settings: Settings) -> CheckResult:
    try:
        return CheckResult(name, "ok", check(settings))
    except _CheckFailed as failure:
        return CheckResult(name, failure.state, str(failure), failure.remedy)
    except Exception as error:  # an unexpected error also means that the check failed
        return CheckResult(name, "missing", f"{type(error).__name__}: {error}", setup_command())


def _check_python(_: Settings) -> str:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] not in TESTED_PYTHONS:
        raise _CheckFailed(f"{version} is not tested", "use Python 3.11", "note")
    return version


def _check_settings(settings: Settings) -> str:
    unknown = unknown_variables()
    if unknown:
        raise _CheckFailed(f"unknown variables: {', '.join(unknown)}", "see deployments/env.example", "note")
    return "all MUSETALK_* variables are known"


def _check_home(settings: Settings) -> str:
    try:
        settings.home.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=settings.home):
            pass
    except OSError as error:
        raise _CheckFailed(
            f"{settings.home} is not writable: {error.strerror}", "set MUSETALK_HOME to a writable folder"
        ) from error
    return f"{settings.home} is writable"


def _check_ffmpeg(settings: Settings) -> str:
    from musetalk_core.errors import EncodeError
    from musetalk_core.media.output.ffmpeg import require_ffmpeg

    try:
        binary, version = require_ffmpeg(settings.media.ffmpeg)
    except EncodeError as error:
        is_configured = settings.media.ffmpeg is not None
        remedy = (
            "set MUSETALK_MEDIA__FFMPEG to another ffmpeg, or unset it to use the one that is installed"
            if is_configured
            else setup_command()
        )
        raise _CheckFailed(str(error), remedy) from error
    return f"{binary}, version {version}"


def _check_face_networks(_: Settings) -> str:
    from musetalk_core.faces.tflite import DETECTOR, MESH, load_network

    for model in (DETECTOR, MESH):
        load_network(model)
    return f"{DETECTOR.name} and {MESH.name} load, checksums match"


def _check_voice(_: Settings) -> str:
    from musetalk_core.speech.tts.starter_voice import synthesize

    speech = synthesize("Hello.")
    return f"synthesizes speech ({len(speech.samples) / speech.rate:.1f} s of audio for one word)"


def _check_aligner(_: Settings) -> str:
    from musetalk_core.speech.alignment.pocketsphinx import PhoneRecognizer, WordRecognizer

    PhoneRecognizer()
    WordRecognizer()
    return "pocketsphinx and its English model load"


def _check_transcription(settings: Settings) -> str:
    from tasks.catalog.installed_models import list_transcription_engines

    engines = list(list_transcription_engines())
    problems = [engine.problem for engine in engines if engine.problem]
    if problems:
        raise _CheckFailed(problems[0], setup_command(), "note")
    summaries = "; ".join(engine.summary for engine in engines)
    return f"{summaries}; jobs with engine auto: {settings.models.transcription}"


def _check_models(settings: Settings) -> str:
    from musetalk_core.model_registry.registry import install_command, resolve_models
    from tasks.models.install import open_local_models

    local_models = open_local_models()
    for name in ("musetalk-v15", "musetalk-v1"):
        model_states = [local_models.status(model.name) for model in resolve_models([name])]
        missing_models = [look.model.name for look in model_states if look.missing]
        if not missing_models:
            return f"{name} and the models it requires are in {local_models.folder}"
        if model_states[0].state != "missing":
            raise _CheckFailed(
                f"{name} is incomplete: missing {', '.join(missing_models)} in {local_models.folder}",
                install_command(name),
                "note",
            )
    raise _CheckFailed(
        f"no MuseTalk models in {local_models.folder}: jobs use the viseme engine",
        install_command("musetalk-v15"),
        "note",
    )


def _check_store(settings: Settings) -> str:
    from tasks.storage.store_check import find_store_problem

    problem = find_store_problem(settings)
    if problem:
        remedy = "check MUSETALK_STORE__URL and the MUSETALK_S3__ settings"
        raise _CheckFailed(f"{settings.store_url}: {problem}", remedy)
    return f"{settings.store_url} is readable and writable"


def _check_disk(settings: Settings) -> str:
    folder = settings.home
    while not folder.exists():
        folder = folder.parent
    free_bytes, min_free_bytes = shutil.disk_usage(folder).free, settings.store.min_free_bytes
    if free_bytes < min_free_bytes:
        raise _CheckFailed(
            f"{free_bytes / BYTES_PER_GB:.1f} GB free, {min_free_bytes / BYTES_PER_GB:.1f} GB required",
            "free disk space, or move MUSETALK_HOME",
        )
    return f"{free_bytes / BYTES_PER_GB:.1f} GB free"


def _check_signing(settings: Settings) -> str:
    from musetalk_core.content_credentials.certificates import describe_chain
    from musetalk_core.errors import SigningFailed
    from tasks.content_credentials.local_authority import has_keys
    from tasks.content_credentials.signing_keys import open_signer

    signing = settings.provenance
    if not signing.sign:
        return "off: outputs carry no Content Credentials"
    if signing.certificate_chain is None and not has_keys():
        return "the first job makes a certificate authority and a signing certificate"
    is_local = signing.certificate_chain is None
    remedy = command("provenance keys rotate") if is_local else "replace the certificate and its key"
    try:
        info = describe_chain(open_signer().chain)
    except SigningFailed as error:
        state: CheckState = "missing" if signing.if_signing_fails == "fail" else "note"
        raise _CheckFailed(str(error), remedy, state) from error
    days = (info.not_after - datetime.now(UTC)).days
    if days < _SOON_DAYS:
        raise _CheckFailed(f"the certificate of {info.subject} expires in {days} days", remedy, "note")
    return f"{info.subject}, valid until {info.not_after:%Y-%m-%d}"


def _check_redis(settings: Settings) -> str:
    from deployments.stack.redis import RedisUnusable, require_redis, without_absent_legacy_redis

    settings, warning = without_absent_legacy_redis(settings)
    if warning:
        raise _CheckFailed(warning, "unset REDIS_HOST", "note")
    try:
        require_redis(settings.redis)
    except RedisUnusable as error:
        raise _CheckFailed("not usable", str(error)) from error
    if settings.redis.host is None:
        return "not used: the Prefect server keeps its messages in memory"
    return f"{settings.redis.host}:{settings.redis.port} is Prefect's message broker"


def _check_api_keys(settings: Settings) -> str:
    from api.auth.api_keys import PublicWithoutKeys, is_loopback, require_keys_when_public
    from api.auth.key_file import KeyFileError

    try:
        require_keys_when_public(settings.api)
    except (PublicWithoutKeys, KeyFileError) as error:
        raise _CheckFailed(f"host {settings.api.host} without keys", str(error)) from error
    if is_loopback(settings.api.host):
        return f"not required: the API listens on {settings.api.host} only"
    return f"{len(settings.api.keys)} set"


def _check_stack(settings: Settings) -> str:
    from api.client import ApiError, MusetalkClient
    from deployments.stack.home_lock import find_running_stack

    running_stack = find_running_stack(settings.home)
    server = running_stack.api_url if running_stack else f"http://{settings.api.host}:{settings.api.port}"
    try:
        checks: dict[str, str] = MusetalkClient(server).ready()["checks"]
    except (ApiError, ValueError, KeyError) as error:
        raise _CheckFailed(f"no API responds at {server}", command("up"), "note") from error
    failed_checks = [f"{name}: {text}" for name, text in checks.items() if text != "ok"]
    if failed_checks:
        raise _CheckFailed("; ".join(failed_checks), f"see the logs in {settings.logs}")
    return f"API, Prefect server and worker are ready at {server}"
