"""Measure a rendered video file: read chosen frames of it and of its source, and return the quality card."""

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from musetalk_core.compositing.mask_cache import MaskCache
from musetalk_core.engine_protocol import Engine
from musetalk_core.errors import NoFaceFound
from musetalk_core.faces.face_finder import find_mesh_for_landmarks
from musetalk_core.faces.mesh_topology import MESH_POINTS
from musetalk_core.media.image.normalise import Normaliser
from musetalk_core.media.image.yuv_picture import Picture
from musetalk_core.media.source.limits import MediaLimits
from musetalk_core.media.video.decoder import open_decoder
from musetalk_core.media.video.frame_reader import FrameReader
from musetalk_core.quality.card import QualityCard
from musetalk_core.quality.frame_pair import ChangedRegion, FramePair
from musetalk_core.quality.lip_movement import SpeechReference
from musetalk_core.quality.meter import QualityMeter
from musetalk_core.quality.windows import Window, plan_windows
from musetalk_core.rendering.chunking import Chunk
from musetalk_core.rendering.compose import AnimatedStill, FacePaster
from musetalk_core.rendering.render_chunk import Scene
from musetalk_core.types import Float, Ints

_SEEK_LEAD_S = 0.25
"""Seconds to seek before a frame: seeking uses decoding times, which can be later than presentation times."""

OnFrame = Callable[[int, int], None]
"""Progress callback: measured frames, and frames to measure. It may raise to cancel."""


def _unchanged(picture: Picture) -> Picture:
    return picture


def _ignore_progress(done: int, total: int) -> None:
    del done, total


@dataclass(frozen=True, slots=True, eq=False)
class RenderedVideo:
    """
    A finished video and what it was made from.

    Attributes:
        path:      the video file, which this program encoded.
        scene:     avatar, source and frame rate.
        engine:    the engine that rendered it; supplies the blend masks.
        idle_seed: seed of the idle motion; None = none.
        finish:    adds to a picture what every picture of the video has: label and imperceptible mark.
        masks:     mask cache of this avatar under this engine.
        first:     first frame to measure: earlier ones are covered by an opening card.
    """

    path: Path
    scene: Scene
    engine: Engine
    idle_seed: int | None = None
    finish: Callable[[Picture], Picture] = _unchanged
    masks: MaskCache | None = None
    first: int = 0


def measured_source_frames(video: RenderedVideo, speech: SpeechReference) -> Ints:
    """Return the source frames that `measure_video` reads, (N,) int64 in the order of the video."""
    windows = _windows(video, speech)
    shown = [video.scene.source_frames(Chunk(0, *window)) for window in windows]
    return np.concatenate(shown) if shown else np.zeros(0, np.int64)  # an opening card may cover everything


def _windows(video: RenderedVideo, speech: SpeechReference) -> Sequence[Window]:
    return plan_windows(speech.curves, video.scene.rate, first=video.first)


def measure_video(
    video: RenderedVideo, speech: SpeechReference, on_frame: OnFrame = _ignore_progress
) -> QualityCard:
    """
    Measure at most three seconds of a video, see `plan_windows`.

    Args:
        video:    the video.
        speech:   its speech; one row of curves per frame.
        on_frame: progress callback.

    Raises:
        MediaUnreadable:   the video or its source cannot be read.
        ModelNotInstalled: a face network is missing or damaged.
    """
    windows = _windows(video, speech)
    total = sum(window.stop - window.start for window in windows)
    meter = QualityMeter(len(speech.curves), video.scene.rate)
    done = 0
    with closing(_frame_pairs(video, windows)) as pairs:
        last = -1
        for index, pair in pairs:
            if index != last + 1 or pair is None:
                meter.start_window()
            last = index
            if pair is not None:
                meter.add(pair)
            done += 1
            on_frame(done, total)
    return meter.card(speech)


def _frame_pairs(video: RenderedVideo, windows: Sequence[Window]) -> Generator[tuple[int, FramePair | None]]:
    """Yield the number of each frame of the windows, and its pair; None if its source shows no face."""
    scene = video.scene
    source_of = {
        number: source
        for position, window in enumerate(windows)
        for number, source in zip(
            range(*window), scene.source_frames(Chunk(position, *window)).tolist(), strict=True
        )
    }
    builder = _PairBuilder(video)
    with (
        FrameReader(scene.avatar.source_path(scene.source), scene.avatar.index) as reader,
        closing(_read_frames(video.path, windows, float(scene.rate))) as outputs,
    ):
        for number, output in outputs:
            [picture] = reader.read([source_of[number]])
            yield number, builder.pair(number, source_of[number], picture, output)


class _PairBuilder:
    """Rebuilds what the video shows without its rendered mouth."""

    def __init__(self, video: RenderedVideo) -> None:
        self._video, self._avatar = video, video.scene.avatar
        masks = MaskCache() if video.masks is None else video.masks
        self._paster = FacePaster(video.scene, video.engine, masks)
        is_animated = video.idle_seed is not None and self._avatar.manifest.is_still
        self._still = AnimatedStill(video.scene, self._paster, video.idle_seed or 0) if is_animated else None
        self._has_mesh = False
        self._last: tuple[Picture, Picture] | None = None
        """A picture before and after `finish`, so that equal frames stay the same object."""

    def pair(self, number: int, source: int, picture: Picture, output: Picture) -> FramePair | None:
        box = self._avatar.box(source)
        if box.is_empty or int(self._avatar.shots[source]) < 0:
            self._has_mesh = False
            return None
        shown = self._shown(number, picture)
        landmarks = self._approximate_mesh(source, picture)
        if landmarks is None and not self._has_mesh:
            return None
        self._has_mesh = True
        return FramePair(number, shown, output, self._region(source, picture), landmarks)

    def _shown(self, number: int, picture: Picture) -> Picture:
        if self._still is not None:
            time_s = float(number / self._video.scene.rate)
            return self._video.finish(self._still.picture_at(picture, None, time_s))
        if self._last is None or self._last[0] is not picture:
            self._last = picture, self._video.finish(picture)
        return self._last[1]

    def _approximate_mesh(self, source: int, picture: Picture) -> Float | None:
        """Return the avatar's mesh; if it has other landmarks, one that is detected once and then tracked."""
        landmarks = self._avatar.landmarks(source)
        if len(landmarks) == MESH_POINTS:
            return landmarks
        if self._has_mesh:
            return None
        try:
            return find_mesh_for_landmarks(picture, landmarks)
        except NoFaceFound:
            return None

    def _region(self, source: int, picture: Picture) -> ChangedRegion:
        box, size = self._avatar.box(source), (picture.width, picture.height)
        mask = self._paster.positioned_mask(source)
        if mask is None:
            return ChangedRegion.from_box(box, *size)
        return ChangedRegion.from_mask(*mask, *size)


def _read_frames(path: Path, windows: Sequence[Window], rate: float) -> Generator[tuple[int, Picture]]:
    """Yield numbers and frames of the windows; what lies between them is skipped by seeking."""
    with open_decoder(path, MediaLimits()) as decoder:
        time_base = float(decoder.stream.time_base or 1)
        normaliser: Normaliser | None = None
        for window in windows:
            decoder.skip_before = int((window.start - 0.5) / rate / time_base)
            if window.start:
                decoder.seek(max(0, decoder.skip_before - int(_SEEK_LEAD_S / time_base)))
            with closing(decoder.frames()) as frames:
                for frame in frames:
                    number = round((frame.time or 0.0) * rate)
                    if number >= window.start:
                        normaliser = normaliser or Normaliser(frame, None)
                        yield number, normaliser.to_picture(frame)
                    if number >= window.stop - 1:
                        break
