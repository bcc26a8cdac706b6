"""Picture strip of mouths: source and output of some frames, cut out and aligned."""

from typing import Final

import numpy as np

from musetalk_core.quality.mouth_patch import PX_PER_H, MouthPatch
from musetalk_core.types import Float, Image

_COUNT: Final = 8
_WIDTH_H, _HEIGHT_H = 0.7, 0.52


class MouthStrip:
    """At most eight mouths, evenly chosen from those added; memory does not grow with their number."""

    def __init__(self) -> None:
        self._mouths: list[Image] = []
        self._interval = 1
        self._added = 0

    def add(self, index: int, patch: MouthPatch) -> None:
        """Add the mouth of a frame."""
        if self._added % self._interval == 0:
            if len(self._mouths) == 2 * _COUNT:
                self._mouths = self._mouths[::2]
                self._interval *= 2
            if self._added % self._interval == 0:
                self._mouths.append(_cut(patch))
        self._added += 1

    def picture(self) -> Image | None:
        """Return (h, w, 3) uint8 BGR: a column per mouth, the source above the output; None if empty."""
        if not self._mouths:
            return None
        places = np.linspace(0, len(self._mouths) - 1, min(_COUNT, len(self._mouths))).round().astype(int)
        return np.hstack([self._mouths[place] for place in places])


def _cut(patch: MouthPatch) -> Image:
    x, y = (float(v) for v in patch.source_marks.corners.mean(0))
    width, height = round(_WIDTH_H * PX_PER_H), round(_HEIGHT_H * PX_PER_H)
    side = patch.source.shape[0]
    left = int(np.clip(round(x - width / 2), 0, side - width))
    top = int(np.clip(round(y - height * 0.42), 0, side - height))

    def cut(picture: Float) -> Float:
        return picture[top : top + height, left : left + width]

    return np.asarray(np.clip(np.vstack([cut(patch.source), cut(patch.output)]), 0, 255), np.uint8)
