"""
Make the small copy of the golden vectors that is committed here from the full set.

    python tests/assets/golden/prune.py FULL_FOLDER [TARGET_FOLDER]

Bulky repeats are left out, whole arrays or rows along the first axis; what remains keeps its type, precision
and meaning. Pruning a pruned folder changes nothing.
"""

import sys
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.generic]

FILES = ("audio", "blend", "boxes", "chain", "chain_more", "clip", "dwpose", "latent", "parsing", "s3fd")

LEFT_OUT = {
    "audio": ("pe_added*",),
    "blend": ("v15_raw/*", "big/*", "rt_v1_raw/*"),
    "chain": tuple(f"v15/out_delta_{i:02}" for i in range(20) if i not in (0, 1, 8, 11, 12, 19)),
    "chain_more": (
        *(f"v1/out_delta_{i:02}" for i in range(20) if i not in (0, 1, 12, 19)),
        "live_v15/out_delta_07",
        "live_v15/out_delta_12",
    ),
    "dwpose": ("portrait/plain_*", "portrait/mean_*", "portrait/gau_p8"),
    "latent": ("crop256_v1", "decoded_faces_v1"),
}

FIRST_ROWS: dict[str, dict[str, int]] = {
    "chain": {"v15/labels": 2, "faces_v15_s4": 9, "faces_v1_s4": 2},
    "chain_more": {"v1/labels": 2},
    "latent": {
        "crop256_v15": 1,
        "moments_*": 2,
        "latents_mode_v15": 2,
        "latents_mode_v1": 1,
        "latents_sampled": 1,
        "noise": 1,
        "unet_out_v15": 9,
        "unet_out_v1": 2,
        "unet_out_sampled": 1,
        "decoded_faces_v15": 1,
    },
}

CHOSEN_ROWS = {
    "audio": {
        ("one/hs", "one/hs_rows"): (0, 1, 2, 10, 20, 30, 40, 47, 48, 49),
        ("one/chunks_fps25", "one/chunk_frames_fps25"): (0, 24),
        ("one/chunks_fps30", "one/chunk_frames_fps30"): (29,),
        ("one/chunks_fps24", "one/chunk_frames_fps24"): (0,),
        ("long/hs", "long/hs_rows"): (0, 1499, 1500, 1564),
        ("long/chunks_fps25", "long/chunk_frames_fps25"): (750,),
    },
}
"""Arrays whose rows another array numbers: both keep the rows with these numbers."""


def prune(name: str, arrays: Mapping[str, Array]) -> dict[str, Array]:
    """The part of one file that is committed; `name` without `.npz`."""
    kept = {
        key: value
        for key, value in arrays.items()
        if not any(fnmatchcase(key, pattern) for pattern in LEFT_OUT.get(name, ()))
    }
    for pattern, count in FIRST_ROWS.get(name, {}).items():
        kept |= {key: value[:count] for key, value in kept.items() if fnmatchcase(key, pattern)}
    for (key, numbers), wanted in CHOSEN_ROWS.get(name, {}).items():
        rows = np.isin(kept[numbers], wanted)
        kept |= {key: kept[key][rows], numbers: kept[numbers][rows]}
    return kept


def main(full: Path, target: Path) -> None:
    """Write every pruned file."""
    for name in FILES:
        with np.load(full / f"{name}.npz", allow_pickle=False) as arrays:
            np.savez_compressed(target / f"{name}.npz", **prune(name, dict(arrays)))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else Path(__file__).parent)
