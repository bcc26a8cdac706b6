"""The quality card of a video: figures, their grades, and a score."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from musetalk_core.quality.figures import FIGURES, FigureName, Subject
from musetalk_core.types import Image


@dataclass(frozen=True, slots=True)
class Reading:
    """
    One figure of the quality report.

    Attributes:
        name:  of the figure, see `FIGURES`.
        value: in the figure's unit; None if the measured part of the video does not show it.
        grade: 0..1; 0.5 is the limit; None if there is no value or no limit.
    """

    name: FigureName
    value: float | None
    grade: float | None

    @property
    def is_defect(self) -> bool:
        """True if the value is beyond the figure's limit."""
        return self.grade is not None and self.grade < 0.5


@dataclass(frozen=True, slots=True, eq=False)
class QualityCard:
    """
    The measurements of a video.

    Attributes:
        readings:  all figures in the order of `FIGURES`.
        frames:    number of measured frames.
        with_face: number of those that show the face.
        strip:     mouths of some of them, (h, w, 3) uint8 BGR, the source above the output; None without.
    """

    readings: tuple[Reading, ...]
    frames: int
    with_face: int
    strip: Image | None = None

    @classmethod
    def from_values(
        cls,
        values: Mapping[FigureName, float | None],
        frames: int,
        with_face: int,
        strip: Image | None = None,
        not_judged: Collection[FigureName] = (),
    ) -> "QualityCard":
        """Grade measured values except those `not_judged`; figures missing in `values` have none."""
        readings: list[Reading] = []
        for name, figure in FIGURES.items():
            value = values.get(name)
            grade = None if value is None or name in not_judged else figure.grade(value)
            readings.append(Reading(name, value, grade))
        return cls(tuple(readings), frames, with_face, strip)

    @property
    def score(self) -> float | None:
        """The lowest grade, 0..1: below 0.5 if any figure is beyond its limit. None if nothing was graded."""
        return min((one.grade for one in self.readings if one.grade is not None), default=None)

    def defects(self, subject: Subject | None = None) -> tuple[Reading, ...]:
        """Return the figures beyond their limits, of one subject or of all."""
        return tuple(
            one for one in self.readings if one.is_defect and subject in (None, FIGURES[one.name].subject)
        )

    def __getitem__(self, name: FigureName) -> Reading:
        """Return the reading of a figure."""
        return next(one for one in self.readings if one.name == name)
