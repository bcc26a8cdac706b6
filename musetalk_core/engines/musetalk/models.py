"""The networks of one MuseTalk engine: model names, devices and loading at first use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from musetalk_core.engine_protocol import OnFace, RenderStats, Stage, ignore_face
from musetalk_core.engines.musetalk.batch_size import shared_batch_size
from musetalk_core.engines.musetalk.generator import CPU_BATCH_SIZE, Generator
from musetalk_core.engines.musetalk.options import ResolvedOptions
from musetalk_core.engines.musetalk.required_models import (
    FACE_DETECTOR,
    PARSER,
    POSE,
    RESTORATION_MODELS,
    VAE,
    WHISPER,
    required_models,
    resolve_landmark_model,
)
from musetalk_core.faces.mesh_tracker import MeshTracker
from musetalk_core.faces.tflite import DETECTOR, FACE_MESH, MESH
from musetalk_core.faces.tracker_protocol import FaceChoice, FaceTracker
from musetalk_core.model_registry.pins import PinnedModel, digest_of
from musetalk_core.networks.optimizations import optimizations_for
from musetalk_core.restoration.detail_transfer import DetailTransfer
from musetalk_core.restoration.network_restorer import NetworkRestorer
from musetalk_core.restoration.restorer_protocol import FaceRestorer
from musetalk_core.runtime.config import LandmarkModel, RuntimeConfig
from musetalk_core.runtime.device import choose_device
from musetalk_core.runtime.model_cache import get_loaded_model
from musetalk_core.types import Float, Image

if TYPE_CHECKING:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    from musetalk_core.networks.bisenet import FaceParser
    from musetalk_core.networks.dwpose import WholeBodyPose
    from musetalk_core.networks.fast_unet import FoldedUNet
    from musetalk_core.networks.s3fd import FaceDetector
    from musetalk_core.networks.whisper_encoder import WhisperEncoder

T = TypeVar("T")

_INITIAL_BATCH_SIZE: Final = 4
_MAX_DETECTION_SIDE_PX: Final = 1024
"""Larger pictures are scaled to this side for face detection; the original uses them unscaled."""


class Networks:
    """The networks of one engine. The constructor only checks files; methods load networks."""

    def __init__(
        self, resolved: ResolvedOptions, runtime: RuntimeConfig, pinned: Sequence[PinnedModel] = ()
    ) -> None:
        """
        Check that all models are installed.

        Args:
            resolved: version and options.
            runtime:  the models folder, device and precision.
            pinned:   the content of the weights; models not listed are pinned at first use.

        Raises:
            ModelNotInstalled: a file is missing.
            InputError: the machine has no such device.
        """
        self._resolved, self._runtime, self._local_models = resolved, runtime, runtime.local_models
        self.device = choose_device(runtime.device, runtime.precision)
        self._pinned_models = {model.name: model for model in pinned}
        self._optimizations = optimizations_for(self.device, runtime.channels_last, runtime.compile)
        installed = self._local_models.installed_models()
        self.landmark_model: LandmarkModel = resolve_landmark_model(runtime.landmarks, installed)
        self._has_parser = PARSER in installed
        for name in required_models(resolved.options.version, runtime.landmarks, installed):
            self._local_models.find(name)
        self._restoration_model = RESTORATION_MODELS.get(resolved.options.restore)
        if self._restoration_model:
            self._local_models.find(self._restoration_model)

    @property
    def models(self) -> tuple[str, ...]:
        """Return the names of all models in use, as in the model registry."""
        faces = (POSE, FACE_DETECTOR) if self.landmark_model == "dwpose" else (FACE_MESH,)
        parser = (PARSER,) if self._has_parser else ()
        restoration = (self._restoration_model,) if self._restoration_model else ()
        return (self._resolved.preset.model, VAE, WHISPER, *faces, *parser, *restoration)

    def digest(self, stage: Stage) -> str:
        """Return a hash of the weights that determine a stage's results, for cache keys."""
        match stage:
            case "avatar":
                parser = [PARSER] if self._has_parser else []
                if self.landmark_model == "dwpose":
                    return self._digest(VAE, POSE, FACE_DETECTOR, *parser)
                return "-".join([self._digest(VAE, *parser), DETECTOR.sha256, MESH.sha256])
            case "features":
                return self._digest(WHISPER)
            case "crops":
                return self._digest(self._resolved.preset.model, VAE)
            case "blend":
                return self._digest(*([self._restoration_model] if self._restoration_model else []))

    def _digest(self, *names: str) -> str:
        return digest_of(self._pin(name) for name in names)

    def _pin(self, name: str) -> PinnedModel:
        if name not in self._pinned_models:
            (self._pinned_models[name],) = self._local_models.pin(name)
        return self._pinned_models[name]

    def create_face_tracker(self, choice: FaceChoice) -> FaceTracker:
        """Return a new face tracker for one clip."""
        if self.landmark_model == "mesh":
            return MeshTracker(choice)
        from musetalk_core.faces.dwpose_tracker import DwposeTracker

        upstream = self._resolved.options.face_rule == "upstream"
        return DwposeTracker(self._detector(upstream), self._pose(), choice, upstream)

    def vae(self) -> AutoencoderKL:
        """Return the VAE, encoder and decoder."""
        from musetalk_core.engines.musetalk import model_loaders

        return self._load(VAE, lambda files: model_loaders.vae(files, self.device, self._optimizations))

    def whisper_encoder(self) -> WhisperEncoder:
        """Return Whisper's encoder."""
        from musetalk_core.engines.musetalk import model_loaders

        return self._load(WHISPER, lambda files: model_loaders.whisper_encoder(files, self.device))

    def parser(self) -> FaceParser | None:
        """Return the face parser; None if it is not installed."""
        if not self._has_parser:
            return None
        from musetalk_core.engines.musetalk import model_loaders

        return self._load(PARSER, lambda files: model_loaders.parser(files, self.device))

    def _detector(self, upstream: bool) -> FaceDetector:
        max_side_px = None if upstream else _MAX_DETECTION_SIDE_PX
        from musetalk_core.engines.musetalk import model_loaders

        return self._load(
            FACE_DETECTOR, lambda files: model_loaders.detector(files, self.device, max_side_px), max_side_px
        )

    def _pose(self) -> WholeBodyPose:
        from musetalk_core.engines.musetalk import model_loaders

        return self._load(POSE, lambda files: model_loaders.pose(files, self.device))

    def open_restorer(self) -> FaceRestorer | None:
        """Return a new restorer for consecutive frames, as the option `restore` says; None for none."""
        options = self._resolved.options
        if options.restore == "none":
            return None
        if options.restore == "detail":
            return DetailTransfer()
        from musetalk_core.engines.musetalk import model_loaders

        model = RESTORATION_MODELS[options.restore]
        if options.restore == "gfpgan":
            gfpgan = self._load(model, lambda files: model_loaders.gfpgan(files, self.device))
            return NetworkRestorer(model_loaders.gfpgan_function(gfpgan, self.device))
        codeformer = self._load(model, lambda files: model_loaders.codeformer(files, self.device))
        function = model_loaders.codeformer_function(codeformer, self.device, options.fidelity)
        return NetworkRestorer(function)

    def _unet(self) -> FoldedUNet:
        from musetalk_core.engines.musetalk import model_loaders

        model = self._resolved.preset.model
        return self._load(model, lambda files: model_loaders.unet(files, self.device, self._optimizations))

    def render_faces(self, latents: Float, tokens: Float, on_face: OnFace = ignore_face) -> list[Image]:
        """Render B faces as (256, 256, 3) uint8 BGR arrays; see `Generator.render_faces`."""
        return self._generator.render_faces(self._unet(), self.vae(), latents, tokens, on_face)

    @cached_property
    def _generator(self) -> Generator:
        key = (self.device.name, self._optimizations, self.digest("crops"))
        max_size = CPU_BATCH_SIZE if self.is_cpu else self._runtime.batch
        return Generator(self.device, shared_batch_size(key, max_size, _INITIAL_BATCH_SIZE))

    @property
    def is_cpu(self) -> bool:
        """Return whether the device is the CPU, whose batches have a fixed size; see `Generator`."""
        return self.device.torch_device.type == "cpu"

    @property
    def batch_size(self) -> int:
        """Return the number of faces of the next batch to render."""
        return self._generator.batch_size

    @property
    def render_stats(self) -> RenderStats:
        """Return device, batch size and error counts of rendering so far."""
        return self._generator.render_stats

    def _load(self, name: str, load: Callable[[dict[str, Path]], T], *variant_values: object) -> T:
        variant = (self.device.name, self._optimizations, *variant_values)
        return get_loaded_model(self._runtime, self._pin(name), variant, load)
