"""Loaders of MuseTalk's networks. Imports diffusers, so it is only imported when a network is loaded."""

from collections.abc import Mapping
from pathlib import Path

from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

from musetalk_core.networks.bisenet import FaceParser, load_parser
from musetalk_core.networks.codeformer import CodeFormer, load_codeformer
from musetalk_core.networks.dwpose import WholeBodyPose, load_pose
from musetalk_core.networks.fast_unet import FoldedUNet
from musetalk_core.networks.gfpgan import GFPGAN, load_gfpgan
from musetalk_core.networks.optimizations import OptimizationConfig, apply_optimizations
from musetalk_core.networks.s3fd import FaceDetector, load_detector
from musetalk_core.networks.sd_loaders import load_unet, load_vae
from musetalk_core.networks.whisper_encoder import WhisperEncoder, load_whisper_encoder
from musetalk_core.restoration.restoration_networks import codeformer_function, gfpgan_function
from musetalk_core.runtime.device import Device

__all__ = [
    "codeformer",
    "codeformer_function",
    "detector",
    "gfpgan",
    "gfpgan_function",
    "parser",
    "pose",
    "unet",
    "vae",
    "whisper_encoder",
]

ModelFiles = Mapping[str, Path]
"""Role -> path, as `LocalModels.find` returns them."""


def vae(files: ModelFiles, device: Device, optimizations: OptimizationConfig) -> AutoencoderKL:
    """Load the Stable Diffusion VAE (encoder and decoder) with the device's optimizations."""
    net = load_vae(files["weights"], files["config"], device)
    for half in (net.encoder, net.decoder):
        apply_optimizations(half, optimizations)
    return net


def unet(files: ModelFiles, device: Device, optimizations: OptimizationConfig) -> FoldedUNet:
    """Load the UNet of one MuseTalk version with the device's optimizations."""
    net = FoldedUNet(load_unet(files["weights"], files["config"], device))
    apply_optimizations(net, optimizations)
    return net


def whisper_encoder(files: ModelFiles, device: Device) -> WhisperEncoder:
    """Load the encoder of Whisper tiny."""
    return load_whisper_encoder(files["weights"], device)


def parser(files: ModelFiles, device: Device) -> FaceParser:
    """Load the BiSeNet face parser."""
    return load_parser(files["weights"], device)


def detector(files: ModelFiles, device: Device, longest_side: int | None) -> FaceDetector:
    """Load the S3FD face detector; larger pictures are scaled to `longest_side` pixels, None: never."""
    return load_detector(files["weights"], device, longest_side)


def pose(files: ModelFiles, device: Device) -> WholeBodyPose:
    """Load the DWPose whole-body pose network."""
    return load_pose(files["weights"], device)


def gfpgan(files: ModelFiles, device: Device) -> GFPGAN:
    """Load the face restoration GFPGAN."""
    return load_gfpgan(files["weights"], device)


def codeformer(files: ModelFiles, device: Device) -> CodeFormer:
    """Load the face restoration CodeFormer."""
    return load_codeformer(files["weights"], device)
