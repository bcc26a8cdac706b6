"""
Figures of benchmarks as JSON: recorded while a benchmark runs, and kept with machine, versions and date.

Format of the file: `{"format": 1, "benchmarks": {NAME: {"measured", "commit", "machine", "versions",
"figures"}}}`. Names of figures end in their unit: `_s`, `_ms`, `_mb`, `_per_s`; ratios have none.
"""

import json
import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from musetalk_core.media.output.ffmpeg import find_ffmpeg

FORMAT = 1
PACKAGES = ("prefect", "torch", "diffusers", "openai-whisper", "ctranslate2", "fastapi")
_REPOSITORY = Path(__file__).resolve().parents[2]
_recorded: dict[str, float] = {}
_peers: dict[str, str] = {}


def record(**figures: float) -> None:
    """
    Record figures of the benchmark that runs; a later value of the same name replaces the former.

    Args:
        figures: values by name; they are kept with four significant digits.
    """
    _recorded.update({name: float(f"{value:.4g}") for name, value in figures.items()})


def record_peer(name: str, release: str) -> None:
    """Record the version of a program that the benchmark compares with and that is not installed here."""
    _peers[name] = release


def take_figures() -> tuple[dict[str, float], dict[str, str]]:
    """Return what was recorded since the last call: the figures, and the versions of peers."""
    taken = dict(_recorded), dict(_peers)
    _recorded.clear()
    _peers.clear()
    return taken


def read(path: Path) -> dict[str, Any]:
    """
    Return the content of a file of figures, or that of an empty one if there is none.

    Raises:
        ValueError: a new file cannot be written there, or the file has another format.
    """
    if not path.exists():
        if not path.parent.is_dir():
            raise ValueError(f"there is no folder {path.parent}")
        return {"format": FORMAT, "benchmarks": {}}
    known: dict[str, Any] = json.loads(path.read_text())
    if known.get("format") != FORMAT:
        raise ValueError(f"{path} has another format than {FORMAT}: name a new file")
    return known


def save(path: Path, benchmark: str, figures: dict[str, float], peers: dict[str, str], load: float) -> None:
    """
    Write the figures of one benchmark into a file; those of other benchmarks are kept.

    Args:
        path:      JSON file; it is made if it does not exist.
        benchmark: name of the benchmark.
        figures:   figures by name.
        peers:     versions of programs that are not installed here, by name.
        load:      average load of the machine when the benchmark began.
    """
    known = read(path)
    known["benchmarks"][benchmark] = {
        "measured": datetime.now(UTC).date().isoformat(),
        "commit": _commit(),
        "machine": {"processor": _processor(), "cores": os.cpu_count(), "load": round(load, 1)},
        "versions": _versions() | peers,
        "figures": figures,
    }
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")
    temporary.replace(path)


def _commit() -> str:
    command = ["git", "-C", str(_REPOSITORY), "describe", "--always", "--dirty", "--exclude", "*"]
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "ffmpeg": _ffmpeg_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _ffmpeg_version() -> str:
    first = subprocess.run([find_ffmpeg(), "-version"], check=True, capture_output=True, text=True).stdout
    return first.split()[2]
