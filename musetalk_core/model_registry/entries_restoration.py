"""
Registry entries of face restoration networks.

Their authors publish no hashes. Sizes and hashes are those that several independent projects record alike.
"""

from typing import Final

from musetalk_core.model_registry.schema import File, Model, Web

RESTORATION: Final = (
    Model(
        "gfpgan-1.4",
        "GFPGAN 1.4, face restoration",
        "Apache-2.0; its LICENSE lists StyleGAN2 under NVIDIA's non-commercial terms: read it before selling",
        "TencentARC/GFPGAN",
        (
            File(
                "gfpgan/GFPGANv1.4.pth",
                "weights",
                Web("https://github.com/TencentARC/GFPGAN/releases/download/v1.3.0/GFPGANv1.4.pth"),
                348_632_874,
                bytes=348_632_874,
                sha256="e2cd4703ab14f4d01fd1383a8a8b266f9a5833dacee8e6a79d3bf21a1b6be5ad",
                other_paths=("GFPGANv1.4.pth", "gfpgan/weights/GFPGANv1.4.pth"),
            ),
        ),
    ),
    Model(
        "codeformer",
        "CodeFormer, face restoration",
        "S-Lab License 1.0: non-commercial use only",
        "sczhou/CodeFormer",
        (
            File(
                "codeformer/codeformer.pth",
                "weights",
                Web("https://github.com/sczhou/CodeFormer/releases/download/v0.1.0/codeformer.pth"),
                376_637_898,
                bytes=376_637_898,
                sha256="1009e537e0c2a07d4cabce6355f53cb66767cd4b4297ec7a4a64ca4b8a5684b7",
                other_paths=("codeformer.pth", "CodeFormer/codeformer.pth"),
            ),
        ),
        non_commercial=True,
    ),
)
