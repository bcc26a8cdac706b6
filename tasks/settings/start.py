"""Settings of the start of processes."""

from pydantic import Field

from tasks.settings.field_types import SettingsGroup


class StartSettings(SettingsGroup, frozen=True):
    """Timeouts for the start of servers, workers and worker processes."""

    limit_s: float = Field(
        default=1800.0, gt=0, description="Timeout for a start in seconds, whatever its progress."
    )
    stall_s: float = Field(
        default=180.0,
        gt=0,
        description="Timeout for a start without progress in seconds: no CPU time, no reads, no log lines.",
    )
