"""
Golden vectors: results of the original program, which our networks and arithmetic must repeat.

    golden_sets()                      -> parameters: the committed set, and the full one where it lies beside
                                          the checkout, so that nothing here is ever skipped
    golden_cases("blend", "*/params")  -> parameters (folder, what `*` stands for), one per array there is
    load(folder, "audio")              -> array name -> array, read once; do not modify them
    golden_frame(folder, 3)            -> (240, 256, 3) uint8 BGR, frame 3 of the clip
    write_models(folder, "vae")        -> the paths of the stand-in weights of a net, written below a folder
    weights                            -> the module with the recipe of the stand-in weights

    @pytest.mark.parametrize("folder", golden_sets())
    def test_something(folder, golden_models):
        arrays = load(folder, "parsing")
        path = golden_models("bisenet") / "face-parse-bisent/79999_iter.pth"

`golden_models`, a session fixture, writes the stand-in weights of the named nets once and gives their folder,
laid out like the official models folder. Arrays, tolerances and what the committed set leaves out: README.md
and prune.py in tests/assets/golden.
"""

import importlib.util
import re
import shutil
import sys
from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path
from types import MappingProxyType, ModuleType

import numpy as np
import pytest
from made_once import made_once

TESTS = Path(__file__).resolve().parents[1]
COMMITTED = TESTS / "assets" / "golden"
FULL = TESTS.parents[1] / "shared" / "golden"


def golden_sets() -> list:
    """The folders there are, the committed one first."""
    return [pytest.param(folder, id=name, marks=_marks(folder)) for name, folder in _sets().items()]


def _marks(folder: Path) -> list:
    """Tests of the full set, which may lie beside a checkout, are slow."""
    return [] if folder == COMMITTED else [pytest.mark.slow]


def golden_cases(name: str, pattern: str) -> list:
    """(folder, case) for every array of `name` that fits a pattern with one `*`, the case."""
    form = re.compile(re.escape(pattern).replace(r"\*", "(.+)"))
    return [
        pytest.param(folder, found[1], id=f"{label}-{found[1]}", marks=_marks(folder))
        for label, folder in _sets().items()
        for key in load(folder, name)
        if (found := form.fullmatch(key))
    ]


@cache
def load(folder: Path, name: str) -> Mapping[str, np.ndarray]:
    """All arrays of one file, `name` without `.npz`."""
    with np.load(folder / f"{name}.npz", allow_pickle=False) as arrays:
        return MappingProxyType(dict(arrays))


def golden_frame(folder: Path, index: int) -> np.ndarray:
    """One frame of the clip, a new array."""
    clip = load(folder, "clip")
    (y, x), (height, width) = clip["origins"][index], clip["frame_hw"]
    return clip["base"][y : y + height, x : x + width].copy()


def write_models(folder: Path, net: str, set_name: str = "golden-1") -> list[Path]:
    """
    Write the files of a net below a folder, laid out like the official models folder.

    They are computed once in a run of the suite, which takes seconds, and copied each time.

    Args:
        folder:   root of the models folder.
        net:      a key of `weights.NETS`.
        set_name: which made-up weights; another name gives others of the same size.
    """
    made = _made_models(net, set_name)
    written = [folder / path.relative_to(made) for path in sorted(made.rglob("*")) if path.is_file()]
    shutil.copytree(made, folder, dirs_exist_ok=True, copy_function=shutil.copyfile)
    main = folder / weights.NETS[net][1]
    return sorted(written, key=lambda path: path != main)


def _made_models(net: str, set_name: str) -> Path:
    return made_once(
        f"golden-{net}-{set_name}", partial(weights.write_models, which=[net], set_name=set_name)
    )


def script(name: str) -> ModuleType:
    """A module that lies beside the committed vectors."""
    if f"golden_{name}" not in sys.modules:
        spec = importlib.util.spec_from_file_location(f"golden_{name}", COMMITTED / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        sys.modules[f"golden_{name}"] = module
    return sys.modules[f"golden_{name}"]


def _sets() -> dict[str, Path]:
    return {"committed": COMMITTED} | ({"full": FULL} if FULL.is_dir() else {})


weights = script("weights")
