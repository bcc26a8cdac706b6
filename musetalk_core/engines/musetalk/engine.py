"""The MuseTalk v1 and v1.5 engine: official weights, bounded memory, CPU or GPU."""

import zlib
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import islice
from typing import Final

import numpy as np

from musetalk_core.blending import paste_square
from musetalk_core.engine import Conditioning, Counts, Encoded, FaceFrame, Stage, Traits
from musetalk_core.engines.musetalk.latents import LatentEncoder, crop256, packed, packed_size, unpacked
from musetalk_core.engines.musetalk.masks import SIDE, MaskStyle, parsed_mask
from musetalk_core.engines.musetalk.networks import Networks
from musetalk_core.engines.musetalk.options import Options, settled
from musetalk_core.engines.musetalk.tokens import tokens
from musetalk_core.engines.musetalk.windows import upstream_rows, window_rows
from musetalk_core.errors import EngineError
from musetalk_core.faces.boxes import musetalk_box
from musetalk_core.faces.following import FaceChoice, Follower
from musetalk_core.faces.oval import oval_mask
from musetalk_core.faces.topology import LANDMARKS_68, MESH_POINTS
from musetalk_core.machine import Machine
from musetalk_core.media.picture import Picture
from musetalk_core.rows import RowReader
from musetalk_core.speech.phones import Phone
from musetalk_core.speech.samples import Samples
from musetalk_core.speech.silence import Hushed
from musetalk_core.types import Box, Float, Image, Mask
from musetalk_core.weights.pins import PinnedModel

VERSION: Final = "1"
"""Code version in cache keys. Increase it when frame features, audio features or pixels change."""
_STATES: Final = (5, 384)
_POINTS: Final = 68
_ENCODE_AT_ONCE: Final = 4


class MuseTalkEngine:
    """An `Engine` for MuseTalk v1 and v1.5. Networks are loaded at first use."""

    name = "musetalk"

    def __init__(self, options: Options, machine: Machine, pinned: Sequence[PinnedModel] = ()) -> None:
        """
        Validate options and check that the weights are installed. Loads no network.

        Args:
            options: see `MuseTalkEngineOptions`.
            runtime: the models folder, device and precision.
            pinned:  the content of the weights, see `Networks`.

        Raises:
            InputError: options contradict each other or are out of range.
            ModelNotInstalled: a weight file is missing; the message names it and the install command.
        """
        self._chosen = settled(options)
        self._style = MaskStyle(
            self._chosen.mask_mode,
            options.left_cheek_width,
            options.right_cheek_width,
            options.blur_share,
        )
        self._networks = Networks(self._chosen, machine, pinned)
        self.traits = Traits(
            needs_crops=False, in_threads=False, record_size=0, smooths=options.face_rule == "tracked"
        )

    @property
    def counts(self) -> Counts:
        """Return device, batch size and error counts of this process; see `Engine`."""
        return self._networks.counts

    @property
    def models(self) -> tuple[str, ...]:
        """Return the names of all models in use; see `Engine`."""
        return self._networks.models

    def made_by(self, stage: Stage) -> Mapping[str, object]:
        """Return the JSON values of one stage's cache key: options, weight hashes and device."""
        chosen, options, nets = self._chosen, self._chosen.options, self._networks
        common = {"engine": self.name, "version": VERSION}
        match stage:
            case "avatar":
                sampled = {"seed": options.seed} if options.latents == "sample" else {}
                return {
                    **common,
                    "device": nets.device.name,
                    "weights": nets.digest("avatar"),
                    "landmarks": nets.landmarks,
                    "face_rule": options.face_rule,
                    "bbox_shift": chosen.bbox_shift,
                    "extra_margin": chosen.extra_margin,
                    "latents": options.latents,
                    **sampled,
                }
            case "features":
                weights = nets.digest("features")
                return {
                    **common,
                    "device": nets.device.name,
                    "weights": weights,
                    "silence": options.silence,
                    "overlap_s": options.audio_overlap_s,
                }
            case "crops":
                return {
                    **common,
                    "device": nets.device.name,
                    "weights": nets.digest("crops"),
                    "padding": [options.audio_padding_left, options.audio_padding_right],
                    "window": options.audio_window,
                }
            case "blend":
                style = self._style
                return {
                    **common,
                    "mask": style.mode,
                    "cheeks": [style.left_cheek, style.right_cheek],
                    "blur": style.blur_share,
                }

    def follow_faces(self, choice: FaceChoice) -> Follower:
        """Track DWPose landmarks if DWPose and S3FD are installed, else the bundled face mesh."""
        return self._networks.follower(choice)

    def crop_box(self, landmarks: Float, width: int, height: int) -> Box:
        """
        Return MuseTalk's face box, clipped to the picture.

        Coordinates are even, so that no chroma sample is split, except with `face_rule: upstream`.

        Args:
            landmarks: in pixels: (468, 2) face mesh, or (70, 2): 68 iBUG points, then two corners of the
                       detector's box.
            width:     of the picture in pixels.
            height:    of the picture in pixels.
        """
        points, detected = _points68(landmarks)
        upstream = self._chosen.options.face_rule == "upstream"
        box = musetalk_box(
            points,
            width,
            height,
            bbox_shift=self._chosen.bbox_shift,
            extra_margin=self._chosen.extra_margin,
            detected=detected,
            parity=upstream and detected is not None,
        )
        return (box if upstream else box.evened()).clipped(width, height)

    def encode_faces(self, faces: Iterator[FaceFrame]) -> Iterator[Encoded]:
        """
        Yield no features and one blob per face: VAE latents, then the face parser's compressed class map.

        The class map is (512, 512) uint8, zlib; empty if the parser is not installed.
        """
        encoder = LatentEncoder(
            self._networks.vae(),
            self._networks.device,
            self._chosen.options.latents,
            self._chosen.options.seed,
        )
        while batch := list(islice(faces, _ENCODE_AT_ONCE)):
            latents = encoder.encode([crop256(face.crop) for face in batch])
            labels = self._labels(batch)
            for number in range(len(batch)):
                plate = packed(latents[number], self._networks.device) + labels[number]
                yield Encoded(np.zeros(0, np.float32), plate)

    def _labels(self, faces: Sequence[FaceFrame]) -> list[bytes]:
        parser = self._networks.parser()
        if parser is None:
            return [b""] * len(faces)
        squares = [_seen(face).window(paste_square(face.box)) for face in faces]
        return [zlib.compress(labels.tobytes(), 6) for labels in parser.label_maps(squares)]

    def settle(self, records: Float, shots: Sequence[int], rate: Fraction) -> Float:
        """Return the features unchanged: they have width 0."""
        del shots, rate
        return records

    def choose_donors(self, records: Float, shots: Sequence[int]) -> dict[int, int]:
        """Return no references: every frame is its own reference."""
        del records, shots
        return {}

    def encode_speech(
        self, samples: Samples, frames: int, rate: Fraction, phones: Sequence[Phone] | None
    ) -> Iterator[Float]:
        """Yield (n, 5 * 384) float32: five states of Whisper's encoder, 50 rows per second."""
        del frames, rate, phones
        heard = Hushed(samples) if self._chosen.options.silence == "closed" else samples
        for block in self._networks.ears().encode(heard, overlap_s=self._chosen.options.audio_overlap_s):
            yield block.reshape(len(block), -1)

    def features(self, heard: RowReader, start: int, stop: int, rate: Fraction) -> Float:
        """Return (n, W * 5, 384) float32 audio tokens, positions added; W = 10 for the default paddings."""
        options = self._chosen.options
        left, right = options.audio_padding_left, options.audio_padding_right
        if options.audio_window == "upstream":
            rows = upstream_rows(start, stop, float(rate), heard.count, left, right)
        else:
            rows = window_rows(start, stop, rate, heard.count, left, right)
        return tokens(_Heard(heard), rows)

    def render(self, faces: Sequence[FaceFrame], conditioning: Conditioning, features: Float) -> list[Image]:
        """
        Render B faces, (256, 256, 3) uint8 BGR each.

        Raises:
            EngineOutOfMemory: the device has no memory for a single frame.
            EngineError: the networks return non-finite numbers, or faces and features differ in number.
        """
        if len(features) != len(faces):
            raise EngineError(f"got {len(faces)} faces but audio features for {len(features)}")
        device = self._networks.device
        latents = np.stack([unpacked(conditioning.plates.read(face.index), device) for face in faces])
        return self._networks.generate(latents, features)

    def mask(self, face: FaceFrame, conditioning: Conditioning) -> tuple[Mask, Box]:
        """Return the blending mask: from the parser's class map, or the mesh's face oval without a parser."""
        labels = conditioning.plates.read(face.index)[packed_size(self._networks.device) :]
        if not labels:
            return oval_mask(face.landmarks, face.box, self._style.blur_share)
        classes = np.frombuffer(zlib.decompress(labels), np.uint8).reshape(SIDE, SIDE)
        return parsed_mask(classes, face.box, self._style)


class _Heard:
    """Stored rows, (L, 1920), read as encoder states, (n, 5, 384)."""

    def __init__(self, rows: RowReader) -> None:
        self._rows = rows

    def __getitem__(self, key: slice, /) -> Float:
        block = self._rows.read(key.start, key.stop)
        return block.reshape(len(block), *_STATES)


def _points68(landmarks: Float) -> tuple[Float, Box | None]:
    if len(landmarks) == MESH_POINTS:
        return landmarks[LANDMARKS_68], None
    corners = landmarks[_POINTS:].ravel()
    # parity: the original clamps the detector's box at 0 and truncates fractions
    return landmarks[:_POINTS], Box(*(int(v) for v in corners.clip(min=0)))


def _seen(face: FaceFrame) -> Picture:
    if face.picture is None:
        raise EngineError("the face parser needs the whole frame, available only while an avatar is prepared")
    return face.picture
