"""Measure a rendered video frame by frame, in one pass and in constant memory."""

from collections.abc import Iterable
from fractions import Fraction
from typing import Final

import numpy as np

from musetalk_core.faces.face_finder import find_faces
from musetalk_core.faces.face_mesh import MIN_MESH_SCORE, fit_mesh, region_of_mesh
from musetalk_core.faces.mesh_topology import face_height
from musetalk_core.media.image.yuv_picture import Picture
from musetalk_core.quality.card import QualityCard
from musetalk_core.quality.figures import FigureName
from musetalk_core.quality.frame_pair import FramePair
from musetalk_core.quality.lip_movement import SpeechReference, measure_movement
from musetalk_core.quality.lip_sync_score import lip_aperture, lip_width
from musetalk_core.quality.motion_measures import Displacement, Flicker
from musetalk_core.quality.mouth_patch import MouthPatch, cut_patch
from musetalk_core.quality.mouth_strip import MouthStrip
from musetalk_core.quality.picture_measures import (
    colour_difference,
    corner_darkness,
    outside_difference,
    seam_step,
    teeth_detail,
)
from musetalk_core.quality.sharpness import BandEnergies, band_energies
from musetalk_core.types import Float

_PICTURE_INTERVAL: Final = 3
"""Figures of single pictures are measured in every third frame; movement in every one."""
_MIN_TEETH_APERTURE_H, _MIN_TEETH_FACE_PX = 0.03, 140

_NOT_JUDGED_BY_LOUDNESS: Final[tuple[FigureName, ...]] = ("correlation", "lag")


class QualityMeter:
    """
    Measures frames in order and returns figures at the end. Its memory does not grow with pixels.

    Call `start_window` before frames that do not follow the last one.
    """

    def __init__(self, frames: int, rate: Fraction) -> None:
        """
        Prepare to measure.

        Args:
            frames: number of frames of the whole video.
            rate:   frames per second.
        """
        self._rate = rate
        self._lips = np.full((frames, 2), np.nan, np.float32)
        self._flicker, self._displacement, self._strip = Flicker(), Displacement(), MouthStrip()
        self._source_bands: list[BandEnergies] = []
        self._output_bands: list[BandEnergies] = []
        self._seams: list[float] = []
        self._colours: list[float] = []
        self._corners: list[Float] = []
        self._teeth: list[float] = []
        self._outside: list[float] = []
        self._count = self._with_face = 0
        self._last_source: tuple[Picture, Float] | None = None

    def start_window(self) -> None:
        """Tell that the next frame does not follow the last one."""
        self._flicker.start_window()
        self._displacement.start_window()

    def add_all(self, pairs: Iterable[FramePair]) -> None:
        """Measure the frames of one window; they are consumed one at a time."""
        self.start_window()
        for pair in pairs:
            self.add(pair)

    def add(self, pair: FramePair) -> None:
        """
        Measure the next frame. A frame without a face is counted and otherwise left out.

        Raises:
            ModelNotInstalled: a face network is missing or damaged.
        """
        is_sampled = self._count % _PICTURE_INTERVAL == 0
        self._count += 1
        source_mesh = self._source_mesh(pair)
        if source_mesh is None:
            self.start_window()
            return
        output_mesh, score = fit_mesh(pair.output, region_of_mesh(source_mesh))
        if score <= MIN_MESH_SCORE:
            self.start_window()
            return
        self._with_face += 1
        self._lips[pair.index] = lip_aperture(output_mesh), lip_width(output_mesh)
        patch = cut_patch(pair.source, pair.output, source_mesh, output_mesh, pair.region.box)
        self._flicker.add(patch)
        self._displacement.add(patch)
        if is_sampled:
            self._measure_picture(pair, patch, source_mesh, output_mesh)

    def _measure_picture(
        self, pair: FramePair, patch: MouthPatch, source_mesh: Float, output_mesh: Float
    ) -> None:
        unit = face_height(source_mesh)
        self._seams.append(seam_step(pair.source, pair.output, pair.region, unit))
        self._corners.append(corner_darkness(patch))
        self._strip.add(pair.index, patch)
        if (colour := colour_difference(patch)) is not None:
            self._colours.append(colour)
        if (outside := outside_difference(pair.source, pair.output, pair.region.box)) is not None:
            self._outside.append(outside)
        is_open = float(self._lips[pair.index, 0]) >= _MIN_TEETH_APERTURE_H and unit >= _MIN_TEETH_FACE_PX
        if is_open and (teeth := teeth_detail(patch)) is not None:
            self._teeth.append(teeth)
        source_bands = band_energies(pair.source, source_mesh, source_mesh, pair.region.box)
        output_bands = band_energies(pair.output, output_mesh, source_mesh, pair.region.box)
        if source_bands is not None and output_bands is not None:
            self._source_bands.append(source_bands)
            self._output_bands.append(output_bands)

    def _source_mesh(self, pair: FramePair) -> Float | None:
        """Return the mesh of the source frame, fitted once for consecutive equal frames."""
        if self._last_source is not None and self._last_source[0] is pair.source:
            return self._last_source[1]
        start = pair.landmarks
        if start is None and self._last_source is not None:
            start = self._last_source[1]
        mesh, score = (None, 0.0) if start is None else fit_mesh(pair.source, region_of_mesh(start))
        if score <= MIN_MESH_SCORE:
            faces = find_faces(pair.source) if pair.landmarks is None else []
            mesh = faces[0].landmarks if faces else None
        self._last_source = None if mesh is None else (pair.source, mesh)
        return mesh

    def card(self, speech: SpeechReference | None = None) -> QualityCard:
        """
        Return the quality card of all frames so far.

        Args:
            speech: the speech of the whole video; None = its figures are left out.
        """
        fine, coarse = self._sharpness()
        movement = measure_movement(self._lips, speech, self._rate)
        return QualityCard.from_values(
            {
                "aperture": movement.aperture,
                "amplitude": movement.amplitude,
                "rounding": movement.rounding,
                "correlation": movement.correlation,
                "lag": None if movement.lag_s is None else movement.lag_s * 1000,
                "bilabials": movement.bilabials,
                "pauses": movement.pauses,
                "sharpness_fine": fine,
                "sharpness_coarse": coarse,
                "seam": _median(self._seams),
                "flicker": self._flicker.rms,
                "outside": _median(self._outside),
                "colour": _median(self._colours),
                "corners": self._corner_darkness(),
                "teeth": _median(self._teeth),
                "offset": self._displacement.offset,
                "jitter": self._displacement.jitter,
            },
            frames=self._count,
            with_face=self._with_face,
            strip=self._strip.picture(),
            not_judged=_NOT_JUDGED_BY_LOUDNESS if speech is not None and speech.follows_loudness else (),
        )

    def _corner_darkness(self) -> float | None:
        """Return the mean of the darker corner of the mouth, at least 0."""
        sides = np.stack(self._corners, 1) if self._corners else np.zeros((2, 0), np.float32)
        means = [float(side[~np.isnan(side)].mean()) for side in sides if not np.isnan(side).all()]
        return max(0.0, *means) if means else None

    def _sharpness(self) -> tuple[float | None, float | None]:
        """Return the detail of the mouth over that of other skin, as a share of the source's; both bands."""
        if not self._source_bands:
            return None, None
        source, output = (
            np.sqrt(
                np.mean([bands.mouth for bands in measured], 0)
                / np.maximum(np.mean([bands.skin for bands in measured], 0), 1e-6)
            )
            for measured in (self._source_bands, self._output_bands)
        )
        fine, coarse = (output / np.maximum(source, 1e-6)).tolist()
        return float(fine), float(coarse)


def _median(values: list[float]) -> float | None:
    return float(np.median(values)) if values else None
