"""
Prefect tasks of image analysis: OCR, tags, faces, objects, descriptions and answers.

Each analysis step is cached by content, so a job that requests more steps runs only the missing ones.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from prefect import task
from pydantic import BaseModel, ConfigDict, Field

from musetalk_core import CORE_VERSION
from musetalk_core.media.image.jpeg import encode_jpeg
from musetalk_core.media.image.photo import Photo, check_photo, read_photo
from musetalk_core.model_registry.pins import PinnedModel, digest_of
from musetalk_core.types import Box
from musetalk_core.vision.draw_boxes import draw_boxes, write_jpeg
from musetalk_core.vision.face_search import find_all_faces
from musetalk_core.vision.findings import DetectedObject, Tag, TextLine
from musetalk_core.vision.model_choice import CHAT_MODELS, READER, TAGGER
from musetalk_core.vision.ocr import OCR_VERSION, OcrReader
from tasks.cache.artefacts import artefact_cache
from tasks.cache.content_keys import content_key
from tasks.inputs import job_outputs
from tasks.inputs.sources import fetch_source, source_path
from tasks.models.engines import runtime_config
from tasks.models.environment import computing_environment
from tasks.models.install import open_local_models, pin
from tasks.refs import Artefact, SourceFile
from tasks.run.media_limits import media_limits
from tasks.run.reports import phase
from tasks.run.task_policies import CACHED_BY_CONTENT, NOT_CACHED, RETRY_COMPUTE, RETRY_IO, traced

ANNOTATED_KIND, ANNOTATED_FILE = "analysed", "picture.jpg"
_VLM_LIBRARIES = ("torch", "transformers")
_LIBRARIES = {
    READER: ("rapidocr", "onnxruntime"),
    TAGGER: ("torch", "efficientnet-lite-pytorch"),
}
"""Packages that run a model, where they are not `_VLM_LIBRARIES`; their versions are part of the keys."""
STORED_MAX_SIDE_PX, PREVIEW_MAX_SIDE_PX = 1600, 640
"""Longer side in pixels: of the stored picture with boxes, and of the preview in Prefect's pages."""

AnnotationKind = Literal["face", "text", "object"]
TextLength = Literal["short", "normal", "long"]


class Annotation(BaseModel):
    """A labeled box to draw: x0, y0, x1, y1 in pixels of the source picture."""

    model_config = ConfigDict(frozen=True)

    kind: AnnotationKind
    name: str
    box: tuple[int, int, int, int]


class ImageFacts(BaseModel):
    """Size and format of a decoded picture; `is_part` marks a picture that was cut out of a larger one."""

    model_config = ConfigDict(frozen=True)

    width: int
    height: int
    format: str
    is_part: bool


class AnalysisStep(BaseModel):
    """One step of an image analysis, and the model that performs it."""

    model_config = ConfigDict(frozen=True)

    what: Literal["size", "ocr", "tags", "faces", "objects", "describe", "answer"]
    by: str = ""
    """Name of a model in the registry; empty for steps that need no model."""
    length: TextLength = "normal"
    question: str = ""
    weights: PinnedModel | None = Field(default=None, exclude=True)
    """The pinned files of that model; None for the files that are installed now."""

    @property
    def pinned_model(self) -> PinnedModel:
        """
        Return the pinned files of the step's model; pin the installed ones if the job has pinned none.

        Raises:
            ModelNotInstalled, WeightsInvalid: the model is not pinned and cannot be pinned.
        """
        return self.weights or pin(self.by)[0]


class AnalysisStepResult(BaseModel):
    """The result of one analysis step; only the field of that step is filled."""

    model_config = ConfigDict(frozen=True)

    seen: ImageFacts | None = None
    text: str = ""
    tags: tuple[Tag, ...] = ()
    things: tuple[DetectedObject, ...] = ()
    lines: tuple[TextLine, ...] = ()


@task(**NOT_CACHED, **RETRY_IO)
@traced
def fetch_picture(uri: str) -> SourceFile:
    """
    Fetch a picture and check its header without decoding the pixels.

    Raises:
        InputError: the picture is missing, too large, or not in a supported format.
    """
    with phase("fetch"):
        source = fetch_source(job_outputs.resolve_input(uri).location, kind="image")
        check_photo(source_path(source), media_limits())
        return source


def analysis_step_key(picture: SourceFile, step: AnalysisStep) -> str:
    """
    Return the cache key of an analysis step: the picture, the model and every parameter.

    Steps of a model also depend on the device and on the libraries that run it.
    """
    parts = step.model_dump()
    if step.by:
        libraries = _LIBRARIES.get(step.by, _VLM_LIBRARIES)
        parts |= {"computed_by": computing_environment(*libraries)}
    if step.what == "ocr":
        parts |= {"reading": OCR_VERSION}
    return content_key(
        kind="look",
        core=CORE_VERSION,
        picture=picture.sha256,
        weights=digest_of([step.pinned_model]) if step.by else None,
        **parts,
    )


@task(**CACHED_BY_CONTENT, **RETRY_COMPUTE)
@traced
def look_at(key: str, picture: SourceFile, look: AnalysisStep) -> AnalysisStepResult:
    """
    Run one analysis step on a picture.

    Args:
        key:     `analysis_step_key` of the other arguments.
        picture: the fetched picture.
        look:    the analysis step.

    Raises:
        MediaUnreadable: the picture is truncated or damaged.
        ModelNotInstalled, WeightsInvalid: the model of the step cannot be used.
    """
    with phase("render"):  # also checks for cancellation between two steps
        photo = read_photo(source_path(picture), media_limits())
        match look.what:
            case "size":
                (width, height), part = photo.size, photo.is_part
                return AnalysisStepResult(
                    seen=ImageFacts(width=width, height=height, format=photo.format, is_part=part)
                )
            case "tags":
                return AnalysisStepResult(tags=_find_tags(photo, look))
            case "faces":
                return AnalysisStepResult(things=tuple(find_all_faces(photo.bgr)))
            case _:
                return _run_model(photo, look)


def _run_model(photo: Photo, step: AnalysisStep) -> AnalysisStepResult:
    if step.what == "ocr" and step.by == "rapidocr":
        return AnalysisStepResult(lines=tuple(_load_ocr_reader(step).read(photo.bgr)))
    from musetalk_core.vision import florence, vlm_chat
    from musetalk_core.vision.vlm_loader import load_vlm

    model = load_vlm(step.by, runtime_config(), step.pinned_model)
    match step.what:
        case "ocr":
            return AnalysisStepResult(lines=tuple(florence.read_text(model, photo.bgr)))
        case "objects":
            return AnalysisStepResult(things=tuple(florence.detect_objects(model, photo.bgr)))
        case "answer":
            return AnalysisStepResult(text=vlm_chat.answer(model, photo.bgr, step.question, step.length))
        case _:
            write = vlm_chat.describe if step.by in CHAT_MODELS else florence.caption
            return AnalysisStepResult(text=write(model, photo.bgr, step.length))


def _load_ocr_reader(step: AnalysisStep) -> OcrReader:
    from musetalk_core.runtime.model_cache import get_loaded_model

    return get_loaded_model(runtime_config(), step.pinned_model, (), lambda _: OcrReader(open_local_models()))


def _find_tags(photo: Photo, step: AnalysisStep) -> tuple[Tag, ...]:
    from musetalk_core.runtime.model_cache import get_loaded_model
    from musetalk_core.vision.tagger import Tagger

    tagger = get_loaded_model(runtime_config(), step.pinned_model, (), lambda _: Tagger(open_local_models()))
    return tuple(tagger.tags(photo.bgr))


def annotations_key(picture: SourceFile, annotations: Sequence[Annotation]) -> str:
    """Return the cache key of a picture with boxes."""
    return content_key(
        kind=ANNOTATED_KIND,
        core=CORE_VERSION,
        picture=picture.sha256,
        marks=[mark.model_dump() for mark in annotations],
    )


@task(**CACHED_BY_CONTENT, **RETRY_COMPUTE)
@traced
def draw(key: str, picture: SourceFile, marks: Sequence[Annotation]) -> Artefact:
    """
    Draw labeled boxes into a picture and store it as `picture.jpg` in the cache entry.

    The picture is first scaled down to at most 1600 pixels on its longer side.

    Args:
        key:     `annotations_key` of the other arguments.
        picture: the fetched picture.
        marks:   the boxes with their labels, in pixels of the fetched picture.

    Returns:
        The cache entry.

    Raises:
        MediaUnreadable: the picture is truncated or damaged.
        EncodeError:     the JPEG cannot be encoded.
        DiskFull:        the disk is full.
    """
    with phase("encode", concurrent=True):

        def make(folder: Path) -> None:
            write_jpeg(
                draw_boxes(_read_photo(picture).bgr, _to_boxes(marks), STORED_MAX_SIDE_PX),
                folder / ANNOTATED_FILE,
            )

        return artefact_cache().get_or_create(ANNOTATED_KIND, key, make)


def draw_preview(picture: SourceFile, annotations: Sequence[Annotation]) -> bytes:
    """Return a JPEG of the picture with its boxes, at most 640 pixels wide or high, for Prefect's pages."""
    return encode_jpeg(draw_boxes(_read_photo(picture).bgr, _to_boxes(annotations), PREVIEW_MAX_SIDE_PX))


def _read_photo(picture: SourceFile) -> Photo:
    return read_photo(source_path(picture), media_limits())


def _to_boxes(annotations: Sequence[Annotation]) -> list[tuple[str, str, Box]]:
    return [(mark.kind, mark.name, Box(*mark.box)) for mark in annotations]
