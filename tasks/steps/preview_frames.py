"""
Preview frames of a job while it renders: now and then the newest picture as it is encoded.

The encoder offers its pictures. For engines that render slowly, crops of a chunk that is not complete are
composited as well, when the encoder has offered nothing for a while. Nothing here decides how a job ends: the
first failure is logged, and the job continues without previews.
"""

import logging
import time
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Final
from uuid import UUID

from prefect.runtime import flow_run

from musetalk_core.media.image.opening_card import CardPainter
from musetalk_core.media.image.small_jpeg import small_jpeg
from musetalk_core.media.image.yuv_picture import Picture
from musetalk_core.media.video.frame_reader import FrameReader
from musetalk_core.rendering.compose import FrameComposer
from musetalk_core.rendering.render_chunk import OnCrop, Scene
from musetalk_core.types import Image
from tasks.catalog.preview_frames import delete_preview_frame, write_preview_frame
from tasks.models.engines import get_engine
from tasks.run.reports import Report, current_report
from tasks.settings import get_settings
from tasks.steps.picture_changes import mask_cache, picture_changes

if TYPE_CHECKING:
    from tasks.steps.render_chunk import RenderJob

LONGEST_PX: Final = 320
"""Maximum width and height of a preview frame in pixels."""
MAX_SHARE: Final = 0.02
"""Maximum share of the CPU time of this process; the encoder, which uses more, is another process."""
_log = logging.getLogger(__name__)


class FrameSampler:
    """
    Makes a preview frame of some of the pictures that it is offered, and stores it in another thread.

    At most one frame is made per interval, none beyond a share of the CPU time, none while the previous one
    is being stored: a slow store delays no rendering. One sampler may be used by one thread at a time.
    """

    def __init__(self, job: UUID, report: Report, interval_s: float) -> None:
        """
        Create a sampler.

        Args:
            job:        id of the job.
            report:     report of the job, whose progress shows the number of the newest frame.
            interval_s: minimum time in seconds between two frames, those of earlier samplers of the job
                included.
        """
        self._job, self._report, self._interval_s = job, report, interval_s
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="preview-frames")
        self._pending: Future[None] | None = None
        self._has_failed = False

    def offer(self, frame: int, make: Callable[[], Picture]) -> None:
        """
        Make a preview frame of a picture if one is due and none of a later frame exists; never raises.

        Args:
            frame: number of the output frame.
            make:  returns the picture as it is encoded: with label and mark, so that a preview shows nothing
                that the video hides.
        """
        state = self._report.preview
        if frame < state.frame or not self.is_due():
            return
        state.frame = frame
        state.due_at = time.monotonic() + self._interval_s
        started = time.thread_time()
        try:
            jpeg = small_jpeg(make(), LONGEST_PX)
            self._pending = self._writer.submit(self._store, jpeg)
        except Exception as error:
            self._fail(error)
        state.cpu_s += time.thread_time() - started

    def is_due(self, *, is_overdue: bool = False) -> bool:
        """
        Return whether a picture that is offered now becomes a preview frame.

        Args:
            is_overdue: ask whether one has been due for a whole interval, because nothing was offered.
        """
        state, is_storing = self._report.preview, self._pending is not None and not self._pending.done()
        if self._has_failed or is_storing:
            return False
        if time.monotonic() < state.due_at + (self._interval_s if is_overdue else 0.0):
            return False
        return state.cpu_s <= MAX_SHARE * (time.process_time() - state.started_at_cpu_s)

    def close(self) -> None:
        """Wait until the newest frame is stored."""
        self._writer.shutdown(wait=True)

    def _store(self, jpeg: bytes) -> None:
        started = time.thread_time()
        try:
            if write_preview_frame(self._job, jpeg):
                self._report.show_preview()
        except Exception as error:
            self._fail(error)
        self._report.preview.cpu_s += time.thread_time() - started

    def _fail(self, error: Exception) -> None:
        self._has_failed = True
        _log.warning("preview frames are not shown: %s", error)


@contextmanager
def preview_frames() -> Generator[FrameSampler | None]:
    """Give the sampler of the current job; None outside of a job, or if the settings turn previews off."""
    run, interval_s = flow_run.id, get_settings().render.preview_every_s
    if not run or not interval_s:
        yield None
        return
    sampler = FrameSampler(UUID(str(run)), current_report(), interval_s)
    try:
        yield sampler
    finally:
        sampler.close()


def remove_preview_frame(report: Report) -> None:
    """Delete the preview frame of the current run, if it has one; a failure is logged."""
    if not report.preview.number:
        return
    try:
        delete_preview_frame(UUID(str(flow_run.id)))
    except Exception as error:  # the janitor deletes it
        _log.warning("the preview frame was not deleted: %s", error)


class CropPreview:
    """Makes finished pictures from single crops: composited, with card, label and mark."""

    def __init__(self, render_job: "RenderJob", scene: Scene) -> None:
        """Prepare for a scene. Files are opened for the first picture. Close it at the end."""
        self._render_job, self._scene = render_job, scene
        self._stack = ExitStack()
        self._reader: FrameReader | None = None

    def picture(self, frame: int, source: int, crop: Image | None) -> Picture:
        """
        Return a finished picture.

        Args:
            frame:  number of the output frame.
            source: number of the source frame.
            crop:   the rendered crop; None if the frame shows no face.
        """
        scene, job, avatar = self._scene, self._render_job, self._scene.avatar
        if self._reader is None:  # one frame of memory, one decoder thread: rendering goes first
            path = avatar.source_path(scene.source)
            self._reader = self._stack.enter_context(
                FrameReader(path, avatar.index, budget_bytes=1, threads=1)
            )
            masks = mask_cache(avatar.folder, avatar.folder.stat().st_ino, job.engine)
            # restoration takes longer than rendering, and needs consecutive frames
            engine = get_engine(job.engine)
            self._compose = FrameComposer(scene, engine, job.idle_seed, masks, restores=False)
            size = avatar.manifest.width, avatar.manifest.height
            self._label, self._mark = picture_changes(job, *size)
            self._card = CardPainter(job.card, *size, scene.rate) if job.card else None
        [source_picture] = self._reader.read([source])
        picture = self._compose(source_picture, source, crop, frame)
        return self._mark(self._label(self._card.draw(picture, frame) if self._card else picture))

    def close(self) -> None:
        """Close the source."""
        self._stack.close()


@contextmanager
def previewed_crops(render_job: "RenderJob", scene: Scene, first_frame: int) -> Generator[OnCrop]:
    """
    Give a callback for `render_chunk` that makes preview frames if the encoder makes none.

    Args:
        render_job:  the render job.
        scene:       its scene.
        first_frame: number of the first output frame of the chunk.
    """
    with preview_frames() as sampler, ExitStack() as stack:

        def offer(number: int, source: int, crop: Image | None) -> None:
            if sampler is not None and sampler.is_due(is_overdue=True):
                frame = first_frame + number
                sampler.offer(frame, lambda: preview.picture(frame, source, crop))

        preview = CropPreview(render_job, scene)
        stack.callback(preview.close)
        yield offer
