"""Loaders of MuseTalk's networks. Imports diffusers, so it is only imported when a network is loaded."""

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
"""Role -> path, as `LocalModels.find` returns them."""


def vae(files: Files, device: Device, tuning: Tuning) -> AutoencoderKL:
    """Load the Stable Diffusion VAE (encoder and decoder) with the device's optimizations."""
    net = load_vae(files["weights"], files["config"], device)
    for half in (net.encoder, net.decoder):
        tune(half, tuning)
    return net


def unet(files: Files, device: Device, tuning: Tuning) -> LeanUNet:
    """Load the UNet of one MuseTalk version with the device's optimizations."""
    net = LeanUNet(load_unet(files["weights"], files["config"], device))
    tune(net, tuning)
    return net


def ears(files: Files, device: Device) -> WhisperStates:
    """Load the encoder of Whisper tiny."""
    return load_whisper(files["weights"], device)


def parser(files: Files, device: Device) -> FaceParser:
    """Load the BiSeNet face parser."""
    return load_parser(files["weights"], device)


def detector(files: Files, device: Device, longest_side: int | None) -> FaceDetector:
    """Load the S3FD face detector; larger pictures are scaled to `longest_side` pixels, None: never."""
    return load_detector(files["weights"], device, longest_side)


def pose(files: Files, device: Device) -> WholeBodyPose:
    """Load the DWPose whole-body pose network."""
    return load_pose(files["weights"], device)
