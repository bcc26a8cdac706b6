"""How a run says that it got on, for those who are told by webhook. Light until it is said."""

import logging

from tasks.event_names import PROGRESSED

_log = logging.getLogger(__name__)


def tell_progress(number: int) -> None:
    """
    Say in an event of Prefect's that this run got on; an automation makes a webhook of it.

    Args:
        number: how often it was said, this time included.
    """
    from prefect.events import emit_event
    from prefect.runtime import flow_run

    try:
        emit_event(
            PROGRESSED,
            resource={
                "prefect.resource.id": f"prefect.flow-run.{flow_run.id}",
                "prefect.resource.name": str(flow_run.name),
            },
            payload={"number": number},
        )
    except Exception as error:
        _log.warning("nobody was told of the progress: %s", error)
