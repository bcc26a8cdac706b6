"""
Deterministic stand-in weights for the networks (numpy only; torch is needed only to write files).

The value of a tensor depends on four things and nothing else: set name, network label, tensor key, shape.

    digest = sha256("<set>|<net>|<key>|<shape as d0xd1x...>")
    raw    = numpy PCG64(seed = first 16 digest bytes, big endian) -> one 64-bit word per element, C order
    h      = sum of the four 16-bit fields of the word             (integer, 0 .. 262140)
    n      = (h - 131070) / 37837.22                               (close to a unit normal, |n| < 3.47)
    value  = float32(offset + scale * n)                           (computed in float64, rounded once)

Only integer arithmetic, IEEE +,-,*,/ and sqrt are used, so the result is the same on every platform and numpy
version (raw PCG64 words are covered by numpy's stream guarantee). offset and scale come from rule(). For the
nets listed in CENTRED the row mean over fan-in is taken out of n in exact integer arithmetic before scaling
(keeps ReLU networks from collapsing to one output class).

    tensors(net, set_name)              -> {key: ndarray}
    write_models(root, which, set_name) -> writes the layout of the official models folder below `root`
    checksum(net, set_name)             -> sha256 over all tensors, compare with checksums.json
"""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
DEFAULT_SET = "golden-1"

# net label -> (key list file, path below models/)
NETS = {
    "unet-v1": ("keys-unet-tiny.json", "musetalk/pytorch_model.bin"),
    "unet-v15": ("keys-unet-tiny.json", "musetalkV15/unet.pth"),
    "vae": ("keys-vae-tiny.json", "sd-vae/diffusion_pytorch_model.bin"),
    "whisper": ("keys-whisper-tiny.json", "whisper/pytorch_model.bin"),
    "bisenet": ("keys-bisenet.json", "face-parse-bisent/79999_iter.pth"),
    "resnet18": ("keys-resnet18.json", "face-parse-bisent/resnet18-5c106cde.pth"),
    "s3fd": ("keys-s3fd.json", "s3fd/s3fd-619a316812.pth"),
    "dwpose": ("keys-dwpose.json", "dwpose/dw-ll_ucoco_384.pth"),
    "gfpgan-small": ("keys-gfpgan-small.json", "gfpgan/GFPGANv1.4.pth"),
    "codeformer-small": ("keys-codeformer-small.json", "codeformer/codeformer.pth"),
}
# config file in this folder -> path(s) below models/, written together with the net that needs it
CONFIGS = {
    "unet-v1": [("config-unet-tiny.json", "musetalk/musetalk.json")],
    "unet-v15": [("config-unet-tiny.json", "musetalkV15/musetalk.json")],
    "vae": [("config-vae-tiny.json", "sd-vae/config.json")],
    "whisper": [
        ("config-whisper-tiny.json", "whisper/config.json"),
        ("preprocessor-whisper.json", "whisper/preprocessor_config.json"),
    ],
}
WRAPPERS = {"dwpose": "state_dict", "gfpgan-small": "params_ema", "codeformer-small": "params_ema"}
CENTRED = ("bisenet", "resnet18", "s3fd")
UNIT = 37837.22  # standard deviation of the sum of four 16-bit fields


def keys(net: str) -> dict:
    listed = json.loads((HERE / NETS[net][0]).read_text(encoding="utf-8"))
    return {key: tuple(shape) for key, shape in listed.items()}


def _gain(net: str, key: str) -> float:
    """Gain of matrix-like weights; scale = gain / sqrt(fan_in)."""
    if net.startswith("unet"):
        if ".to_q." in key or ".to_k." in key:
            return 1.6
        if ".attn2.to_v." in key or ".attn2.to_out" in key:
            return 1.6
        return 1.8 if key.startswith("conv_out") else 1.2
    if net == "vae":
        if ".query." in key or ".key." in key:
            return 1.6
        return {"decoder.conv_out.weight": 1.0, "encoder.conv_out.weight": 2.0}.get(key, 1.2)
    if net == "whisper":
        return 1.5 if (".q_proj." in key or ".k_proj." in key) else 1.2
    if net in ("bisenet", "resnet18"):
        return math.sqrt(2.0)
    if net == "s3fd":
        if key == "conv1_1.weight":
            return math.sqrt(2.0) / 8  # inputs are about +-128
        return {"conf": 3.0, "loc": 2.0}.get(key.split(".")[0].rsplit("_", 1)[-1], math.sqrt(2.0))
    if net == "dwpose":
        return {"head.gau.o.weight": 0.5}.get(key, 1.6 if key.startswith("backbone") else 1.5)
    if net.startswith("gfpgan"):
        if key.startswith("condition_"):
            return 0.5
        if ".modulation." in key or "to_rgb" in key:
            return 0.3
        return 0.7 if ".skip." in key else 1.2
    if net.startswith("codeformer"):
        if key.startswith("fuse_convs_dict") and "encode_enc" not in key:
            return 0.3
        return {"idx_pred_layer.1.weight": 3.0}.get(key, 1.6 if "in_proj" in key else 1.2)
    raise KeyError(net)


def rule(net: str, key: str, shape: tuple) -> tuple:
    """(offset, scale) of one tensor; offset may be an array of the tensor's shape."""
    last = key.rsplit(".", 1)[-1]
    if last == "running_mean":
        return 0.0, 0.1
    if last == "running_var":
        return 1.2, 0.1
    if key.endswith("embed_positions.weight"):
        return 0.0, 0.5
    if key.endswith("embed_tokens.weight") or key == "proj_out.weight":
        return 0.0, 0.02
    if last == "gamma":
        return 0.25, 0.05
    if last == "beta":
        return 0.0, 0.1
    if net == "s3fd" and key in ("conv3_3_norm.weight", "conv4_3_norm.weight", "conv5_3_norm.weight"):
        m = {"3": 10.0, "4": 8.0, "5": 5.0}[key[4]]
        return m, 0.1 * m
    if net == "s3fd" and key.endswith("_conf.bias"):  # background entries +2, face entry (the last) -2
        return np.array([2.0] * (shape[0] - 1) + [-2.0]), 0.02
    if net.startswith(("gfpgan", "codeformer")) and (exact := _restoration_rule(key, shape)):
        return exact
    if len(shape) == 1:
        return (0.0, 0.02) if last in ("bias", "in_proj_bias") else (1.0, 0.1)
    fan_in = int(np.prod(shape[2:] if len(shape) == 5 else shape[1:]))
    return 0.0, _gain(net, key) / math.sqrt(fan_in)


def _restoration_rule(key: str, shape: tuple) -> tuple | None:
    """(offset, scale) of tensors of the restoration networks that are no matrices; None for others."""
    if ".noises." in key or key.endswith("constant_input.weight"):
        return 0.0, 1.0
    if ".modulation.bias" in key or (key.startswith("condition_scale") and key.endswith(".2.bias")):
        return 1.0, 0.1
    if key.startswith("stylegan_decoder") and shape == (1,):  # how much noise a convolution adds
        return 0.2, 0.05
    if len(shape) == 4 and key.endswith(".bias"):
        return 0.0, 0.1
    return {"position_emb": (0.0, 0.5), "quantize.embedding.weight": (0.0, 1.0)}.get(key)


def tensor(set_name: str, net: str, key: str, shape: tuple) -> np.ndarray:
    if key.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    text = f"{set_name}|{net}|{key}|{'x'.join(map(str, shape))}"
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "big")
    raw = np.random.PCG64(seed).random_raw(int(np.prod(shape)))
    h = raw & np.uint64(0xFFFF)
    for shift in (16, 32, 48):
        h += (raw >> np.uint64(shift)) & np.uint64(0xFFFF)
    h = h.astype(np.int64) - 131070
    offset, scale = rule(net, key, shape)
    if net in CENTRED and len(shape) >= 2:
        rows = h.reshape(shape[0], -1)
        f = rows.shape[1]
        if f > 1:
            rows = rows * f - rows.sum(axis=1, keepdims=True)
            n = rows.astype(np.float64) / (f * UNIT)
        else:
            n = rows.astype(np.float64) / UNIT
    else:
        n = h.astype(np.float64) / UNIT
    return (offset + scale * n).astype(np.float32).reshape(shape)


def tensors(net: str, set_name: str = DEFAULT_SET) -> dict:
    return {k: tensor(set_name, net, k, s) for k, s in keys(net).items()}


def checksum(net: str, set_name: str = DEFAULT_SET) -> str:
    d = hashlib.sha256()
    for k, s in keys(net).items():
        a = tensor(set_name, net, k, s)
        d.update(k.encode() + b"\0" + a.astype(a.dtype.newbyteorder("<")).tobytes())
    return d.hexdigest()


def write_models(root: Path, which: list[str] | None = None, set_name: str = DEFAULT_SET) -> list[Path]:
    """Write the files of the nets in `which` (default: all) below root; returns the paths written."""
    import torch

    done: list[Path] = []
    for net in which or list(NETS):
        state = {k: torch.from_numpy(v.copy()) for k, v in tensors(net, set_name).items()}
        obj = {"meta": {}, WRAPPERS[net]: state} if net in WRAPPERS else state
        path = root / NETS[net][1]
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(obj, path)
        done.append(path)
        for source, target in CONFIGS.get(net, ()):
            (root / target).write_bytes((HERE / source).read_bytes())
            done.append(root / target)
    return done
