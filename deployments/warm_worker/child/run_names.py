"""Names for runs that were created without one: by schedules, automations and Prefect's own forms."""

import contextlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from uuid import UUID

from flows.prefect_state.run_names import is_generated_name, job_run_name
from flows.registry import FLOWS, JOB_TYPES

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun


def name_run(run: "FlowRun", flow_name: str) -> None:
    """
    Replace a generated name of a run, such as `crimson-fox`, by one that names its files or its purpose.

    A name that the creator of the run chose is kept. If the server does not accept the name, the run proceeds
    under the generated one.

    Args:
        run:       the run; its name is updated.
        flow_name: name of its flow.
    """
    from prefect.client.orchestration import get_client

    if not is_generated_name(run.name) or flow_name not in FLOWS:
        return
    name = describe_run(flow_name, run.parameters, run.id)
    with contextlib.suppress(Exception), get_client(sync_client=True) as client:
        client.update_flow_run(run.id, name=name)
        run.name = name


def describe_run(flow_name: str, parameters: Mapping[str, Any], run_id: UUID) -> str:
    """Return the name of a run from its flow and parameters, which may be invalid."""
    job: Any = parameters.get("job")
    fields: Mapping[str, Any] = job if isinstance(job, Mapping) else {}
    if flow_name in JOB_TYPES:
        return job_run_name(flow_name, FLOWS[flow_name].job, fields, run_id.hex)
    about = fields.get("run")  # the job whose webhooks or child jobs this run looks after
    purpose = f"{flow_name}: job {str(about)[:8]}" if about else flow_name
    return f"{purpose} ({run_id.hex[:8]})"
