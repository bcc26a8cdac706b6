"""Option of jobs that make synthetic media: the imperceptible mark. Pure pydantic."""

from typing import Any, Literal

from pydantic import Field

MarkChoice = Literal["on", "off"]

MARK_FIELD: Any = Field(
    default=None,
    title="Imperceptible mark",
    description="Keyed mark in the rendered picture and in synthetic speech, by which `verify` recognizes"
    " outputs of this system. off: pixels outside the face equal the source. Empty: the setting"
    " MUSETALK_MARK__IMPERCEPTIBLE.",
    examples=["on", "off"],
)
