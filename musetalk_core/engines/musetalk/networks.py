"""The networks of one MuseTalk engine: model names, devices and loading at first use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, TypeVar

from musetalk_core.engine import Counts
from musetalk_core.engines.musetalk.batching import BatchSize
from musetalk_core.engines.musetalk.generate import Generator
from musetalk_core.engines.musetalk.options import Settled
from musetalk_core.faces.following import FaceChoice, Follower
from musetalk_core.faces.models import DETECTOR, FACE_MESH, MESH
from musetalk_core.faces.tracking import Tracker
from musetalk_core.machine import LandmarksWord, Machine
from musetalk_core.nets.device import choose_device
from musetalk_core.nets.shelf import loaded_model
from musetalk_core.nets.tuning import tuning_for
from musetalk_core.types import Float, Image
from musetalk_core.weights.pins import PinnedModel, digest_of

if TYPE_CHECKING:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    from musetalk_core.nets.bisenet import FaceParser
    from musetalk_core.nets.dwpose import WholeBodyPose
    from musetalk_core.nets.lean import LeanUNet
    from musetalk_core.nets.s3fd import FaceDetector
    from musetalk_core.nets.whisper_states import WhisperStates

T = TypeVar("T")

_VAE, _EARS, _PARSER, _POSE, _FACES = "sd-vae", "whisper-tiny", "face-parse", "dwpose", "s3fd"
_LONGEST_SIDE: Final = 1024
"""Larger pictures are scaled to this side for face detection; the original uses them unscaled."""


class Networks:
    """The networks of one engine. The constructor only checks files; methods load networks."""

    def __init__(self, chosen: Settled, machine: Machine, pinned: Sequence[PinnedModel] = ()) -> None:
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
        self._chosen, self._machine, self._layout = chosen, machine, machine.layout
        self.device = choose_device(machine.device, machine.precision)
        self._pinned = {model.name: model for model in pinned}
        self._tuning = tuning_for(self.device, machine.channels_last, machine.compile)
        self.landmarks: LandmarksWord = self._landmarks()
        self._has_parser = _PARSER in self._layout.installed()
        for name in (chosen.preset.model, _VAE, _EARS):
            self._layout.find(name)
        if not self._has_parser and self.landmarks == "dwpose":
            self._layout.find(_PARSER)  # raises: without a mesh, masks need the parser

    def _landmarks(self) -> LandmarksWord:
        if self._machine.landmarks == "auto":
            return "dwpose" if {_POSE, _FACES} <= set(self._layout.installed()) else "mesh"
        if self._machine.landmarks == "dwpose":
            for name in (_POSE, _FACES):
                self._layout.find(name)
        return self._machine.landmarks

    @property
    def models(self) -> tuple[str, ...]:
        """Return the names of all models in use, as in the model registry."""
        faces = (_POSE, _FACES) if self.landmarks == "dwpose" else (FACE_MESH,)
        parser = (_PARSER,) if self._has_parser else ()
        return (self._chosen.preset.model, _VAE, _EARS, *faces, *parser)

    def digest(self, stage: Literal["avatar", "features", "crops"]) -> str:
        """Return a hash of the weights that determine a stage's results, for cache keys."""
        match stage:
            case "avatar":
                parser = [_PARSER] if self._has_parser else []
                if self.landmarks == "dwpose":
                    return self._digest(_VAE, _POSE, _FACES, *parser)
                return "-".join([self._digest(_VAE, *parser), DETECTOR.sha256, MESH.sha256])
            case "features":
                return self._digest(_EARS)
            case "crops":
                return self._digest(self._chosen.preset.model, _VAE)

    def _digest(self, *names: str) -> str:
        return digest_of(self._pin(name) for name in names)

    def _pin(self, name: str) -> PinnedModel:
        if name not in self._pinned:
            (self._pinned[name],) = self._layout.pin(name)
        return self._pinned[name]

    def follower(self, choice: FaceChoice) -> Follower:
        """Return a new face tracker for one clip."""
        if self.landmarks == "mesh":
            return Tracker(choice)
        from musetalk_core.faces.posing import PoseFollower

        upstream = self._chosen.options.face_rule == "upstream"
        return PoseFollower(self._detector(upstream), self._pose(), choice, upstream)

    def vae(self) -> AutoencoderKL:
        """Return the VAE, encoder and decoder."""
        from musetalk_core.engines.musetalk import loading

        return self._get(_VAE, lambda files: loading.vae(files, self.device, self._tuning))

    def ears(self) -> WhisperStates:
        """Return Whisper's encoder."""
        from musetalk_core.engines.musetalk import loading

        return self._get(_EARS, lambda files: loading.ears(files, self.device))

    def parser(self) -> FaceParser | None:
        """Return the face parser; None if it is not installed."""
        if not self._has_parser:
            return None
        from musetalk_core.engines.musetalk import loading

        return self._get(_PARSER, lambda files: loading.parser(files, self.device))

    def _detector(self, upstream: bool) -> FaceDetector:
        side = None if upstream else _LONGEST_SIDE
        from musetalk_core.engines.musetalk import loading

        return self._get(_FACES, lambda files: loading.detector(files, self.device, side), side)

    def _pose(self) -> WholeBodyPose:
        from musetalk_core.engines.musetalk import loading

        return self._get(_POSE, lambda files: loading.pose(files, self.device))

    def _unet(self) -> LeanUNet:
        from musetalk_core.engines.musetalk import loading

        model = self._chosen.preset.model
        return self._get(model, lambda files: loading.unet(files, self.device, self._tuning))

    def generate(self, latents: Float, tokens: Float) -> list[Image]:
        """Render faces; see `Generator.render_faces`."""
        return self._generator.faces(self._unet(), self.vae(), latents, tokens)

    @cached_property
    def _generator(self) -> Generator:
        first = 1 if self.device.place.type == "cpu" else 4
        return Generator(self.device, BatchSize(self._machine.batch, first))

    @property
    def counts(self) -> Counts:
        """Return device, batch size and error counts of rendering so far."""
        return self._generator.counts

    def _get(self, name: str, load: Callable[[dict[str, Path]], T], *more: object) -> T:
        variant = (self.device.name, self._tuning, *more)
        return loaded_model(self._machine, self._pin(name), variant, load)
