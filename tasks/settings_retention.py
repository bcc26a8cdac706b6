"""How long things are kept that nobody asks to remove."""

from pydantic import Field

from tasks.settings_types import Group


class RetentionSettings(Group, frozen=True):
    """Days until maintenance removes things; 0 keeps them forever. See docs/how-to/retention.md."""

    jobs_days: int = Field(
        default=30, ge=0, le=36500, description="Finished jobs, with their tasks, logs and reports."
    )
    chores_days: int = Field(
        default=3, ge=0, le=36500, description="Finished runs of janitor and announce; never above jobs_days."
    )
    results_days: int = Field(
        default=30,
        ge=0,
        le=36500,
        description="Results in our own store, not in clients' buckets, and notes of avatars that are gone.",
    )
    assets_days: int = Field(default=7, ge=0, le=36500, description="Uploaded files, from their upload.")
    logs_days: int = Field(
        default=30, ge=0, le=36500, description="Log files of earlier processes in MUSETALK_HOME."
    )
