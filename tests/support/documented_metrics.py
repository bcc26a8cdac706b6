"""The metrics that docs/reference/metrics.md describes, with their labels."""

import re
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs/reference/metrics.md"


def documented_metrics():
    """The set of labels by metric."""
    rows = re.findall(r"^\| `(musetalk_\w+)` \| \w+ \| ([^|]*)\|", PAGE.read_text(), re.MULTILINE)
    return {name: set(re.findall(r"`(\w+)`", labels)) for name, labels in rows}
