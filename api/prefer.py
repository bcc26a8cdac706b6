"""What a client prefers (RFC 7240): an answer at once, or with the result if that is soon there."""

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
    """The two preferences that are understood; any other is ignored, as it should be."""

    respond_async: bool = False
    wait_s: int | None = None

    @classmethod
    def read(cls, header: str | None) -> "Preference":
        """Read the header; None is none."""
        text = header or ""
        wait = _WAIT.search(text)
        return cls(_ASYNC.search(text) is not None, int(wait[1]) if wait else None)

    def applied(self, waited_s: float | None = None) -> dict[str, str]:
        """
        Return the headers that tell what was honoured.

        Args:
            waited_s: how long was, or would have been, waited; None for not at all.
        """
        told = ["respond-async"] if self.respond_async else []
        if self.wait_s is not None and waited_s is not None:
            told.append(f"wait={int(waited_s)}")
        return {"Vary": "Prefer"} | ({"Preference-Applied": ", ".join(told)} if told else {})
