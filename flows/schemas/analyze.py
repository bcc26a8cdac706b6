"""Request and result schemas of the analyze job. Pure pydantic."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, cast

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from flows.schemas.base import FALLBACK_FIELD, OUTPUT_FIELD, JobParameters, Output, Usage, Warnings
from flows.schemas.provenance import PROVENANCE_FIELD, Provenance
from tasks.refs import MediaUri, ObjectRef

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Feature = Literal["caption", "detailed", "ocr", "objects", "tags", "faces"]
AnalyzeModel = Literal[
    "auto", "starter", "florence-2-base", "florence-2-large", "smolvlm-256m", "smolvlm-500m", "qwen3-vl-2b"
]


def _without_duplicates(features: tuple[Feature, ...]) -> tuple[Feature, ...]:
    return tuple(dict.fromkeys(features))


def _resolve_prompt_alias(values: Any) -> Any:
    """Accept `prompt` as an alias of `question`."""
    if not isinstance(values, dict) or "prompt" not in values:
        return values
    fields: dict[str, Any] = {**cast(dict[str, Any], values)}
    prompt = fields.pop("prompt")
    if fields.get("question") not in (None, prompt):
        raise ValueError("question and prompt are two names of one field; give one of them")
    return fields | {"question": prompt}


class AnalyzeJob(JobParameters):
    """Analyze an image: describe it, answer a question, read text, and detect objects and faces."""

    image: MediaUri = Field(
        title="Image",
        description="PNG, JPEG, WebP, GIF, BMP, TIFF or AVIF: s3://, https:// or asset://.",
        examples=["s3://media/pictures/desk.jpg"],
    )
    question: str | None = Field(
        default=None,
        min_length=1,
        max_length=2000,
        title="Question",
        description="Question about the image; `prompt` is another name of this field. The starter models"
        " cannot answer questions.",
        examples=["How many people are in the picture?"],
    )
    features: Annotated[tuple[Feature, ...], AfterValidator(_without_duplicates)] = Field(
        default=(),
        max_length=12,
        title="Features",
        description="caption, detailed: short and long description; ocr: lines of text with boxes; objects,"
        " faces: detections with boxes; tags: classes of the whole image. Empty: a description"
        " only.",
        examples=[["caption", "ocr", "faces"]],
    )
    length: Literal["short", "normal", "long"] = Field(
        default="normal", title="Length", description="Length of the description or the answer."
    )
    model: AnalyzeModel = Field(
        default="auto",
        title="Model",
        description="Model that writes the text. auto: the best installed model; starter: the"
        " small models of the installation.",
    )
    fallback: bool = FALLBACK_FIELD
    output: Output = OUTPUT_FIELD

    @model_validator(mode="before")
    @classmethod
    def _accept_prompt_alias(cls, values: Any) -> Any:
        return _resolve_prompt_alias(values)


_BOX_FIELD: Any = Field(
    description="Bounding box x1, y1, x2, y2 in pixels of the original, half-open, inside the"
    " image, after the rotation from its EXIF orientation."
)
_SCORE_FIELD: Any = Field(ge=0, le=1, description="Confidence, 0 to 1; null if the model reports none.")
_BoxCorners = tuple[int, int, int, int]


class Detection(BaseModel):
    """Base class of detections."""

    model_config = ConfigDict(frozen=True)

    @classmethod
    def from_record(cls, record: "DataclassInstance") -> Self:
        """Build the detection from the core's record with the same fields."""
        fields = asdict(record)
        if "box" in fields:
            fields["box"] = tuple(fields["box"].values())
        return cls.model_validate(fields)


class FoundTag(Detection):
    """A class of the whole image."""

    label: str
    score: float | None = _SCORE_FIELD


class FoundThing(Detection):
    """A detected object or face with its bounding box."""

    label: str
    box: _BoxCorners = _BOX_FIELD
    score: float | None = _SCORE_FIELD


class FoundText(Detection):
    """A recognized line of text."""

    text: str
    box: _BoxCorners = _BOX_FIELD
    corners: tuple[tuple[int, int], ...] = Field(
        description="Four corners as x, y, clockwise from the top left of the text in its reading"
        " direction; same pixels as the box."
    )
    score: float | None = _SCORE_FIELD


class AnalyzeResult(BaseModel):
    """The result of an image analysis. Coordinates are pixels of the original after EXIF rotation."""

    text: str = Field(
        description="The answer or the description. If a question was not answered, the text says so."
    )
    model: str = Field(
        description="Model that wrote the text; starter: a sentence composed from the detections of the small"
        " models."
    )
    answered: bool | None = Field(description="Whether the question was answered; null if none was asked.")
    caption: str | None = Field(description="Short description; null if not requested.")
    detailed: str | None = Field(description="Long description; null if not requested.")
    ocr: list[FoundText] | None = Field(
        description="Lines of text from top to bottom; null if not requested."
    )
    objects: list[FoundThing] | None = Field(
        description="Detected objects; null if not requested or if no installed model detects objects."
    )
    faces: list[FoundThing] | None = Field(
        description="Detected faces, largest first; null if not requested."
    )
    tags: list[FoundTag] | None = Field(
        description="Classes of the image, most confident first; null if not requested."
    )
    made_by: dict[str, str] = Field(description="Model that did each part of the analysis, by part.")
    width: int = Field(description="Width of the original in pixels, after EXIF rotation.")
    height: int = Field(description="Height of the original in pixels, after EXIF rotation.")
    format: str = Field(description="Format of the original: png, jpeg, webp, gif, bmp, tiff or avif.")
    picture: ObjectRef = Field(description="JPEG with the boxes drawn in; large images are scaled down.")
    name: str = Field(description="File name of that JPEG.")
    cached: list[str] = Field(description="Steps whose results came from the cache.")
    timings_s: dict[str, float] = Field(description="Seconds per phase.")
    usage: Usage = {}
    provenance: Provenance = PROVENANCE_FIELD
    warnings: Warnings = []
