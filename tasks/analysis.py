"""Looking at a picture: each look is a step, cached by content, so that asking for more only adds to it."""

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
"""Longer side of the stored picture with boxes, and of the small one in Prefect's pages."""

Kind = Literal["face", "text", "object"]
Length = Literal["short", "normal", "long"]


class Mark(BaseModel):
    """A box to draw."""

    model_config = ConfigDict(frozen=True)

    kind: Kind
    name: str
    box: tuple[int, int, int, int]


class Seen(BaseModel):
    """The facts of a picture that was decoded."""

    model_config = ConfigDict(frozen=True)

    width: int
    height: int
    format: str
    is_part: bool


class Look(BaseModel):
    """One thing to find out, and who does it."""

    model_config = ConfigDict(frozen=True)

    what: Literal["size", "ocr", "tags", "faces", "objects", "describe", "answer"]
    by: str = ""
    """Name of a model in the manifest; empty where none is needed."""
    length: Length = "normal"
    question: str = ""
    weights: PinnedModel | None = Field(default=None, exclude=True)
    """The content of that model; None: what is there now."""

    @property
    def pinned(self) -> PinnedModel:
        """
        The content of its model.

        Raises:
            ModelNotInstalled, WeightsInvalid: it is not pinned, and cannot be.
        """
        return self.weights or pin(self.by)[0]


class Sight(BaseModel):
    """What a look gave; only its own field is filled."""

    model_config = ConfigDict(frozen=True)

    seen: Seen | None = None
    text: str = ""
    tags: tuple[Tag, ...] = ()
    things: tuple[Thing, ...] = ()
    lines: tuple[TextLine, ...] = ()


@task(**ALWAYS, **RETRY_IO)
def fetch_picture(uri: str) -> SourceFile:
    """
    Fetch a picture and check what its header promises; nothing is decoded.

    Raises:
        InputError: it is missing, too large, or no picture that can be read.
    """
    with phase("fetch"):
        source = fetch_source(jobs.resolve(uri).where, kind="image")
        check_photo(source_path(source), limits())
        return source


def look_key(picture: SourceFile, look: Look) -> str:
    """Name a look by everything that decides what it gives."""
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
    Find one thing out about a picture.

    Args:
        key: `look_key` of the rest.

    Raises:
        MediaUnreadable: it is cut off or damaged.
        ModelNotInstalled, WeightsInvalid: the model of the look cannot be used.
    """
    with phase("render"):  # a stop between looks
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
    """Name a picture with boxes by the picture and the boxes."""
    return content_key(
        kind=ANALYSED,
        core=CORE_VERSION,
        picture=picture.sha256,
        marks=[mark.model_dump() for mark in marks],
    )


@task(**BY_CONTENT, **RETRY_COMPUTE)
def draw(key: str, picture: SourceFile, marks: Sequence[Mark]) -> Artefact:
    """
    Draw boxes into a picture; the artefact holds it as `picture.jpg`.

    Args:
        key: `marks_key` of the rest.
    """
    with phase("encode", beside=True):

        def make(folder: Path) -> None:
            write_jpeg(drawn(_photo(picture).bgr, _boxes(marks), SHOWN_PX), folder / JPEG)

        return artefacts().made_once(ANALYSED, key, make)


def preview(picture: SourceFile, marks: Sequence[Mark]) -> bytes:
    """Return a small JPEG of the picture with its boxes, for Prefect's pages."""
    return jpeg(drawn(_photo(picture).bgr, _boxes(marks), PREVIEW_PX))


def _photo(picture: SourceFile) -> Photo:
    return read_photo(source_path(picture), limits())


def _boxes(marks: Sequence[Mark]) -> list[tuple[str, str, Box]]:
    return [(mark.kind, mark.name, Box(*mark.box)) for mark in marks]
