"""Logging configuration of the API: text or JSON lines, both with the request id."""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Final, Literal

LOGGER_NAME: Final = "musetalk.api"
_REQUEST_FIELDS: Final = ("request_id", "method", "path", "status", "ms", "caller")
"""Extra fields of a log record about a request."""
_TRACE_FIELDS: Final = ("trace_id", "span_id")
"""Extra fields of a log record within a span, see `tasks.tracing.hooks`."""


class JsonFormatter(logging.Formatter):
    """Formats a log record as one JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as a JSON object."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **{name: getattr(record, name) for name in _REQUEST_FIELDS if hasattr(record, name)},
            **{name: value for name in _TRACE_FIELDS if (value := getattr(record, name, ""))},
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


class TextFormatter(logging.Formatter):
    """Formats a log record as UTC time, level, message and request id."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as a line of text."""
        time = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S")
        request_id = getattr(record, "request_id", "")
        line = f"{time} {record.levelname} {record.getMessage()}{f' [{request_id}]' if request_id else ''}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def configure_logging(log_format: Literal["text", "json"]) -> None:
    """
    Send the log of this process, including uvicorn's errors, to stderr.

    Args:
        log_format: format of the lines.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    for name in (LOGGER_NAME, "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.setLevel(logging.INFO)
        logger.handlers[:] = []
        logger.propagate = True


def escaped(text: str) -> str:
    """Escape non-printable characters, newlines above all, so that client text cannot forge log lines."""
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)
