"""Image analysis for one job: runs each analysis step on first use and reuses its result."""

from dataclasses import dataclass, field
from typing import Literal

from flows.analyze_schemas import AnalyzeJob
from flows.steps import Steps
from musetalk_core.analysis import describing
from musetalk_core.analysis.choosing import STARTER, Cast
from musetalk_core.analysis.findings import Tag, TextLine, Thing
from musetalk_core.weights.pins import PinnedModel
from tasks.analysis import Length, Look, Seen, Sight, look_at, look_key
from tasks.refs import SourceFile
from tasks.weights import pin

What = Literal["size", "ocr", "tags", "faces", "objects", "describe", "answer"]


@dataclass(slots=True)
class Looking:
    """
    The analysis of one image; each step runs at most once.

    Attributes:
        job:        request.
        assignment: model for each part of the analysis.
        picture:    fetched image file.
        context:    context of the run.
        made_by:    model that did each part so far, by part.
    """

    job: AnalyzeJob
    cast: Cast
    picture: SourceFile
    steps: Steps
    made_by: dict[str, str] = field(default_factory=dict[str, str])
    used: dict[str, PinnedModel] = field(default_factory=dict[str, PinnedModel])
    """Models used so far by name, pinned at first use."""
    _known: dict[Look, Sight] = field(default_factory=dict[Look, Sight])

    def seen(self) -> Seen:
        """Decode the image and return its size and format."""
        seen = self._look("size", "").seen
        if seen is None:
            raise RuntimeError("the size step returned no size")
        return seen

    def lines(self) -> tuple[TextLine, ...]:
        """Return the lines of text; empty if no installed model reads text."""
        return self._look("ocr", self.cast.reads).lines if self.cast.reads else ()

    def tags(self) -> tuple[Tag, ...]:
        """Return the classes of the whole image; empty if no installed model classifies."""
        return self._look("tags", self.cast.tags).tags if self.cast.tags else ()

    def faces(self) -> tuple[Thing, ...]:
        """Return all detected faces."""
        return self._look("faces", self.cast.faces).things

    def objects(self) -> tuple[Thing, ...]:
        """Return all detected objects; empty if no installed model detects them."""
        return self._look("objects", self.cast.finds).things if self.cast.finds else ()

    def text(self) -> str:
        """Return the answer to the question, or a description if no question can be answered."""
        if self.job.question is not None and self.cast.answers is not None:
            return self._look("answer", self.cast.answers, self.job.length, self.job.question).text
        said = self.description("long" if "detailed" in self.job.features else self.job.length)
        return said if self.job.question is None else describing.unanswered(said)

    def description(self, length: Length) -> str:
        """Return a description of the image."""
        if self.cast.describes != STARTER:
            return self._look("describe", self.cast.describes, length).text
        seen = self.seen()
        return describing.describe((seen.width, seen.height), self.tags(), self.faces(), self.lines(), length)

    @property
    def writer(self) -> str:
        """Name of the model that wrote the text."""
        return self.cast.answers or self.cast.describes

    def found(self, what: What) -> Sight:
        """Return the result of a step that has already run; an empty result if it has not run."""
        return next((sight for look, sight in self._known.items() if look.what == what), Sight())

    def warnings(self) -> list[str]:
        """Return the warnings for the caller."""
        part = ["first_frame_only: the file holds more frames or pages"] if self.seen().is_part else []
        return [*self.cast.warnings, *part]

    def _look(self, what: What, by: str, length: Length = "normal", question: str = "") -> Sight:
        weights = self._pinned(by) if by else None
        look = Look(what=what, by=by, length=length, question=question, weights=weights)
        if look not in self._known:
            key = look_key(self.picture, look)
            self._known[look] = self.steps.result(what, look_at.submit(key, self.picture, look))
            if by:
                self.made_by[what] = by
        return self._known[look]

    def _pinned(self, name: str) -> PinnedModel:
        if name not in self.used:
            (self.used[name],) = pin(name)
        return self.used[name]
