"""The deployments of prefect.yaml, parsed and validated against the flow registry."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, ValidationError, create_model

from flows.registry import FLOWS, JobType
from flows.schemas.control import DEFAULT_CONTROL, Control

PACKAGE_FOLDER = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class ScheduleSpec:
    """A schedule of a deployment: an interval in seconds or a cron expression."""

    interval_s: int | None = None
    cron: str | None = None
    timezone: str = "UTC"
    slug: str | None = None
    active: bool = True
    parameters: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class DeploymentSpec:
    """A deployment as declared in prefect.yaml."""

    job_type: JobType
    name: str
    entrypoint: str
    description: str
    tags: tuple[str, ...]
    pool: str
    parameters: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Default parameters of runs; the parameters of a schedule take precedence."""
    schedules: tuple["ScheduleSpec", ...] = ()
    triggers: tuple[Mapping[str, Any], ...] = ()
    """Event triggers that start a run, in the format of prefect.yaml."""


def deployments_file() -> Path:
    """Return the path of prefect.yaml: inside the package in an installed wheel, above it in a checkout."""
    packaged_file = PACKAGE_FOLDER / "prefect.yaml"
    return packaged_file if packaged_file.is_file() else PACKAGE_FOLDER.parent / "prefect.yaml"


def load_deployments(path: Path | None = None) -> list[DeploymentSpec]:
    """
    Read and validate the deployments of prefect.yaml.

    Args:
        path: the file; None: the one of this package.

    Raises:
        ValueError: an entry's flow is not in the registry, or the parameters of a schedule are invalid.
    """
    import yaml

    document: dict[str, Any] = yaml.safe_load((path or deployments_file()).read_text())
    return [_parse_deployment(entry) for entry in document["deployments"]]


def _parse_deployment(entry: dict[str, Any]) -> DeploymentSpec:
    job_type = FLOWS.get(entry["entrypoint"].rpartition(".")[2])
    if job_type is None:
        raise ValueError(f"prefect.yaml deploys {entry['entrypoint']}, which flows/registry.py does not list")
    spec = DeploymentSpec(
        job_type=job_type,
        name=entry["name"],
        entrypoint=entry["entrypoint"],
        description=entry["description"],
        tags=tuple(entry.get("tags", ())),
        pool=entry["work_pool"]["name"],
        parameters=entry.get("parameters", {}),
        triggers=tuple(entry.get("triggers", ())),
        schedules=tuple(_parse_schedule(schedule) for schedule in entry.get("schedules", ())),
    )
    # inactive schedules too: Prefect does not validate them when they are activated
    for schedule_spec in spec.schedules:
        _validate_schedule(spec, schedule_spec)
    return spec


def _validate_schedule(spec: DeploymentSpec, schedule_spec: ScheduleSpec) -> None:
    """Validate the parameters of a schedule's runs, which Prefect's scheduler does not do."""
    job_type = spec.job_type
    parameters_model = create_model(
        job_type.name,
        __config__=ConfigDict(extra="forbid"),
        job=(job_type.job, ... if job_type.default is None else job_type.default),
        control=(Control, DEFAULT_CONTROL),
    )
    try:
        parameters_model.model_validate({**spec.parameters, **schedule_spec.parameters})
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}" for fault in error.errors()
        )
        raise ValueError(
            f"prefect.yaml: a schedule of {job_type.name} has invalid parameters ({problems})."
            " Correct the `parameters` of the schedule or of the deployment."
        ) from error


def _parse_schedule(entry: dict[str, Any]) -> ScheduleSpec:
    return ScheduleSpec(
        interval_s=int(entry["interval"]) if "interval" in entry else None,
        cron=entry.get("cron"),
        timezone=entry.get("timezone", "UTC"),
        slug=entry.get("slug"),
        active=entry.get("active", True),
        parameters=entry.get("parameters", {}),
    )
