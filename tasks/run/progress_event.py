"""Progress events of a run, which an automation turns into webhooks. Imports Prefect only when called."""

import logging

from tasks.run.event_names import PROGRESS_EVENT

_log = logging.getLogger(__name__)


def emit_progress(number: int) -> None:
    """
    Emit the Prefect event that triggers a progress webhook of the current run.

    An error is logged and does not fail the run.

    Args:
        number: number of this event in the run, counted from 1.
    """
    from prefect.events import emit_event
    from prefect.runtime import flow_run

    try:
        emit_event(
            PROGRESS_EVENT,
            resource={
                "prefect.resource.id": f"prefect.flow-run.{flow_run.id}",
                "prefect.resource.name": str(flow_run.name),
            },
            payload={"number": number},
        )
    except Exception as error:
        _log.warning("the progress event was not emitted: %s", error)
