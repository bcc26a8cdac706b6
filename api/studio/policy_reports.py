"""Reports of violations of the studio's Content-Security-Policy: logged up to a rate, and counted."""

import json
import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlsplit

from api.errors import Problem
from api.logging import LOGGER_NAME, escaped

MAX_PER_MINUTE: Final = 30
"""Reports that are logged per minute and process; more are refused."""
_MAX_TEXT: Final = 200
_log = logging.getLogger(LOGGER_NAME)


class PolicyReports:
    """Receives reports, which anybody can send: nothing but a log line and a counter comes of one."""

    def __init__(self, count: Callable[[], None]) -> None:
        """Create a receiver that calls `count` for each report that is logged."""
        self._count = count
        self._times: deque[float] = deque(maxlen=MAX_PER_MINUTE)

    def add(self, body: bytes) -> None:
        """
        Log and count a report.

        Args:
            body: JSON in the format of `report-uri`.

        Raises:
            Problem: `rate_limited`, `malformed_request`.
        """
        now = time.monotonic()
        if len(self._times) == MAX_PER_MINUTE and now - self._times[0] < 60:
            raise Problem("rate_limited", "Too many reports.", headers={"Retry-After": "60"})
        self._times.append(now)
        report = _parse(body)
        page = urlsplit(report.get("document-uri", "")).path
        source = urlsplit(report.get("source-file", "")).path
        self._count()
        _log.warning(
            "content security policy violated: %s blocked %s on %s, %s:%s",
            *(_short(report.get(name, "")) for name in ("effective-directive", "blocked-uri")),
            *(_short(text) for text in (page, source, report.get("line-number", ""))),
        )


def _parse(body: bytes) -> dict[str, str]:
    try:
        document: Any = json.loads(body)
        report: Any = document["csp-report"]
        return {str(name): str(value) for name, value in report.items()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise Problem("malformed_request", "The body is not a report of a policy violation.") from error


def _short(text: str) -> str:
    return escaped(text[:_MAX_TEXT]) or "-"
