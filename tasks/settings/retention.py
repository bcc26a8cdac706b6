"""Settings of retention: how long jobs, results, uploads and logs are kept."""

from pydantic import Field

from tasks.settings.field_types import SettingsGroup


class RetentionSettings(SettingsGroup, frozen=True):
    """Retention in days, after which the janitor deletes; 0: forever. See docs/how-to/retention.md."""

    jobs_days: int = Field(
        default=30, ge=0, le=36500, description="Finished jobs, with their tasks, logs and reports."
    )
    chores_days: int = Field(
        default=3, ge=0, le=36500, description="Finished runs of janitor and announce; at most jobs_days."
    )
    results_days: int = Field(
        default=30,
        ge=0,
        le=36500,
        description="Results in the system's own store, not in clients' buckets, and notes of deleted"
        " avatars.",
    )
    assets_days: int = Field(
        default=7, ge=0, le=36500, description="Uploaded files, counted from their upload."
    )
    usage_days: int = Field(
        default=400, ge=0, le=36500, description="The ledger of what jobs have used, by day."
    )
    logs_days: int = Field(
        default=30, ge=0, le=36500, description="Log files of earlier processes in MUSETALK_HOME."
    )
