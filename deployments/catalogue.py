"""What prefect.yaml and the registry say shall exist on a Prefect server."""

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
    """A schedule of a deployment: every so many seconds, or as cron says."""

    every_s: int | None = None
    cron: str | None = None
    timezone: str = "UTC"
    slug: str | None = None
    active: bool = True
    parameters: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class Deployed:
    """One deployment as prefect.yaml declares it."""

    job_type: JobType
    name: str
    entrypoint: str
    description: str
    tags: tuple[str, ...]
    pool: str
    parameters: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Default parameters of runs; those of a schedule take precedence."""
    schedules: tuple["Timed", ...] = ()
    triggers: tuple[Mapping[str, Any], ...] = ()
    """Events that start it, as Prefect spells them in this file."""


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
        ValueError: an entry names no registered job type, or its flow refuses the runs of a schedule.
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
    for timed in deployed.schedules:  # inactive ones too: activating one is not checked
        _require_runnable(deployed, timed)
    return deployed


def _require_runnable(deployed: Deployed, timed: Timed) -> None:
    """Validate the parameters of a schedule's runs; Prefect's scheduler does not."""
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
            f"prefect.yaml: a schedule of {job_type.name} makes runs that its flow refuses ({faults})."
            " Give the schedule, or the deployment, the missing `parameters`."
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
