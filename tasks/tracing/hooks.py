"""Set up traces in a process: name of its service, programs that it starts, trace ids in log records."""

import logging
from typing import Any

from musetalk_core.runtime.program_observer import EndCallback, set_program_observer
from tasks.tracing.spans import begin_child, current_traceparent, is_on, name_process


def trace_process(service: str) -> None:
    """
    Let this process trace, if the settings say so.

    Args:
        service: name of the service.
    """
    name_process(service)
    if not is_on():
        return
    set_program_observer(_observe_program)
    _add_ids_to_log_records()


def _observe_program(name: str) -> EndCallback:
    return begin_child(name, {"program": name}, kind="internal")


def _add_ids_to_log_records() -> None:
    """Give each log record of this process `trace_id` and `span_id`, empty outside of spans."""
    make = logging.getLogRecordFactory()
    if getattr(make, "adds_trace_ids", False):
        return

    def make_with_ids(*args: Any, **more: Any) -> logging.LogRecord:
        record, span = make(*args, **more), current_traceparent()
        record.trace_id, record.span_id = (span.trace_id, span.span_id) if span else ("", "")
        return record

    make_with_ids.adds_trace_ids = True  # pyright: ignore[reportFunctionMemberAccess]
    logging.setLogRecordFactory(make_with_ids)
