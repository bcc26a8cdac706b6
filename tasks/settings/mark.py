"""Settings of the imperceptible mark and of the tags of synthetic media."""

from typing import Literal

from pydantic import Field

from tasks.settings.field_types import LinkSecrets, SettingsGroup, Strings


class MarkSettings(SettingsGroup, frozen=True):
    """Imperceptible mark and tags of synthetic picture and sound. See docs/how-to/imperceptible-mark.md."""

    imperceptible: Literal["on", "off"] = Field(
        default="on",
        description="Imperceptible mark of jobs that do not set imperceptible_mark. on: in rendered pictures"
        " and in synthetic speech.",
    )
    tags: bool = Field(
        default=True,
        description="Title and comment (Synthetic media: …) in the MP4, MP3, FLAC and Ogg files of rendered"
        " videos and synthetic speech.",
    )
    label_tenants: Strings = Field(
        default=(),
        description="Tenants whose jobs get a label that people see or hear, also if the job does not ask for"
        " one: a text in a corner of videos, a notice at the start of speech. *: all jobs.",
    )
    secrets: LinkSecrets = Field(
        default=(),
        description="Keys of the imperceptible mark, at least 32 characters each: the first one marks, all of"
        " them are searched for. All workers need the same. Empty: a random key in MUSETALK_HOME/provenance.",
    )
