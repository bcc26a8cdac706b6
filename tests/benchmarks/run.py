"""
Run benchmarks, which print ratios measured in one run: `./run bench [--json FILE] [NAME ...]`.

Without names all of them run. `--json` keeps their figures in a file, with those of other benchmarks that it
has; docs/performance.md is made from docs/performance.json (`performance_page.py --write`).
"""

import argparse
import os
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
    "idle",
    "mark",
    "mark_rate",
    "capacity",
)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"benchmarks: {', '.join(NAMES)}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the figures in this file")
    options = parser.parse_args()
    here = Path(__file__).parent
    unknown = [name for name in options.names if not (here / f"{name}.py").exists()]
    if unknown:
        parser.error(f"no benchmark is called {', '.join(unknown)}; there are {', '.join(NAMES)}")
    sys.path.insert(0, str(here))
    import figures

    if options.json:
        try:
            figures.read(options.json)
        except ValueError as error:
            parser.error(str(error))
    for name in options.names or NAMES:
        print(f"== {name}", flush=True)
        path, load = str(here / f"{name}.py"), os.getloadavg()[0]
        sys.argv = [path]  # the names are not arguments of the benchmark
        runpy.run_path(path, run_name="__main__")
        found, peers = figures.take_figures()
        if options.json and found:
            figures.save(options.json, name, found, peers, load)


if __name__ == "__main__":
    main()
