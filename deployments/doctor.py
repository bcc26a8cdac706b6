"""Checks of the `musetalk doctor` command: installation, settings and services, each with a suggested fix."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import Any, Literal

from tasks.settings import Settings, unknown_variables

State = Literal["ok", "note", "missing"]
GB = 10**9
TESTED_PYTHONS = ((3, 11), (3, 12), (3, 13))


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check; its fields are the keys of `musetalk doctor --json`."""

    name: str
    state: State
    detail: str
    mend: str = ""

    @property
    def is_fatal(self) -> bool:
        """Whether rendering is impossible until this is fixed."""
        return self.state == "missing"

    def line(self) -> str:
        """Return the result as one line of text."""
        mend = f" -> {self.mend}" if self.mend else ""
        word = {"ok": "OK", "note": "note", "missing": "MISSING"}[self.state]
        return f"{word:<8}{self.name}: {self.detail}{mend}"

    def as_dict(self) -> dict[str, Any]:
        """Return the result as a JSON-compatible dictionary."""
        return asdict(self)


class _Fault(Exception):
    def __init__(self, detail: str, mend: str, state: State = "missing") -> None:
        super().__init__(detail)
        self.mend = mend
        self.state: State = state


def examine(settings: Settings) -> list[Finding]:
    """
    Run all checks.

    Args:
        settings: current settings.

    Returns:
        One result per check, in the order in which problems should be fixed.
    """
    checks: dict[str, Callable[[Settings], str]] = {
        "python": _python,
        "settings": _settings,
        "home": _home,
        "ffmpeg": _ffmpeg,
        "face networks": _faces,
        "voice": _voice,
        "speech aligner": _aligner,
        "weights": _weights,
        "store": _store,
        "disk": _disk,
        "redis": _redis,
        "api keys": _keys,
        "prefect and worker": _stack,
    }
    return [_examined(name, check, settings) for name, check in checks.items()]


def _examined(name: str, check: Callable[[Settings], str], settings: Settings) -> Finding:
    try:
        return Finding(name, "ok", check(settings))
    except _Fault as fault:
        return Finding(name, fault.state, str(fault), fault.mend)
    except Exception as error:  # an unexpected error also means that the check failed
        return Finding(name, "missing", f"{type(error).__name__}: {error}", "./run setup")


def _python(_: Settings) -> str:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] not in TESTED_PYTHONS:
        raise _Fault(f"{version} is not tested", "use Python 3.11", "note")
    return version


def _settings(settings: Settings) -> str:
    unknown = unknown_variables()
    if unknown:
        raise _Fault(f"unknown variables: {', '.join(unknown)}", "see deployments/env.example", "note")
    return "all MUSETALK_* variables are known"


def _home(settings: Settings) -> str:
    try:
        settings.home.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=settings.home):
            pass
    except OSError as error:
        raise _Fault(
            f"{settings.home} is not writable: {error.strerror}", "set MUSETALK_HOME to a writable folder"
        ) from error
    return f"{settings.home} is writable"


def _ffmpeg(settings: Settings) -> str:
    from musetalk_core.errors import EncodeError
    from musetalk_core.media.ffmpeg import find_ffmpeg

    try:
        binary = find_ffmpeg(settings.media.ffmpeg)
    except EncodeError as error:
        named = settings.media.ffmpeg is not None
        mend = "set MUSETALK_MEDIA__FFMPEG to an existing ffmpeg, or unset it" if named else "./run setup"
        raise _Fault(str(error), mend) from error
    encoders = subprocess.run(
        [str(binary), "-hide_banner", "-encoders"], capture_output=True, text=True, timeout=180, check=True
    ).stdout
    lacking = [name for name in ("libx264", " aac ") if name not in encoders]
    if lacking:
        raise _Fault(
            f"{binary} has no encoder {', '.join(lacking)}",
            "install a full build, or set MUSETALK_MEDIA__FFMPEG",
        )
    return str(binary)


def _faces(_: Settings) -> str:
    from musetalk_core.faces.models import DETECTOR, MESH, network

    for model in (DETECTOR, MESH):
        network(model)
    return f"{DETECTOR.name} and {MESH.name} load, checksums match"


def _voice(_: Settings) -> str:
    from musetalk_core.speech.voice import speak

    spoken = speak("Hello.")
    return f"synthesizes speech ({len(spoken.samples) / spoken.rate:.1f} s of audio for one word)"


def _aligner(_: Settings) -> str:
    from musetalk_core.speech.recogniser import Listener, Recogniser

    Recogniser()
    Listener()
    return "pocketsphinx and its English model load"


def _weights(settings: Settings) -> str:
    from musetalk_core.weights.manifest import mend, models
    from tasks.weights import layout

    here = layout()
    for name in ("musetalk-v15", "musetalk-v1"):
        looks = [here.look(model.name) for model in models([name])]
        lacking = [look.model.name for look in looks if look.missing]
        if not lacking:
            return f"{name} and the models it requires are in {here.folder}"
        if looks[0].state != "missing":
            raise _Fault(
                f"{name} is incomplete: missing {', '.join(lacking)} in {here.folder}", mend(name), "note"
            )
    raise _Fault(
        f"no MuseTalk models in {here.folder}: jobs use the viseme engine", mend("musetalk-v15"), "note"
    )


def _store(settings: Settings) -> str:
    from tasks.storage import home_store

    mend = "check MUSETALK_STORE__URL and the MUSETALK_S3__ settings"
    key = "health/doctor"
    try:
        store = home_store()
        with TemporaryDirectory() as folder:
            probe = Path(folder) / "probe"
            probe.write_bytes(b"ok")
            store.upload(probe, key)
        found = b"".join(store.read(key))
        store.delete(key)
    except Exception as error:
        raise _Fault(f"{settings.store_url}: {error}", mend) from error
    if found != b"ok":
        raise _Fault(f"{settings.store_url} returned other data than was written", mend)
    return f"{settings.store_url} is readable and writable"


def _disk(settings: Settings) -> str:
    folder = settings.home
    while not folder.exists():
        folder = folder.parent
    free, least = shutil.disk_usage(folder).free, settings.store.min_free_bytes
    if free < least:
        raise _Fault(
            f"{free / GB:.1f} GB free, {least / GB:.1f} GB required", "free disk space, or move MUSETALK_HOME"
        )
    return f"{free / GB:.1f} GB free"


def _redis(settings: Settings) -> str:
    from deployments.messaging import RedisUnusable, require_redis

    try:
        require_redis(settings.redis)
    except RedisUnusable as error:
        raise _Fault("not usable", str(error)) from error
    if settings.redis.host is None:
        return "not used: the Prefect server keeps its messages in memory"
    return f"{settings.redis.host}:{settings.redis.port} is Prefect's message broker"


def _keys(settings: Settings) -> str:
    from api.key_file import KeyFileError
    from api.keys import PublicWithoutKeys, is_loopback, require_keys_when_public

    try:
        require_keys_when_public(settings.api)
    except (PublicWithoutKeys, KeyFileError) as error:
        raise _Fault(f"host {settings.api.host} without keys", str(error)) from error
    if is_loopback(settings.api.host):
        return f"not required: the API listens on {settings.api.host} only"
    return f"{len(settings.api.keys)} set"


def _stack(settings: Settings) -> str:
    from api.client import Api, ApiError
    from deployments.lock import running

    here = running(settings.home)
    server = here.api_url if here else f"http://{settings.api.host}:{settings.api.port}"
    try:
        checks: dict[str, str] = Api(server).ready()["checks"]
    except (ApiError, ValueError, KeyError) as error:
        raise _Fault(f"no API responds at {server}", "musetalk up", "note") from error
    bad = [f"{name}: {text}" for name, text in checks.items() if text != "ok"]
    if bad:
        raise _Fault("; ".join(bad), f"see the logs in {settings.logs}")
    return f"API, Prefect server and worker are ready at {server}"
