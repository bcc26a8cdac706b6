"""The MuseTalk v1 and v1.5 engine: official weights, bounded memory, CPU or GPU."""

import zlib
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import islice
from typing import Final

import numpy as np

from musetalk_core.compositing.blending import blend_square
from musetalk_core.compositing.oval_mask import oval_mask
from musetalk_core.engine_protocol import (
    Conditioning,
    EncodedFace,
    EngineCapabilities,
    FaceFrame,
    OnFace,
    RenderStats,
    Stage,
    ignore_face,
)
from musetalk_core.engines.musetalk.audio_windows import gather_tokens, upstream_rows, window_rows
from musetalk_core.engines.musetalk.latents import (
    LatentEncoder,
    from_bytes,
    latents_size_bytes,
    resize_crop,
    to_bytes,
)
from musetalk_core.engines.musetalk.models import Networks
from musetalk_core.engines.musetalk.options import MuseTalkEngineOptions, resolve_options
from musetalk_core.engines.musetalk.parsing_mask import CLASS_MAP_SIZE_PX, MaskStyle, mask_from_classes
from musetalk_core.errors import EngineError
from musetalk_core.faces.mesh_topology import LANDMARKS_68, MESH_POINTS
from musetalk_core.faces.musetalk_box import musetalk_box
from musetalk_core.faces.tracker_protocol import FaceChoice, FaceTracker
from musetalk_core.formats.float_rows import Float32RowReader
from musetalk_core.formats.pcm import Samples
from musetalk_core.media.image.yuv_picture import Picture
from musetalk_core.model_registry.pins import PinnedModel
from musetalk_core.restoration.detail_transfer import DETAIL_VERSION
from musetalk_core.restoration.network_restorer import RESTORATION_VERSION
from musetalk_core.restoration.restorer_protocol import FaceRestorer
from musetalk_core.runtime.config import RuntimeConfig
from musetalk_core.runtime.device_thread import device_thread
from musetalk_core.speech.audio.noise_gate import NoiseGate
from musetalk_core.speech.phones import Phone
from musetalk_core.types import Box, Float, Image, Mask

VERSION: Final = "2"
"""Code version in cache keys. Increase it when frame features, audio features or pixels change."""
_ENCODER_ROW_SHAPE: Final = (5, 384)
_IBUG_POINT_COUNT: Final = 68
_ENCODE_BATCH_SIZE: Final = 4
"""Faces that a GPU encodes at once; a CPU encodes one at a time, which is as fast, and reports each."""
_PART_FRAMES: Final = 64
"""Source frames per part of an avatar: 2.6 s at 25 frames per second, 1 to 3 MB, minutes on a CPU."""


class MuseTalkEngine:
    """An `Engine` for MuseTalk v1 and v1.5. Networks are loaded at first use."""

    name = "musetalk"

    def __init__(
        self, options: MuseTalkEngineOptions, runtime: RuntimeConfig, pinned: Sequence[PinnedModel] = ()
    ) -> None:
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
        self._resolved = resolve_options(options)
        self._mask_style = MaskStyle(
            self._resolved.mask_mode,
            options.left_cheek_width,
            options.right_cheek_width,
            options.blur_share,
        )
        self._networks = Networks(self._resolved, runtime, pinned)
        self.capabilities = EngineCapabilities(
            needs_crops=False,
            thread_safe=False,
            feature_size=0,
            smooth_landmarks=options.face_rule == "tracked",
            part_frames=_PART_FRAMES,
        )

    @property
    def render_stats(self) -> RenderStats:
        """Return device, batch size and error counts of this process; see `Engine`."""
        return self._networks.render_stats

    @property
    def batch_size(self) -> int:
        """Return the number of faces to render next; see `Engine`."""
        return self._networks.batch_size

    @property
    def models(self) -> tuple[str, ...]:
        """Return the names of all models in use; see `Engine`."""
        return self._networks.models

    def cache_fingerprint(self, stage: Stage) -> Mapping[str, object]:
        """Return the JSON values of one stage's cache key: options, weight hashes and device."""
        resolved, options, nets = self._resolved, self._resolved.options, self._networks
        common = {"engine": self.name, "version": VERSION}
        match stage:
            case "avatar":
                seed_entry = {"seed": options.seed} if options.latents == "sample" else {}
                return {
                    **common,
                    "device": nets.device.name,
                    "weights": nets.digest("avatar"),
                    "landmarks": nets.landmark_model,
                    "face_rule": options.face_rule,
                    "bbox_shift": resolved.bbox_shift,
                    "extra_margin": resolved.extra_margin,
                    "latents": options.latents,
                    "part_frames": _PART_FRAMES,
                    **seed_entry,
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
                style = self._mask_style
                return {
                    **common,
                    "mask": style.mode,
                    "cheeks": [style.left_cheek, style.right_cheek],
                    "blur": style.blur_share,
                    **self._restore_entry(),
                }

    def _restore_entry(self) -> Mapping[str, object]:
        """Return the entry of the restorer; faces that stay as rendered keep the key they had before."""
        options, nets = self._resolved.options, self._networks
        match options.restore:
            case "none":
                return {}
            case "detail":
                return {"restore": ["detail", DETAIL_VERSION]}
            case "gfpgan":
                return {"restore": ["gfpgan", RESTORATION_VERSION, nets.device.name, nets.digest("blend")]}
            case "codeformer":
                model = [RESTORATION_VERSION, nets.device.name, nets.digest("blend")]
                return {"restore": ["codeformer", *model, options.fidelity]}

    def create_face_tracker(self, choice: FaceChoice) -> FaceTracker:
        """Track DWPose landmarks if DWPose and S3FD are installed, else the bundled face mesh."""
        return self._networks.create_face_tracker(choice)

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
        points, detected = _split_landmarks(landmarks)
        upstream = self._resolved.options.face_rule == "upstream"
        box = musetalk_box(
            points,
            width,
            height,
            bbox_shift=self._resolved.bbox_shift,
            extra_margin=self._resolved.extra_margin,
            detected=detected,
            parity=upstream and detected is not None,
        )
        return (box if upstream else box.align_even()).clip(width, height)

    def encode_faces(self, faces: Iterator[FaceFrame], earlier_faces: int = 0) -> Iterator[EncodedFace]:
        """
        Yield no features and one blob per face: VAE latents, then the face parser's compressed class map.

        The class map is (512, 512) uint8, zlib; empty if the parser is not installed. See `Engine`.
        """
        encoder = LatentEncoder(
            self._networks.vae(),
            self._networks.device,
            self._resolved.options.latents,
            self._resolved.options.seed,
        )
        encoder.skip(earlier_faces)
        batch_size = 1 if self._networks.is_cpu else _ENCODE_BATCH_SIZE
        while batch := list(islice(faces, batch_size)):
            # parts of one clip are encoded by tasks in different threads
            blobs = device_thread().submit(self._encode_batch, encoder, batch).result()
            yield from (EncodedFace(np.zeros(0, np.float32), blob) for blob in blobs)

    def _encode_batch(self, encoder: LatentEncoder, faces: Sequence[FaceFrame]) -> list[bytes]:
        latents = encoder.encode([resize_crop(face.crop) for face in faces])
        class_maps = self._class_maps(faces)
        pairs = zip(latents, class_maps, strict=True)
        return [to_bytes(one, self._networks.device) + classes for one, classes in pairs]

    def _class_maps(self, faces: Sequence[FaceFrame]) -> list[bytes]:
        parser = self._networks.parser()
        if parser is None:
            return [b""] * len(faces)
        squares = [_require_picture(face).crop(blend_square(face.box)) for face in faces]
        return [zlib.compress(labels.tobytes(), 6) for labels in parser.label_maps(squares)]

    def smooth_features(self, frame_features: Float, shots: Sequence[int], rate: Fraction) -> Float:
        """Return the features unchanged: they have width 0."""
        del shots, rate
        return frame_features

    def choose_teeth_references(self, frame_features: Float, shots: Sequence[int]) -> dict[int, int]:
        """Return an empty mapping: the network takes each frame's own latents as its reference."""
        del frame_features, shots
        return {}

    def encode_audio(
        self, samples: Samples, frames: int, rate: Fraction, phones: Sequence[Phone] | None
    ) -> Iterator[Float]:
        """Yield (n, 5 * 384) float32: five states of Whisper's encoder, 50 rows per second."""
        del frames, rate, phones
        speech = NoiseGate(samples) if self._resolved.options.silence == "closed" else samples
        for block in self._networks.whisper_encoder().encode(
            speech, overlap_s=self._resolved.options.audio_overlap_s
        ):
            yield block.reshape(len(block), -1)

    def audio_features(self, encoded_audio: Float32RowReader, start: int, stop: int, rate: Fraction) -> Float:
        """Return (n, W * 5, 384) float32 audio tokens, positions added; W = 10 for the default paddings."""
        options = self._resolved.options
        left, right = options.audio_padding_left, options.audio_padding_right
        if options.audio_window == "upstream":
            rows = upstream_rows(start, stop, float(rate), encoded_audio.count, left, right)
        else:
            rows = window_rows(start, stop, rate, encoded_audio.count, left, right)
        return gather_tokens(_EncoderStates(encoded_audio), rows)

    def render(
        self,
        faces: Sequence[FaceFrame],
        conditioning: Conditioning,
        audio_features: Float,
        on_face: OnFace = ignore_face,
    ) -> list[Image]:
        """
        Render B faces, (256, 256, 3) uint8 BGR each.

        Raises:
            EngineOutOfMemory: the device has no memory for a single frame.
            EngineError: the networks return non-finite numbers, or faces and features differ in number.
        """
        if len(audio_features) != len(faces):
            raise EngineError(f"got {len(faces)} faces but audio features for {len(audio_features)}")
        device = self._networks.device
        latents = np.stack([from_bytes(conditioning.blobs.read(face.index), device) for face in faces])
        return self._networks.render_faces(latents, audio_features, on_face)

    def mask(self, face: FaceFrame, conditioning: Conditioning) -> tuple[Mask, Box]:
        """Return the blending mask: from the parser's class map, or the mesh's face oval without a parser."""
        compressed_classes = conditioning.blobs.read(face.index)[latents_size_bytes(self._networks.device) :]
        if not compressed_classes:
            return oval_mask(face.landmarks, face.box, self._mask_style.blur_share)
        classes = np.frombuffer(zlib.decompress(compressed_classes), np.uint8).reshape(
            CLASS_MAP_SIZE_PX, CLASS_MAP_SIZE_PX
        )
        return mask_from_classes(classes, face.box, self._mask_style)

    def open_restorer(self) -> FaceRestorer | None:
        """Return a new restorer as the option `restore` says; see `Engine`."""
        return self._networks.open_restorer()


class _EncoderStates:
    """Stored rows, (L, 1920), read as encoder states, (n, 5, 384)."""

    def __init__(self, rows: Float32RowReader) -> None:
        self._rows = rows

    def __getitem__(self, key: slice, /) -> Float:
        block = self._rows.read(key.start, key.stop)
        return block.reshape(len(block), *_ENCODER_ROW_SHAPE)


def _split_landmarks(landmarks: Float) -> tuple[Float, Box | None]:
    if len(landmarks) == MESH_POINTS:
        return landmarks[LANDMARKS_68], None
    corners = landmarks[_IBUG_POINT_COUNT:].ravel()
    # parity: the original clamps the detector's box at 0 and truncates fractions
    return landmarks[:_IBUG_POINT_COUNT], Box(*(int(v) for v in corners.clip(min=0)))


def _require_picture(face: FaceFrame) -> Picture:
    if face.picture is None:
        raise EngineError("the face parser needs the whole frame, available only while an avatar is prepared")
    return face.picture
