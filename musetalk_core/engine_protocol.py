"""Protocol of lip-sync engines, and the records that pass between an engine and the rendering pipeline."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Literal, Protocol

from musetalk_core.faces.tracker_protocol import FaceChoice, FaceTracker
from musetalk_core.formats.float_rows import Float32RowReader
from musetalk_core.formats.frame_blobs import NO_BLOBS, FrameBlobs
from musetalk_core.formats.pcm import Samples
from musetalk_core.media.image.yuv_picture import Picture
from musetalk_core.restoration.restorer_protocol import FaceRestorer
from musetalk_core.speech.phones import Phone
from musetalk_core.types import Box, Float, Image, Mask

Stage = Literal["avatar", "features", "crops", "blend"]
"""Stages with cache entries of their own: prepared avatar, audio features, rendered crops, blended frames."""


@dataclass(frozen=True, slots=True, eq=False)
class FaceFrame:
    """
    The face of one source frame, as it is passed to an engine.

    Attributes:
        index:     number of the source frame.
        shot:      number of the shot (between two scene cuts).
        box:       position of `crop` in pixels, inside the frame; coordinates of any parity.
        crop:      (h, w, 3) uint8 BGR, the source pixels of `box`. Read-only. Empty during rendering if
            `EngineCapabilities.needs_crops` is False.
        landmarks: (K, 2) float32 in pixels of the frame, from the engine's face tracker, smoothed over time.
        picture:   the whole frame during avatar preparation; None during rendering.
    """

    index: int
    shot: int
    box: Box
    crop: Image
    landmarks: Float
    picture: Picture | None = None


@dataclass(frozen=True, slots=True, eq=False)
class EncodedFace:
    """
    An encoded face: the data that an engine stores for one source frame.

    Attributes:
        frame_features: (R,) float32. Small; the features of all frames are kept in memory and smoothed by
            `Engine.smooth_features`.
        blob:           larger data as bytes. Stays on disk and is read back frame by frame.
    """

    frame_features: Float
    blob: bytes = b""


@dataclass(frozen=True, slots=True, eq=False)
class Conditioning:
    """
    The data of a clip that rendering depends on, apart from the audio.

    Attributes:
        frame_features:   (T, R) float32, one row per source frame; zeros for frames without a face.
        teeth_references: shot number -> the frame whose teeth (or texture) that shot copies.
        blobs:            the engine's data on disk, by source frame.
    """

    frame_features: Float
    teeth_references: Mapping[int, FaceFrame] = field(default_factory=dict[int, FaceFrame])
    blobs: FrameBlobs = NO_BLOBS


@dataclass(frozen=True, slots=True)
class EngineCapabilities:
    """
    The requirements of an engine.

    Attributes:
        needs_crops:      `render` reads the source pixels. If False, the source is not decoded for rendering.
        thread_safe:      `render` may run in several threads at once. If False, all calls run in one thread,
            because the engine owns a device.
        feature_size:     R, the number of features per frame.
        smooth_landmarks: smooth landmarks over time before the engine uses them.
        part_frames:      number of source frames that are encoded at once when a job needs one of them; 0 if
            all faces are encoded while the avatar is prepared. An engine that encodes in parts has no
            features (R = 0) and no teeth references, because both need all frames.
    """

    needs_crops: bool
    thread_safe: bool
    feature_size: int
    smooth_landmarks: bool = True
    part_frames: int = 0


@dataclass(frozen=True, slots=True)
class RenderStats:
    """
    Counters of an engine's rendering in this process.

    Attributes:
        device:        device and precision, for example `cuda:float16`; empty for engines that use no device.
        batch_size:    largest number of frames rendered at once; 0 for engines without batches.
        out_of_memory: how often the device ran out of memory and the batch was halved.
        fp32_retries:  batches rendered again in float32 because half precision overflowed.
    """

    device: str = ""
    batch_size: int = 0
    out_of_memory: int = 0
    fp32_retries: int = 0

    def since(self, before: "RenderStats") -> "RenderStats":
        """Return the difference to an earlier snapshot `before`."""
        return replace(
            self,
            out_of_memory=self.out_of_memory - before.out_of_memory,
            fp32_retries=self.fp32_retries - before.fp32_retries,
        )


OnFace = Callable[[int], None]
"""Takes the number of crops that a call of `Engine.render` has finished. It may raise to cancel."""


def ignore_face(_: int) -> None:
    """Do nothing with the progress of a call of `Engine.render`."""


class Engine(Protocol):
    """
    A lip-sync engine: renders face crops from source faces and speech.

    Engines are stateless between calls; calls may come in any order and in any process.
    """

    name: str
    capabilities: EngineCapabilities

    @property
    def models(self) -> tuple[str, ...]:
        """Registry names of all models that any stage uses."""
        ...

    @property
    def batch_size(self) -> int:
        """Number of faces that the next call of `render` should get; it may change from call to call."""
        ...

    @property
    def render_stats(self) -> RenderStats:
        """Counters since the start of this process."""
        ...

    def cache_fingerprint(self, stage: Stage) -> Mapping[str, object]:
        """
        Return everything of this engine that determines the result of a stage, as JSON values for cache keys.

        That is code versions, digests of the weights and all parameters. A stage's cache key also contains
        the keys of the stages before it.
        """
        ...

    def create_face_tracker(self, choice: FaceChoice) -> FaceTracker:
        """Return a tracker of one person's face in a clip that gives the landmarks this engine uses."""
        ...

    def crop_box(self, landmarks: Float, width: int, height: int) -> Box:
        """Return the crop box for (K, 2) float32 landmarks in pixels, clipped to the frame, of any parity."""
        ...

    def encode_faces(self, faces: Iterator[FaceFrame], earlier_faces: int = ...) -> Iterator[EncodedFace]:
        """
        Yield the data to store for each face, in order. Consumes the faces lazily, a few at a time.

        Args:
            faces:         consecutive faces of a clip.
            earlier_faces: how many frames of the clip before the first of them show the face. A face is
                encoded as if these had been encoded before it.
        """
        ...

    def smooth_features(self, frame_features: Float, shots: Sequence[int], rate: Fraction) -> Float:
        """
        Smooth per-frame features over time. Called once, with the features of all frames.

        Args:
            frame_features: (T, R) float32; rows of frames without a face are NaN.
            shots:          shot number per frame, -1 for frames without a face.
            rate:           average source frames per second.

        Returns:
            (T, R) float32; rows of frames without a face are zeros.
        """
        ...

    def choose_teeth_references(self, frame_features: Float, shots: Sequence[int]) -> dict[int, int]:
        """Return shot number -> source frame whose teeth the shot copies; shots may be left out."""
        ...

    def encode_audio(
        self, samples: Samples, frames: int, rate: Fraction, phones: Sequence[Phone] | None
    ) -> Iterator[Float]:
        """
        Encode the whole speech once per job.

        Args:
            samples: the speech, 16 kHz mono float32.
            frames:  T, number of output frames.
            rate:    output frames per second.
            phones:  the phones if they are known (starter voice, forced alignment), else None.

        Yields:
            (n, D) float32 rows on a time base that the engine chooses; D is the same for all blocks.
        """
        ...

    def audio_features(self, encoded_audio: Float32RowReader, start: int, stop: int, rate: Fraction) -> Float:
        """
        Return the audio features of a range of output frames.

        Args:
            encoded_audio: the rows of `encode_audio`.
            start:         first output frame.
            stop:          one past the last output frame.
            rate:          output frames per second.

        Returns:
            (stop - start, ...) float32.
        """
        ...

    def render(
        self,
        faces: Sequence[FaceFrame],
        conditioning: Conditioning,
        audio_features: Float,
        on_face: OnFace = ...,
    ) -> list[Image]:
        """
        Render the crops of B output frames.

        Args:
            faces:          B source faces; the same object may occur several times.
            conditioning:   of the whole clip; row `face.index` belongs to a face.
            audio_features: (B, ...) float32, from `audio_features`.
            on_face:        called with the number of finished crops of this call, by engines that take longer
                than a second for B crops; it may raise to cancel.

        Returns:
            B crops (h, w, 3) uint8 BGR of any size; the caller scales them to their boxes.
        """
        ...

    def mask(self, face: FaceFrame, conditioning: Conditioning) -> tuple[Mask, Box] | None:
        """
        Return the blend mask of a source frame. Called about once per source frame.

        Returns:
            (mh, mw) uint8 mask, where 255 shows the rendered face, and its position, which may extend beyond
            the frame. None if rendered crops already equal the source at their borders and their boxes have
            even coordinates.
        """
        ...

    def open_restorer(self) -> FaceRestorer | None:
        """Return a new restorer for the faces of consecutive frames; None if faces stay as rendered."""
        ...
