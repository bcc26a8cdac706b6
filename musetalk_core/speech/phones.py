"""Phones with times: the common language of the voice, the aligner and the viseme engine."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple


class Phone(NamedTuple):
    """One sound: ARPABET or the starter voice's IPA letter; '' is silence. Seconds from the start."""

    start_s: float
    end_s: float
    name: str


def save_phones(phones: Iterable[Phone], path: Path) -> None:
    """Write them as JSON, one [start_s, end_s, name] each."""
    path.write_text(json.dumps([[round(p.start_s, 4), round(p.end_s, 4), p.name] for p in phones]))


def load_phones(path: Path) -> list[Phone]:
    """Read what `save_phones` wrote."""
    return [Phone(float(a), float(b), str(n)) for a, b, n in json.loads(path.read_text())]
