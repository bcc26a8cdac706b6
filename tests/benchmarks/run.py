"""`./run bench [NAME ...]`: run the named benchmarks, or all; they print ratios measured in one run."""

import runpy
import sys
from pathlib import Path

NAMES = (
    "speed",
    "memory",
    "sync",
    "picture",
    "repeat",
    "pipeline",
    "real_size",
    "preparation",
    "gpu",
    "warm",
    "transcribe",
    "transcribe_engines",
    "transcribe_memory",
    "status",
    "load",
    "reads",
    "calls",
    "mark",
    "mark_rate",
    "capacity",
)


def main():
    here = Path(__file__).parent
    sys.path.insert(0, str(here))
    for name in sys.argv[1:] or NAMES:
        print(f"== {name}", flush=True)
        path = str(here / f"{name}.py")
        sys.argv = [path]  # the names are not arguments of the benchmark
        runpy.run_path(path, run_name="__main__")


if __name__ == "__main__":
    main()
