"""How runs are told apart that belong together: a batch or pipeline and the jobs it makes."""

from typing import Final

CHAIN_TAG: Final = "chain"
"""Tag of every run that makes others and waits for them; prefect.yaml gives it to their deployments."""
PART_OF: Final = "part-of:"
"""Tag of a run that a batch or pipeline made; the id of that one's run follows."""
RETRY_OF: Final = "musetalk.retry_of"
"""Label of a run: the one that it does again."""
WORK: Final = "musetalk.work"
"""Label of a part: what it does, as a hash. Two that do the same have the same."""
NAME: Final = "musetalk.part"
"""Label of a part: its step or row."""
YIELDS: Final = "musetalk.yields"
"""Label of a run that waits for others: how often it has given up its place meanwhile."""
WAITING: Final = "Waiting"
"""Name of the state of such a run while it has no place: it has begun, and goes on by itself."""


def part_of(parent: object) -> str:
    """Return the tag of the parts of a run."""
    return f"{PART_OF}{parent}"
