"""Phones with times, shared by the starter voice, the aligner and the engines, and their JSON file."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple


class Phone(NamedTuple):
    """
    A speech sound with its times.

    Attributes:
        start_s: seconds from the start of the speech.
        end_s:   seconds from the start of the speech.
        name:    ARPABET name or the starter voice's IPA letter; '' is silence.
    """

    start_s: float
    end_s: float
    name: str


def save_phones(phones: Iterable[Phone], path: Path) -> None:
    """Write phones as a JSON list of [start_s, end_s, name]; times are rounded to 0.1 ms."""
    path.write_text(json.dumps([[round(p.start_s, 4), round(p.end_s, 4), p.name] for p in phones]))


def load_phones(path: Path) -> list[Phone]:
    """Read phones from a file that `save_phones` wrote."""
    return [Phone(float(a), float(b), str(n)) for a, b, n in json.loads(path.read_text())]
