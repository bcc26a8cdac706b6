"""
The figures of a quality card: unit, meaning, value on good material and limit of each.

The limits were set with the defects of tests/unit/musetalk_core/quality; `docs/reference/quality.md` is made
from this table.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

FigureName = Literal[
    "aperture",
    "amplitude",
    "rounding",
    "correlation",
    "lag",
    "bilabials",
    "pauses",
    "sharpness_fine",
    "sharpness_coarse",
    "seam",
    "flicker",
    "outside",
    "colour",
    "corners",
    "teeth",
    "offset",
    "jitter",
]
Subject = Literal["movement", "picture"]


@dataclass(frozen=True, slots=True)
class Figure:
    """
    The definition of a figure.

    Attributes:
        subject: whether it describes the movement of the lips or the picture.
        unit:    unit of its values; H is the face height.
        meaning: what is measured, in one sentence.
        good:    value from which on the grade is 1: seen on good material.
        limit:   value at which the grade is 0.5, and beyond which the figure counts as a defect; None = the
            figure is not judged. Above `good`: values must not exceed it; below: they must not fall short.
        reason:  why this limit.
    """

    subject: Subject
    unit: str
    meaning: str
    good: float
    limit: float | None
    reason: str

    def grade(self, value: float) -> float | None:
        """Return 1 for good values, 0.5 at the limit, 0 at twice its distance; None if not judged."""
        if self.limit is None:
            return None
        distance = (abs(value) - self.good) / (self.limit - self.good)
        return min(1.0, max(0.0, 1 - distance / 2))


FIGURES: Final[Mapping[FigureName, Figure]] = {
    "aperture": Figure(
        "movement",
        "H",
        "95th percentile of the lip aperture",
        0.055,
        None,
        "Not judged: depends on the speech. `amplitude` relates it to the speech.",
    ),
    "amplitude": Figure(
        "movement",
        "ratio",
        "Range of the lip aperture (widest fifth of the frames minus narrowest) over that of ordinary speech",
        0.9,
        0.6,
        "Half the amplitude looks like mumbling. The reference, 0.13 H (20 mm) for the widest vowel, is a"
        " real speaker's.",
    ),
    "rounding": Figure(
        "movement",
        "ratio",
        "Change of the mouth's width with round (O, U, W) and spread (E, I) sounds over that of speech",
        0.7,
        0.25,
        "Below a quarter, 2 mm on a face, rounded and spread sounds look alike. The reference is a real"
        " speaker's.",
    ),
    "correlation": Figure(
        "movement",
        "-1..1",
        "Correlation of the lip aperture with the opening that the speech asks, at the best lag",
        0.85,
        0.6,
        "Other speech reaches up to 0.45 in 3 s, the right speech 0.93 to 0.98.",
    ),
    "lag": Figure(
        "movement",
        "ms",
        "Delay of the lips after the speech; negative if they are early",
        40.0,
        90.0,
        "ITU-R BT.1359: viewers accept sound that is up to 90 ms early. 40 ms is one frame at 25 frames/s.",
    ),
    "bilabials": Figure(
        "movement",
        "share",
        "Share of the sounds p, b, m on which the lips close",
        1.0,
        0.7,
        "One missed closure in three is visible; recognized phones are not exact enough for more.",
    ),
    "pauses": Figure(
        "movement",
        "share",
        "Share of the frames well inside pauses of 0.3 s or more in which the lips are closed",
        1.0,
        0.8,
        "A mouth that moves with noise is closed in less than 0.55 of the frames.",
    ),
    "sharpness_fine": Figure(
        "picture",
        "ratio",
        "Fine detail of lips and skin (waves of 0.03 H) over that of cheeks and forehead, against the source",
        0.9,
        0.7,
        "Warping costs up to 0.2. Below 0.7 a mouth looks soft beside its cheeks.",
    ),
    "sharpness_coarse": Figure(
        "picture",
        "ratio",
        "The same for detail of twice the size",
        0.9,
        0.6,
        "Warping costs up to 0.23 on soft sources; a blur of 0.012 H more.",
    ),
    "seam": Figure(
        "picture",
        "levels",
        "Step of brightness at the border of the rendered region that the source does not have",
        1.0,
        3.0,
        "Steps of 2 to 3 of 255 levels along a line are just visible; encoding at CRF 18 causes up to 1.",
    ),
    "flicker": Figure(
        "picture",
        "levels",
        "Second difference in time of the skin's brightness around the mouth, without the source's",
        1.0,
        4.0,
        "Brightness that alternates by 1 level either way gives 4; a moving jaw causes up to 1.",
    ),
    "outside": Figure(
        "picture",
        "levels",
        "Difference to the source outside the rendered region, means of 16x16 pixels, 99th percentile",
        0.7,
        2.0,
        "Rendering changes nothing there; encoding at CRF 18 causes 0.5 to 0.65.",
    ),
    "colour": Figure(
        "picture",
        "CIE76",
        "Difference of the mean colour of the skin around the mouth to the source",
        2.0,
        4.0,
        "2.3 is the just noticeable difference; shadows of an open mouth cause up to 2.",
    ),
    "corners": Figure(
        "picture",
        "share",
        "How much darker than skin the darkest pixels beside the corners of the mouth are, above the source",
        0.05,
        0.2,
        "Remains of the source's mouth are 0.5 and darker; folds that move with the lips cause up to 0.06.",
    ),
    "teeth": Figure(
        "picture",
        "ratio",
        "Contrast along the row of teeth over their brightness; from a face height of 140 pixels on",
        0.026,
        0.013,
        "Photographed teeth have 0.03, a flat bar less than 0.007.",
    ),
    "offset": Figure(
        "picture",
        "H",
        "Displacement of the rendered skin above the mouth against the source",
        0.005,
        0.015,
        "Above 2 mm on a face, the mouth looks out of place.",
    ),
    "jitter": Figure(
        "picture",
        "H",
        "Second difference in time of that displacement",
        0.001,
        0.004,
        "A trembling of 1 pixel at a face height of 500 pixels gives 0.005 and is visible.",
    ),
}
"""All figures, in the order in which they are shown."""
