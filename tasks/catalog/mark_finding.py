"""Result of a search for the imperceptible mark. Pure pydantic: schemas of results use it."""

from pydantic import BaseModel, ConfigDict, Field


class MarkEvidence(BaseModel):
    """Evidence for a mark in the picture or the sound of a file."""

    model_config = ConfigDict(frozen=True, from_attributes=True)

    found: bool = Field(description="Whether the mark is present.")
    score: float = Field(
        description="Correlation with the pattern, in standard deviations of unmarked media."
    )
    false_alarm_bound: float = Field(
        description="Upper bound of the probability that media without the mark gives this result."
    )


class MarkFinding(BaseModel):
    """Imperceptible marks of this system in a file."""

    model_config = ConfigDict(frozen=True)

    found: bool = Field(description="Whether picture or sound carry the mark: the file was made here.")
    key: str | None = Field(description="Id of the key of the mark; null if none was found.")
    picture: MarkEvidence | None = Field(description="Null if the file has no picture.")
    sound: MarkEvidence | None = Field(description="Null if the file has no sound.")
