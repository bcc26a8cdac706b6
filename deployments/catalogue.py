"""The deployments of prefect.yaml, parsed and validated against the flow registry."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, ValidationError, create_model

from flows.control import USUAL, Control
from flows.registry import FLOWS, JobType

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Timed:
    """A schedule of a deployment: an interval in seconds or a cron expression."""

    every_s: int | None = None
    cron: str | None = None
    timezone: str = "UTC"
    slug: str | None = None
    active: bool = True
    parameters: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class Deployed:
    """A deployment as declared in prefect.yaml."""

    job_type: JobType
    name: str
    entrypoint: str
    description: str
    tags: tuple[str, ...]
    pool: str
    parameters: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Default parameters of runs; the parameters of a schedule take precedence."""
    schedules: tuple["Timed", ...] = ()
    triggers: tuple[Mapping[str, Any], ...] = ()
    """Event triggers that start a run, in the format of prefect.yaml."""


def declaration_file() -> Path:
    """Return the path of prefect.yaml: inside the package in an installed wheel, above it in a checkout."""
    shipped = HERE / "prefect.yaml"
    return shipped if shipped.is_file() else HERE.parent / "prefect.yaml"


def declared(path: Path | None = None) -> list[Deployed]:
    """
    Read and validate the deployments of prefect.yaml.

    Args:
        path: the file; None: the one of this package.

    Raises:
        ValueError: an entry's flow is not in the registry, or the parameters of a schedule are invalid.
    """
    import yaml

    document: dict[str, Any] = yaml.safe_load((path or declaration_file()).read_text())
    return [_deployed(entry) for entry in document["deployments"]]


def _deployed(entry: dict[str, Any]) -> Deployed:
    job_type = FLOWS.get(entry["entrypoint"].rpartition(".")[2])
    if job_type is None:
        raise ValueError(f"prefect.yaml deploys {entry['entrypoint']}, which flows/registry.py does not list")
    deployed = Deployed(
        job_type=job_type,
        name=entry["name"],
        entrypoint=entry["entrypoint"],
        description=entry["description"],
        tags=tuple(entry.get("tags", ())),
        pool=entry["work_pool"]["name"],
        parameters=entry.get("parameters", {}),
        triggers=tuple(entry.get("triggers", ())),
        schedules=tuple(_timed(schedule) for schedule in entry.get("schedules", ())),
    )
    # inactive schedules too: Prefect does not validate them when they are activated
    for timed in deployed.schedules:
        _require_runnable(deployed, timed)
    return deployed


def _require_runnable(deployed: Deployed, timed: Timed) -> None:
    """Validate the parameters of a schedule's runs, which Prefect's scheduler does not do."""
    job_type = deployed.job_type
    accepted = create_model(
        job_type.name,
        __config__=ConfigDict(extra="forbid"),
        job=(job_type.job, ... if job_type.default is None else job_type.default),
        control=(Control, USUAL),
    )
    try:
        accepted.model_validate({**deployed.parameters, **timed.parameters})
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}" for fault in error.errors()
        )
        raise ValueError(
            f"prefect.yaml: a schedule of {job_type.name} has invalid parameters ({faults})."
            " Correct the `parameters` of the schedule or of the deployment."
        ) from error


def _timed(entry: dict[str, Any]) -> Timed:
    return Timed(
        every_s=int(entry["interval"]) if "interval" in entry else None,
        cron=entry.get("cron"),
        timezone=entry.get("timezone", "UTC"),
        slug=entry.get("slug"),
        active=entry.get("active", True),
        parameters=entry.get("parameters", {}),
    )
