"""Loading of MuseTalk's networks; imported when the first is loaded, since it imports diffusers."""

from collections.abc import Mapping
from pathlib import Path

from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

from musetalk_core.nets.bisenet import FaceParser, load_parser
from musetalk_core.nets.device import Device
from musetalk_core.nets.diffusion import load_unet, load_vae
from musetalk_core.nets.dwpose import WholeBodyPose, load_pose
from musetalk_core.nets.lean import LeanUNet
from musetalk_core.nets.s3fd import FaceDetector, load_detector
from musetalk_core.nets.tuning import Tuning, tune
from musetalk_core.nets.whisper_states import WhisperStates, load_whisper

Files = Mapping[str, Path]
"""Role -> path, as `musetalk_core.weights.layout` gives them."""


def vae(files: Files, device: Device, tuning: Tuning) -> AutoencoderKL:
    """Both halves of the VAE."""
    net = load_vae(files["weights"], files["config"], device)
    for half in (net.encoder, net.decoder):
        tune(half, tuning)
    return net


def unet(files: Files, device: Device, tuning: Tuning) -> LeanUNet:
    """The UNet of one version."""
    net = LeanUNet(load_unet(files["weights"], files["config"], device))
    tune(net, tuning)
    return net


def ears(files: Files, device: Device) -> WhisperStates:
    """Whisper's encoder."""
    return load_whisper(files["weights"], device)


def parser(files: Files, device: Device) -> FaceParser:
    """The face parser."""
    return load_parser(files["weights"], device)


def detector(files: Files, device: Device, longest_side: int | None) -> FaceDetector:
    """The face detector."""
    return load_detector(files["weights"], device, longest_side)


def pose(files: Files, device: Device) -> WholeBodyPose:
    """The pose network."""
    return load_pose(files["weights"], device)
