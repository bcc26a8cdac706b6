"""The API's log: a line of text for people, or of JSON for machines, with the request's id in both."""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Final, Literal

LOGGER: Final = "musetalk.api"
_FIELDS: Final = ("request_id", "method", "path", "status", "ms", "caller")
"""What a line on a request has besides its text."""


class JsonLines(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Write a record."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **{name: getattr(record, name) for name in _FIELDS if hasattr(record, name)},
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


class TextLines(logging.Formatter):
    """Time, level, text, and the request's id at the end."""

    def format(self, record: logging.LogRecord) -> str:
        """Write a record."""
        time = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S")
        request_id = getattr(record, "request_id", "")
        line = f"{time} {record.levelname} {record.getMessage()}{f' [{request_id}]' if request_id else ''}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def configure(form: Literal["text", "json"]) -> None:
    """
    Send the log of this process to stderr.

    Args:
        form: how its lines look; those of the server around the API too.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if form == "json" else TextLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    for name in (LOGGER, "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.setLevel(logging.INFO)
        logger.handlers[:] = []
        logger.propagate = True


def said(text: str) -> str:
    """Make a client's text fit for a line: what is not printable, a line's end above all, is escaped."""
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)
