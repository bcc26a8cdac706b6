"""Where a list or a log goes on: opaque to the caller, nothing kept here."""

import base64
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from api.problems import Problem

_LONGEST: Final = 65_536


@dataclass(frozen=True, slots=True)
class Cursor:
    """The last moment that was given, and everything of that moment that was."""

    time: datetime
    seen: tuple[UUID, ...]

    def write(self) -> str:
        """Turn it into text."""
        said = json.dumps([self.time.isoformat(), [str(one) for one in self.seen]])
        return base64.urlsafe_b64encode(said.encode()).decode().rstrip("=")

    @classmethod
    def read(cls, text: str) -> "Cursor":
        """
        Read it back.

        Raises:
            Problem: `invalid_input`, it is none of ours.
        """
        try:
            if len(text) > _LONGEST:
                raise ValueError(len(text))  # noqa: TRY301  one message
            time, seen = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
            return cls(datetime.fromisoformat(time).astimezone(), tuple(UUID(one) for one in seen))
        except (ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise Problem("invalid_input", "The cursor is none that a page of this list gave.") from error

    def after(self, given: list[tuple[datetime, UUID]]) -> "Cursor":
        """Move on by what was given; several of one moment are all remembered."""
        if not given:
            return self
        last = given[-1][0]
        before = self.seen if last == self.time else ()
        return Cursor(last, (*before, *(one for time, one in given if time == last)))
