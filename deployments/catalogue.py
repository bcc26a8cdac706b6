"""What prefect.yaml and the registry say shall exist on a Prefect server."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.registry import FLOWS, JobType

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Deployed:
    """One deployment as prefect.yaml declares it."""

    job_type: JobType
    name: str
    entrypoint: str
    description: str
    tags: tuple[str, ...]
    pool: str
    every_s: tuple[int, ...] = ()
    """Seconds between scheduled runs, one a schedule."""


def declaration_file() -> Path:
    """Return prefect.yaml: beside this module in an installed wheel, above it in a checkout."""
    shipped = HERE / "prefect.yaml"
    return shipped if shipped.is_file() else HERE.parent / "prefect.yaml"


def declared(path: Path | None = None) -> list[Deployed]:
    """
    Read the deployments of prefect.yaml.

    Args:
        path: the file; None takes the one that came with this package.

    Raises:
        ValueError: an entry names no registered job type.
    """
    import yaml

    document: dict[str, Any] = yaml.safe_load((path or declaration_file()).read_text())
    return [_deployed(entry) for entry in document["deployments"]]


def _deployed(entry: dict[str, Any]) -> Deployed:
    job_type = FLOWS.get(entry["entrypoint"].rpartition(".")[2])
    if job_type is None:
        raise ValueError(f"prefect.yaml deploys {entry['entrypoint']}, which flows/registry.py does not list")
    return Deployed(
        job_type=job_type,
        name=entry["name"],
        entrypoint=entry["entrypoint"],
        description=entry["description"],
        tags=tuple(entry.get("tags", ())),
        pool=entry["work_pool"]["name"],
        every_s=tuple(int(schedule["interval"]) for schedule in entry.get("schedules", ())),
    )
