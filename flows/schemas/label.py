"""Options of jobs that make synthetic media: label and imperceptible mark. Pure pydantic."""

import unicodedata
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

LabelLanguage = Literal["en", "de", "es", "fr", "it", "nl", "pl", "pt"]
_RIGHT_TO_LEFT = {"R", "AL"}


def _check_line(text: str) -> str:
    if not text.isprintable() or not text.strip():
        raise ValueError("a label is one line of printable characters")
    if any(unicodedata.bidirectional(character) in _RIGHT_TO_LEFT for character in text):
        raise ValueError("a label is written from left to right")
    return text


LabelText = Annotated[str, StringConstraints(min_length=1, max_length=80), AfterValidator(_check_line)]


class MediaLabel(BaseModel):
    """A label that people see or hear: a text in the picture, or a spoken notice."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    show: Literal["none", "corner", "opening", "spoken"] = Field(
        default="none",
        title="Label",
        description="corner: a text in a corner of the picture; opening: a text over the dimmed picture in"
        " the first seconds; spoken: a notice at the start of the sound, in the voice of synthesized speech,"
        " or in the starter voice before a given recording; none: no label, unless"
        " MUSETALK_MARK__LABEL_TENANTS requires one.",
    )
    language: LabelLanguage = Field(
        default="en",
        title="Language",
        description="Language of the text, if no text is given. Spoken notices are English.",
        examples=["de"],
    )
    text: LabelText | None = Field(
        default=None,
        title="Text",
        description="Text of the label. Empty: `AI-generated` in the language, or a spoken sentence.",
        examples=["AI-generated"],
    )
    corner: Literal["top_left", "top_right", "bottom_left", "bottom_right"] = Field(
        default="bottom_right", title="Corner", description="Corner of the picture."
    )
    size: float = Field(
        default=4.0,
        ge=2,
        le=10,
        title="Size",
        description="Size of the text in percent of the picture's height; a wide text is smaller. The text of"
        " opening is twice as large.",
        examples=[4.0],
    )
    seconds: float = Field(
        default=3.0,
        ge=1,
        le=30,
        title="Duration",
        description="Seconds for which opening is shown from the start of the video.",
        examples=[3.0],
    )

    @model_validator(mode="after")
    def _check_language(self) -> Self:
        if self.show == "spoken" and self.language != "en":
            raise ValueError("spoken notices are English: use language en, or show corner")
        return self


LABEL_FIELD: Any = Field(
    default=MediaLabel(), title="Label", description="Label that people see or hear: the media is synthetic."
)


def refuse(label: MediaLabel, show: Literal["corner", "opening"], reason: str) -> None:
    """Raise a ValueError with the reason if a job asks for a label that its output cannot have."""
    if label.show == show:
        raise ValueError(reason)


MarkChoice = Literal["on", "off"]

MARK_FIELD: Any = Field(
    default=None,
    title="Imperceptible mark",
    description="Keyed mark in the rendered picture and in synthetic speech, by which `verify` recognizes"
    " outputs of this system. off: pixels outside the face equal the source. Empty: the setting"
    " MUSETALK_MARK__IMPERCEPTIBLE.",
    examples=["on", "off"],
)
