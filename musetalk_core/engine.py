"""What an engine is: the protocol that every way of making a mouth satisfies."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Literal, Protocol

from musetalk_core.faces.following import FaceChoice, Follower
from musetalk_core.media.picture import Picture
from musetalk_core.plates import NO_PLATES, Plates
from musetalk_core.rows import RowReader
from musetalk_core.speech.phones import Phone
from musetalk_core.speech.samples import Samples
from musetalk_core.types import Box, Float, Image, Mask

Stage = Literal["avatar", "features", "crops", "blend"]
"""What is cached apart: prepared avatars, heard speech, rendered crops, crops put into their pictures."""


@dataclass(frozen=True, slots=True, eq=False)
class FaceFrame:
    """
    The face of one source frame, as an engine gets it.

    Attributes:
        index:     number of the source frame.
        shot:      number of the shot (between two scene cuts) it belongs to.
        box:       where `crop` sits in the frame; even coordinates, inside the frame.
        crop:      (h, w, 3) uint8 BGR, the source pixels of `box`. Not to be modified. Without pixels while
            an engine renders that does not need them.
        landmarks: (K, 2) float32 in frame pixels, smoothed over time; of the engine's own follower.
        picture:   the whole frame, while the avatar is prepared; None afterwards.
    """

    index: int
    shot: int
    box: Box
    crop: Image
    landmarks: Float
    picture: Picture | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """
    What an engine keeps of one face.

    Attributes:
        record: (R,) float32: small, of all frames at once in memory, smoothed by `Engine.settle`.
        plate:  anything larger, as bytes; stays on disk and is read back frame by frame.
    """

    record: Float
    plate: bytes = b""


@dataclass(frozen=True, slots=True, eq=False)
class Conditioning:
    """
    What an engine knows about a clip before it hears anything.

    Attributes:
        records: (T, R) float32, one row per source frame, frames without a face included (zeros).
        donors:  shot number -> the frame whose teeth (or texture) that shot borrows.
        plates:  what the engine kept on disk, by source frame.
    """

    records: Float
    donors: Mapping[int, FaceFrame] = field(default_factory=dict[int, FaceFrame])
    plates: Plates = NO_PLATES


@dataclass(frozen=True, slots=True)
class Traits:
    """
    How an engine wants to be treated.

    Attributes:
        needs_crops: `render` looks at the source's pixels. Else these are not even decoded for it.
        in_threads:  `render` may run in several threads at once. Else it has a device to itself.
        record_size: R, the width of a record.
        smooths:     landmarks are smoothed over time before they are used.
    """

    needs_crops: bool
    in_threads: bool
    record_size: int
    smooths: bool = True


@dataclass(frozen=True, slots=True)
class Counts:
    """
    What happened while an engine rendered.

    Attributes:
        device:        where and in which precision; empty for engines that know no devices.
        batch_size:    frames rendered at once, as found by measuring; 0 for engines without batches.
        out_of_memory: how often the device's memory ended and the batch was halved.
        fp32_retries:  batches rendered again in full precision, because half of it overflowed.
    """

    device: str = ""
    batch_size: int = 0
    out_of_memory: int = 0
    fp32_retries: int = 0

    def since(self, before: "Counts") -> "Counts":
        """Only what was counted after `before`."""
        return replace(
            self,
            out_of_memory=self.out_of_memory - before.out_of_memory,
            fp32_retries=self.fp32_retries - before.fp32_retries,
        )


class Engine(Protocol):
    """Turns faces and speech into new faces. Stateless between calls: any order, any process."""

    name: str
    traits: Traits

    @property
    def models(self) -> tuple[str, ...]:
        """Names in the table of models of all that takes part, by any stage."""
        ...

    @property
    def counts(self) -> Counts:
        """What happened so far in this process."""
        ...

    def made_by(self, stage: Stage) -> Mapping[str, object]:
        """
        Name everything of this engine that decides the content of a stage, in JSON, for cache keys.

        Versions of the code, digests of the weights and every parameter; a stage's key also holds the keys
        of the stages before it.
        """
        ...

    def follow_faces(self, choice: FaceChoice) -> Follower:
        """Start looking for one person's face in a clip, with the landmarks this engine works on."""
        ...

    def crop_box(self, landmarks: Float, width: int, height: int) -> Box:
        """The box this engine wants for its (K, 2) landmarks; clipped to the picture, not evened."""
        ...

    def encode_faces(self, faces: Iterator[FaceFrame]) -> Iterator[Encoded]:
        """What to keep of each face, in order; lazily, few faces at a time."""
        ...

    def settle(self, records: Float, shots: Sequence[int], rate: Fraction) -> Float:
        """
        Smooth records over time, once all are known.

        Args:
            records: (T, R) float32; rows of frames without a face are NaN.
            shots:   shot number per frame, -1 where there is no face.
            rate:    average source frames per second.

        Returns:
            (T, R) float32.
        """
        ...

    def choose_donors(self, records: Float, shots: Sequence[int]) -> dict[int, int]:
        """Shot number -> index of the source frame it borrows from; shots may be left out."""
        ...

    def encode_speech(
        self, samples: Samples, frames: int, rate: Fraction, phones: Sequence[Phone] | None
    ) -> Iterator[Float]:
        """
        Hear the whole speech once.

        Args:
            samples: the speech.
            frames:  T, output frames wanted.
            rate:    output frames per second.
            phones:  the phones when they are known (starter voice, forced alignment), else None.

        Yields:
            (n, D) float32 rows on a time base of the engine's own; all have the same D.
        """
        ...

    def features(self, heard: RowReader, start: int, stop: int, rate: Fraction) -> Float:
        """
        Give what some output frames need.

        Args:
            heard: the rows of `encode_speech`.
            start: first output frame.
            stop:  the one after the last.
            rate:  output frames per second.

        Returns:
            (stop - start, ...) float32.
        """
        ...

    def render(self, faces: Sequence[FaceFrame], conditioning: Conditioning, features: Float) -> list[Image]:
        """
        New crops for B frames.

        Args:
            faces:        B source faces; the same object may occur several times.
            conditioning: of the whole clip; row `face.index` belongs to a face.
            features:     (B, ...) float32, of `features`.

        Returns:
            B crops (h, w, 3) uint8 BGR of any size; shown in their boxes, scaled to them where they differ.
        """
        ...

    def mask(self, face: FaceFrame, conditioning: Conditioning) -> tuple[Mask, Box] | None:
        """
        Say how much of a rendered crop shows; asked about once per source frame.

        Returns:
            (mh, mw) uint8, 255 shows the rendered face, and where it lies, which may leave the picture;
            or None: rendered crops already end in the source's pixels, and their boxes have even coordinates.
        """
        ...
