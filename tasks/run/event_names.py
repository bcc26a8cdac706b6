"""Names of tags and events that runs, automations and the API share. Constants only, without imports."""

from typing import Final

NOTIFY_PROGRESS_TAG: Final = "notify-progress"
"""Tag of runs that emit progress events; other runs emit none."""
PROGRESS_EVENT: Final = "musetalk.job.progressed"
"""Name of the progress event; its payload has a `number`, counted from 1."""
