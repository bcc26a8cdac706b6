"""Pagination cursors of job lists and logs: opaque to the client, without state on the server."""

import base64
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from api.errors import Problem

_MAX_CURSOR_LENGTH: Final = 65_536


@dataclass(frozen=True, slots=True)
class Cursor:
    """
    A position in a list that is sorted by time.

    Attributes:
        time: timestamp of the last item returned.
        seen: ids of the items with this timestamp that were returned.
    """

    time: datetime
    seen: tuple[UUID, ...]

    def encode(self) -> str:
        """Return the cursor as URL-safe base64 without padding."""
        payload = json.dumps([self.time.isoformat(), [str(one) for one in self.seen]])
        return base64.urlsafe_b64encode(payload.encode()).decode().rstrip("=")

    @classmethod
    def decode(cls, text: str) -> "Cursor":
        """
        Decode a cursor sent by a client.

        Raises:
            Problem: `invalid_input` if the text is not a valid cursor or longer than 65,536 characters.
        """
        try:
            if len(text) > _MAX_CURSOR_LENGTH:
                raise ValueError(len(text))  # noqa: TRY301  one message
            time, seen = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
            return cls(datetime.fromisoformat(time).astimezone(), tuple(UUID(one) for one in seen))
        except (ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise Problem(
                "invalid_input", "Invalid cursor. Send `next_cursor` or `next` of an earlier page."
            ) from error

    def advance(self, items: list[tuple[datetime, UUID]]) -> "Cursor":
        """Return the cursor behind the items returned; ids of items with the same timestamp accumulate."""
        if not items:
            return self
        last_time = items[-1][0]
        already_seen = self.seen if last_time == self.time else ()
        return Cursor(last_time, (*already_seen, *(one for time, one in items if time == last_time)))
