"""Full-size weights with random values: time and memory do not depend on values."""

import json
import sys
from pathlib import Path

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from whisper.model import AudioEncoder

sys.path.append(str(Path(__file__).resolve().parents[1] / "support"))
from golden_data import weights  # its parser, detector and pose network are full-size

UNET_CONFIG = {
    "in_channels": 8,
    "out_channels": 4,
    "cross_attention_dim": 384,
    "attention_head_dim": 8,
    "block_out_channels": (320, 640, 1280, 1280),
    "sample_size": 64,
}
VAE_CONFIG = {
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
    "sample_size": 256,
}


def create_unet():
    torch.manual_seed(0)
    return UNet2DConditionModel(**UNET_CONFIG).eval().requires_grad_(False)


def create_vae():
    torch.manual_seed(0)
    return AutoencoderKL(**VAE_CONFIG).eval().requires_grad_(False)


def write_weights(root):
    for folder in ("musetalkV15", "sd-vae", "whisper"):
        (root / folder).mkdir(parents=True)
    torch.save(create_unet().state_dict(), root / "musetalkV15" / "unet.pth")
    (root / "musetalkV15" / "musetalk.json").write_text(json.dumps(UNET_CONFIG))
    torch.save(create_vae().state_dict(), root / "sd-vae" / "diffusion_pytorch_model.bin")
    (root / "sd-vae" / "config.json").write_text(json.dumps(VAE_CONFIG))
    encoder = {
        f"encoder.{key}": value for key, value in AudioEncoder(80, 1500, 384, 6, 4).state_dict().items()
    }
    torch.save({"dims": {}, "model_state_dict": encoder}, root / "whisper" / "tiny.pt")
    weights.write_models(root, ["bisenet", "s3fd", "dwpose"])


if __name__ == "__main__":
    write_weights(Path(sys.argv[1]))
