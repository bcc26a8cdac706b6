"""
Run the chaos of a seed: `.venv/bin/python tests/warm/fleet_chaos --jobs 20 --seconds 60 --seed 1`.

Costs of a job, without faults: `--jobs 30 --seconds 4 --idle 60`.
"""

import argparse
import signal
import sys
import tempfile
from pathlib import Path

WARM = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(WARM), str(WARM.parent / "support"), str(WARM.parents[1])]


def main():
    from fleet_chaos.chaos import run_chaos

    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # and all processes of the fleet
    parser = argparse.ArgumentParser()
    parser.add_argument("--jobs", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=60.0, help="time in which faults begin")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--idle", type=float, default=0.0, help="seconds without jobs before, subtracted")
    parser.add_argument("--folder", type=Path, help="keep logs here")
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="fleet-"))
    folder.mkdir(parents=True, exist_ok=True)
    print(f"logs: {folder}", flush=True)
    report = run_chaos(
        folder,
        jobs=options.jobs,
        seconds=options.seconds,
        seed=options.seed,
        idle_s=options.idle,
        say=lambda line: print(line, flush=True),
    )
    print(report)
    sys.exit(bool(report.broken))


if __name__ == "__main__":
    main()
