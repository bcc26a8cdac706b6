"""Names that runs, automations and the API agree on. Constants alone, so that everything may import it."""

from typing import Final

NOTIFY_PROGRESS_TAG: Final = "notify-progress"
"""Tag of runs that say now and then how far they are: the others say nothing."""
PROGRESSED: Final = "musetalk.job.progressed"
"""Event in which they say so; its payload has a `number`, from 1."""
