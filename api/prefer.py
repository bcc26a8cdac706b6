"""The Prefer header (RFC 7240): `respond-async`, and `wait=SECONDS` for long polling."""

import re
from dataclasses import dataclass
from typing import Annotated

from fastapi import Header

PreferHeader = Annotated[
    str | None, Header(alias="Prefer", description="respond-async, wait=SECONDS", examples=["wait=20"])
]
_WAIT = re.compile(r"(?:^|[,;\s])wait=(\d{1,9})(?![\d.])", re.IGNORECASE)
_ASYNC = re.compile(r"(?:^|[,;\s])respond-async(?=$|[,;\s])", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Preference:
    """The two supported preferences; others are ignored, as RFC 7240 requires."""

    respond_async: bool = False
    wait_s: int | None = None

    @classmethod
    def parse(cls, header: str | None) -> "Preference":
        """Parse the header; None if it was not sent."""
        text = header or ""
        wait = _WAIT.search(text)
        return cls(_ASYNC.search(text) is not None, int(wait[1]) if wait else None)

    def applied_headers(self, waited_s: float | None = None) -> dict[str, str]:
        """
        Return the `Vary` and `Preference-Applied` headers.

        Args:
            waited_s: the wait that was applied, in seconds; None if waiting does not apply.
        """
        told = ["respond-async"] if self.respond_async else []
        if self.wait_s is not None and waited_s is not None:
            told.append(f"wait={int(waited_s)}")
        return {"Vary": "Prefer"} | ({"Preference-Applied": ", ".join(told)} if told else {})
