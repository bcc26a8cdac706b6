"""MuseTalk v1 and v1.5 behind the engine protocol: official weights, bounded memory, any device."""

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
"""Bump it when records, features or pixels change."""
_STATES: Final = (5, 384)
_POINTS: Final = 68
_ENCODE_AT_ONCE: Final = 4


class MuseTalkEngine:
    """Satisfies `Engine`. Networks are loaded when they are first needed."""

    name = "musetalk"

    def __init__(self, options: Options, machine: Machine, pinned: Sequence[PinnedModel] = ()) -> None:
        """
        Decide everything but load nothing.

        Args:
            options: see `Options`.
            machine: where the weights are, and where to compute.
            pinned:  the content of the weights, see `Networks`.

        Raises:
            InputError: options that do not go together.
            ModelNotInstalled: a weight file is missing; the message names it and the command that gets it.
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
        """See `Engine`."""
        return self._networks.counts

    @property
    def models(self) -> tuple[str, ...]:
        """See `Engine`."""
        return self._networks.models

    def made_by(self, stage: Stage) -> Mapping[str, object]:
        """See `Engine`."""
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
        """Follow DWPose points where they are installed, else the packaged mesh."""
        return self._networks.follower(choice)

    def crop_box(self, landmarks: Float, width: int, height: int) -> Box:
        """
        See `Engine`; `landmarks` are the 468 of the mesh, or 68 and the corners of a detector's box.

        On even coordinates, so that no chroma sample is half inside, but for `face_rule: upstream`.
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
        """Yield an empty record and a plate for each face: latents, then what the parser sees, packed."""
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
        """Give them back: there are none."""
        del shots, rate
        return records

    def choose_donors(self, records: Float, shots: Sequence[int]) -> dict[int, int]:
        """Name none: every frame brings its own reference."""
        del records, shots
        return {}

    def encode_speech(
        self, samples: Samples, frames: int, rate: Fraction, phones: Sequence[Phone] | None
    ) -> Iterator[Float]:
        """Yield (n, 5 * 384) float32: five states of Whisper's encoder, 50 rows a second."""
        del frames, rate, phones
        heard = Hushed(samples) if self._chosen.options.silence == "closed" else samples
        for block in self._networks.ears().encode(heard, overlap_s=self._chosen.options.audio_overlap_s):
            yield block.reshape(len(block), -1)

    def features(self, heard: RowReader, start: int, stop: int, rate: Fraction) -> Float:
        """Give (n, 10 * 5, 384) float32 tokens, positions added; 10 with the usual paddings."""
        options = self._chosen.options
        left, right = options.audio_padding_left, options.audio_padding_right
        if options.audio_window == "upstream":
            rows = upstream_rows(start, stop, float(rate), heard.count, left, right)
        else:
            rows = window_rows(start, stop, rate, heard.count, left, right)
        return tokens(_Heard(heard), rows)

    def render(self, faces: Sequence[FaceFrame], conditioning: Conditioning, features: Float) -> list[Image]:
        """
        Render B faces of (256, 256, 3) uint8 BGR.

        Raises:
            EngineOutOfMemory: the device cannot hold even one.
            EngineError: the networks give no finite numbers, or the inputs do not belong together.
        """
        if len(features) != len(faces):
            raise EngineError(f"{len(faces)} faces came with {len(features)} rows of features")
        device = self._networks.device
        latents = np.stack([unpacked(conditioning.plates.read(face.index), device) for face in faces])
        return self._networks.generate(latents, features)

    def mask(self, face: FaceFrame, conditioning: Conditioning) -> tuple[Mask, Box]:
        """See `Engine`: by the parser's classes where it is installed, else the oval of the mesh."""
        labels = conditioning.plates.read(face.index)[packed_size(self._networks.device) :]
        if not labels:
            return oval_mask(face.landmarks, face.box, self._style.blur_share)
        classes = np.frombuffer(zlib.decompress(labels), np.uint8).reshape(SIDE, SIDE)
        return parsed_mask(classes, face.box, self._style)


class _Heard:
    """Stored rows as encoder states."""

    def __init__(self, rows: RowReader) -> None:
        self._rows = rows

    def __getitem__(self, key: slice, /) -> Float:
        block = self._rows.read(key.start, key.stop)
        return block.reshape(len(block), *_STATES)


def _points68(landmarks: Float) -> tuple[Float, Box | None]:
    if len(landmarks) == MESH_POINTS:
        return landmarks[LANDMARKS_68], None
    corners = landmarks[_POINTS:].ravel()
    # parity: the original cuts the detector's box below at 0 and drops fractions
    return landmarks[:_POINTS], Box(*(int(v) for v in corners.clip(min=0)))


def _seen(face: FaceFrame) -> Picture:
    if face.picture is None:
        raise EngineError("the face parser needs the picture of a frame, which is there only in preparation")
    return face.picture
