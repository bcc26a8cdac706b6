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
from musetalk_core.analysis.choosing import CHAT
from musetalk_core.analysis.drawing import drawn, jpeg, write_jpeg
from musetalk_core.analysis.findings import Tag, TextLine, Thing
from musetalk_core.analysis.people import find_people
from musetalk_core.analysis.reading import READING_VERSION, Reader
from musetalk_core.media.photo import Photo, check_photo, read_photo
from musetalk_core.types import Box
from musetalk_core.weights.pins import PinnedModel, digest_of
from tasks import jobs
from tasks.artefacts import artefacts, content_key
from tasks.limits import limits
from tasks.models import machine
from tasks.policies import ALWAYS, BY_CONTENT, RETRY_COMPUTE, RETRY_IO
from tasks.refs import Artefact, SourceFile
from tasks.reports import phase
from tasks.sources import fetch_source, source_path
from tasks.weights import layout, pin

ANALYSED, JPEG = "analysed", "picture.jpg"
SHOWN_PX, PREVIEW_PX = 1600, 640
"""Longer side in pixels: of the stored picture with boxes, and of the preview in Prefect's pages."""

Kind = Literal["face", "text", "object"]
Length = Literal["short", "normal", "long"]


class Mark(BaseModel):
    """A labeled box to draw: x0, y0, x1, y1 in pixels of the source picture."""

    model_config = ConfigDict(frozen=True)

    kind: Kind
    name: str
    box: tuple[int, int, int, int]


class Seen(BaseModel):
    """Size and format of a decoded picture; `is_part` marks a picture that was cut out of a larger one."""

    model_config = ConfigDict(frozen=True)

    width: int
    height: int
    format: str
    is_part: bool


class Look(BaseModel):
    """One question about a picture, and the model that answers it."""

    model_config = ConfigDict(frozen=True)

    what: Literal["size", "ocr", "tags", "faces", "objects", "describe", "answer"]
    by: str = ""
    """Name of a model in the registry; empty for steps that need no model."""
    length: Length = "normal"
    question: str = ""
    weights: PinnedModel | None = Field(default=None, exclude=True)
    """The pinned files of that model; None for the files that are installed now."""

    @property
    def pinned(self) -> PinnedModel:
        """
        Return the pinned files of the step's model; pin the installed ones if the job has pinned none.

        Raises:
            ModelNotInstalled, WeightsInvalid: the model is not pinned and cannot be pinned.
        """
        return self.weights or pin(self.by)[0]


class Sight(BaseModel):
    """The result of one analysis step; only the field of that step is filled."""

    model_config = ConfigDict(frozen=True)

    seen: Seen | None = None
    text: str = ""
    tags: tuple[Tag, ...] = ()
    things: tuple[Thing, ...] = ()
    lines: tuple[TextLine, ...] = ()


@task(**ALWAYS, **RETRY_IO)
def fetch_picture(uri: str) -> SourceFile:
    """
    Fetch a picture and check its header without decoding the pixels.

    Raises:
        InputError: the picture is missing, too large, or not in a supported format.
    """
    with phase("fetch"):
        source = fetch_source(jobs.resolve(uri).where, kind="image")
        check_photo(source_path(source), limits())
        return source


def look_key(picture: SourceFile, look: Look) -> str:
    """Return the cache key of an analysis step: the picture, the model and every parameter."""
    weights = digest_of([look.pinned]) if look.by else None
    return content_key(
        kind="look",
        core=CORE_VERSION,
        picture=picture.sha256,
        weights=weights,
        **({"reading": READING_VERSION} if look.what == "ocr" else {}),
        **look.model_dump(),
    )


@task(**BY_CONTENT, **RETRY_COMPUTE)
def look_at(key: str, picture: SourceFile, look: Look) -> Sight:
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
        photo = read_photo(source_path(picture), limits())
        match look.what:
            case "size":
                (width, height), part = photo.size, photo.is_part
                return Sight(seen=Seen(width=width, height=height, format=photo.format, is_part=part))
            case "tags":
                return Sight(tags=_tags(photo, look))
            case "faces":
                return Sight(things=tuple(find_people(photo.bgr)))
            case _:
                return _by_model(photo, look)


def _by_model(photo: Photo, look: Look) -> Sight:
    if look.what == "ocr" and look.by == "rapidocr":
        return Sight(lines=tuple(_reader(look).read(photo.bgr)))
    from musetalk_core.analysis import chat, florence
    from musetalk_core.analysis.transformer import load

    model = load(look.by, machine(), look.pinned)
    match look.what:
        case "ocr":
            return Sight(lines=tuple(florence.read(model, photo.bgr)))
        case "objects":
            return Sight(things=tuple(florence.objects(model, photo.bgr)))
        case "answer":
            return Sight(text=chat.answer(model, photo.bgr, look.question, look.length))
        case _:
            write = chat.describe if look.by in CHAT else florence.caption
            return Sight(text=write(model, photo.bgr, look.length))


def _reader(look: Look) -> Reader:
    from musetalk_core.nets.shelf import loaded_model

    return loaded_model(machine(), look.pinned, (), lambda _: Reader(layout()))


def _tags(photo: Photo, look: Look) -> tuple[Tag, ...]:
    from musetalk_core.analysis.tagging import Tagger
    from musetalk_core.nets.shelf import loaded_model

    tagger = loaded_model(machine(), look.pinned, (), lambda _: Tagger(layout()))
    return tuple(tagger.tags(photo.bgr))


def marks_key(picture: SourceFile, marks: Sequence[Mark]) -> str:
    """Return the cache key of a picture with boxes."""
    return content_key(
        kind=ANALYSED,
        core=CORE_VERSION,
        picture=picture.sha256,
        marks=[mark.model_dump() for mark in marks],
    )


@task(**BY_CONTENT, **RETRY_COMPUTE)
def draw(key: str, picture: SourceFile, marks: Sequence[Mark]) -> Artefact:
    """
    Draw labeled boxes into a picture and store it as `picture.jpg` in the cache entry.

    Args:
        key:     `annotations_key` of the other arguments.
        picture: the fetched picture.
        marks:   the boxes with their labels.
    """
    with phase("encode", beside=True):

        def make(folder: Path) -> None:
            write_jpeg(drawn(_photo(picture).bgr, _boxes(marks), SHOWN_PX), folder / JPEG)

        return artefacts().made_once(ANALYSED, key, make)


def preview(picture: SourceFile, marks: Sequence[Mark]) -> bytes:
    """Return a JPEG of the picture with its boxes, at most 640 pixels wide or high, for Prefect's pages."""
    return jpeg(drawn(_photo(picture).bgr, _boxes(marks), PREVIEW_PX))


def _photo(picture: SourceFile) -> Photo:
    return read_photo(source_path(picture), limits())


def _boxes(marks: Sequence[Mark]) -> list[tuple[str, str, Box]]:
    return [(mark.kind, mark.name, Box(*mark.box)) for mark in marks]
