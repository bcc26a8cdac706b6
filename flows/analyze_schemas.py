"""What callers of `analyze` send and get back. Pure pydantic, as `flows.schemas`."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, cast

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from flows.job import OUTPUT, Job, Output
from tasks.refs import MediaUri, ObjectRef

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Feature = Literal["caption", "detailed", "ocr", "objects", "tags", "faces"]
AnalyzeModel = Literal[
    "auto", "starter", "florence-2-base", "florence-2-large", "smolvlm-256m", "smolvlm-500m", "qwen3-vl-2b"
]


def _once(features: tuple[Feature, ...]) -> tuple[Feature, ...]:
    return tuple(dict.fromkeys(features))


def _alias(values: Any) -> Any:
    """`prompt` is another name of `question`."""
    if not isinstance(values, dict) or "prompt" not in values:
        return values
    named: dict[str, Any] = {**cast(dict[str, Any], values)}
    prompt = named.pop("prompt")
    if named.get("question") not in (None, prompt):
        raise ValueError("question and prompt are two names of one field; give one of them")
    return named | {"question": prompt}


class AnalyzeJob(Job):
    """Say what a picture shows: describe it, answer a question, find text, objects and faces."""

    image: MediaUri = Field(
        title="Picture",
        description="png, jpeg, webp, gif, bmp, tiff or avif: s3://, https:// or asset://.",
        examples=["s3://media/pictures/desk.jpg"],
    )
    question: str | None = Field(
        default=None,
        min_length=1,
        max_length=2000,
        title="Question",
        description="What to find out, in words; `prompt` is another name. The small models that come with"
        " the installation answer none, and say so.",
        examples=["How many people are in the picture?"],
    )
    features: Annotated[tuple[Feature, ...], AfterValidator(_once)] = Field(
        default=(),
        max_length=12,
        title="What to look for",
        description="caption and detailed: descriptions; ocr: lines of text; objects, faces: with boxes;"
        " tags: what the whole looks like. Empty: a description only.",
        examples=[["caption", "ocr", "faces"]],
    )
    length: Literal["short", "normal", "long"] = Field(
        default="normal", title="Length", description="Of the description or the answer."
    )
    model: AnalyzeModel = Field(
        default="auto",
        title="Model",
        description="What writes the text; auto takes the best that is installed, starter the small models"
        " that come with the installation.",
    )
    output: Output = OUTPUT

    @model_validator(mode="before")
    @classmethod
    def _take_alias(cls, values: Any) -> Any:
        return _alias(values)


_BOX: Any = Field(
    description="x1, y1, x2, y2, half-open, inside the picture: pixels of the original as a person sees it,"
    " after the rotation that its EXIF data asks for."
)
_SCORE: Any = Field(ge=0, le=1, description="0 to 1, how sure; null where the model does not say.")
_Pixels = tuple[int, int, int, int]


class Found(BaseModel):
    """Base of what is found."""

    model_config = ConfigDict(frozen=True)

    @classmethod
    def of(cls, record: "DataclassInstance") -> Self:
        """Make it of the core's record of the same shape."""
        fields = asdict(record)
        if "box" in fields:
            fields["box"] = tuple(fields["box"].values())
        return cls.model_validate(fields)


class FoundTag(Found):
    """What the picture as a whole looks like."""

    label: str
    score: float | None = _SCORE


class FoundThing(Found):
    """Something with a place."""

    label: str
    box: _Pixels = _BOX
    score: float | None = _SCORE


class FoundText(Found):
    """A line of text."""

    text: str
    box: _Pixels = _BOX
    corners: tuple[tuple[int, int], ...] = Field(
        description="Four x, y from the line's own top left, clockwise as it is read; same pixels as the box."
    )
    score: float | None = _SCORE


class AnalyzeResult(BaseModel):
    """What a picture shows. Coordinates are pixels of the original, upright by its EXIF data."""

    text: str = Field(description="The answer, or the description; says so when a question was not answered.")
    model: str = Field(
        description="What wrote the text; starter = a sentence composed of what small models saw."
    )
    answered: bool | None = Field(description="Whether the question was answered; null without one.")
    caption: str | None = Field(description="A short description, when asked for.")
    detailed: str | None = Field(description="A long description, when asked for.")
    ocr: list[FoundText] | None = Field(description="Lines from top to bottom; null when not asked for.")
    objects: list[FoundThing] | None = Field(description="Null when not asked for, or nothing finds them.")
    faces: list[FoundThing] | None = Field(description="Largest first; null when not asked for.")
    tags: list[FoundTag] | None = Field(description="Surest first; null when not asked for.")
    made_by: dict[str, str] = Field(description="Part of the analysis -> model that did it.")
    width: int = Field(description="Of the original, upright.")
    height: int = Field(description="Of the original, upright.")
    format: str = Field(description="png, jpeg, webp, gif, bmp, tiff or avif.")
    picture: ObjectRef = Field(description="A JPEG with the boxes drawn in, shrunk if large.")
    name: str = Field(description="Its name.")
    cached: list[str] = Field(description="Steps that were taken from the cache.")
    timings_s: dict[str, float] = Field(description="Seconds per phase.")
    warnings: list[str] = []
