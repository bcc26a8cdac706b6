"""What an engine is: the protocol that every way of making a mouth satisfies."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Protocol

from musetalk_core.speech.phones import Phone
from musetalk_core.speech.samples import Samples
from musetalk_core.types import Box, Float, Image


@dataclass(frozen=True, slots=True, eq=False)
class FaceFrame:
    """
    The face of one source frame, as an engine gets it.

    Attributes:
        index:     number of the source frame.
        shot:      number of the shot (between two scene cuts) it belongs to.
        box:       where `crop` sits in the frame; even coordinates, inside the frame.
        crop:      (h, w, 3) uint8 BGR, the source pixels of `box`. Not to be modified.
        landmarks: (468, 2) float32, mesh in frame pixels, smoothed over time.
    """

    index: int
    shot: int
    box: Box
    crop: Image
    landmarks: Float


@dataclass(frozen=True, slots=True, eq=False)
class Conditioning:
    """
    What an engine knows about a clip before it hears anything.

    Attributes:
        records: (T, R) float32, one row per source frame, frames without a face included (zeros).
        donors:  shot number -> the frame whose teeth (or texture) that shot borrows.
    """

    records: Float
    donors: Mapping[int, FaceFrame] = field(default_factory=dict[int, FaceFrame])


class Engine(Protocol):
    """Turns faces and speech into new faces. Stateless between calls: any order, any process."""

    name: str
    version: str
    """Part of every cache key: bump it when records, features or pixels change."""
    brings_blend: bool
    """True: rendered crops already blend into their box. False: the core's mask blends them."""
    record_size: int
    """R, the width of a conditioning record."""
    crop_size: tuple[int, int] | None
    """(w, h) of rendered crops, or None when they have the size of their box."""

    def crop_box(self, landmarks: Float, width: int, height: int) -> Box:
        """The box this engine wants for a (468, 2) mesh; clipped to the picture, not evened."""
        ...

    def encode_faces(self, faces: Iterator[FaceFrame]) -> Iterator[Float]:
        """One (R,) float32 record per face, in order; lazily, one face at a time."""
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
    ) -> Float:
        """
        Features per output frame.

        Args:
            samples: the speech.
            frames:  T, output frames wanted.
            rate:    output frames per second.
            phones:  the phones when they are known (starter voice, forced alignment), else None.

        Returns:
            (T, D) float32.
        """
        ...

    def render(self, faces: Sequence[FaceFrame], conditioning: Conditioning, features: Float) -> list[Image]:
        """
        New crops for B frames.

        Args:
            faces:        B source faces; the same object may occur several times.
            conditioning: of the whole clip; row `face.index` belongs to a face.
            features:     (B, D) float32.

        Returns:
            B crops (h, w, 3) uint8 BGR of `crop_size`, or of each face's box.
        """
        ...
