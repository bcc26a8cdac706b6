"""
`./run bench capacity`: print the tables of docs/explanation/scaling.md, from measured figures of a job.

A model, not a benchmark: only the last line of the output is compared with a real run.
"""

import sys
from dataclasses import replace
from pathlib import Path

from capacity_model import JobCost, Machines, ceilings, one_machine, simulate, size
from page import fill

PAGE = Path(__file__).resolve().parents[2] / "docs/explanation/scaling.md"
FLEET_CPU_S = {"api": 0.011, "server": 3.55, "database": 1.27, "gpu": 1.26, "s3": 0.33, "light": 0.64}
"""
CPU seconds of a job in a fleet without faults, what the idle fleet uses subtracted; see docs/LOG.md.

`.venv/bin/python tests/warm/fleet_chaos --jobs 30 --seconds 4 --idle 60`
"""
FLEET_JOBS, FLEET_S = 30, 118.0
"""Jobs of that run, and the seconds from its first submission to its last end, on two cores."""
COST = JobCost(
    api_s=FLEET_CPU_S["api"],
    server_s=FLEET_CPU_S["server"],
    database_s=FLEET_CPU_S["database"],
    light_s=FLEET_CPU_S["light"],
    start_s=0.5,  # a warm worker takes 0.26 s; input and features of a short clip
    gpu_s_per_s=25 / 265,  # engine musetalk, 720p25 on one H200
    prepare_s_per_s=25 / 25,  # the same, bound by the CPU beside the GPU
    new_faces=0.05,
    video_s=30.0,
)
BUSIEST_HOUR = 3.0
"""Submissions in the busiest hour, over the mean hour's."""
LONGEST_WAIT_S, MOST_BUSY = 60.0, 0.6
GPU_HOUR_PRICE, CORE_HOUR_PRICE = 3.0, 0.04
"""Assumed prices in USD of an hour of a GPU with its share of a machine, and of a CPU core."""
JOBS_A_DAY = (1_000, 10_000, 100_000, 1_000_000)
SIMULATED_JOBS, SEED = 4_000, 1
TITLES = {
    "apis": "an API process",
    "servers": "a Prefect server process",
    "database_cores": "a core of PostgreSQL",
    "gpu_slots": "a GPU",
    "light_workers": "a light worker",
}
KNOBS = {
    "apis": "more API processes behind a load balancer",
    "servers": "more Prefect servers with `MUSETALK_REDIS__HOST`",
    "database_cores": "a larger machine; shorter retention keeps its tables small",
    "gpu_slots": "more GPUs; a shared store, so that each face is prepared once",
    "light_workers": "more workers of the pool `light`",
}


def fleets():
    """Return the lines of the table of fleets."""
    lines = [
        "| Jobs a day | In the busiest hour | GPUs | API processes | Prefect servers | PostgreSQL cores"
        " | Light workers | Wait for a GPU, 50th and 95th percentile | USD a minute of video |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for jobs in JOBS_A_DAY:
        rate = jobs / 86_400 * BUSIEST_HOUR
        machines, result = size(
            rate, COST, longest_wait_s=LONGEST_WAIT_S, most_busy=MOST_BUSY, jobs=SIMULATED_JOBS, seed=SEED
        )
        median, late = result.wait_s
        lines.append(
            f"| {jobs:,} | {rate:.2f} jobs/s | {machines.gpu_slots} | {machines.apis} | {machines.servers}"
            f" | {machines.database_cores} | {machines.light_workers} | {median:.0f} and {late:.0f} s"
            f" | {_price(machines, jobs):.3f} |"
        )
    return lines


def limits():
    """Return the lines of the table of ceilings."""
    lines = [
        "| What | Jobs a second at most | Jobs a day, busiest hour included | More by |",
        "|---|---|---|---|",
    ]
    for name, rate in ceilings(COST).items():
        a_day = rate / BUSIEST_HOUR * 86_400
        lines.append(f"| {TITLES[name]} | {rate:.2f} | {_rounded(a_day)} | {KNOBS[name]} |")
    return lines


def one_server():
    """Return the lines of the table of one Prefect server with more and more jobs."""
    lines = [
        "| Jobs a second | Busy | Wait for a GPU, 95th percentile |",
        "|---|---|---|",
    ]
    ceiling = ceilings(COST)["servers"]
    for share in (0.5, 0.8, 0.95, 1.1):
        rate = share * ceiling
        machines = Machines(4, 1, 8, 2 + int(1.5 * rate * COST.slot_s), 8)
        result = simulate(rate, COST, machines, jobs=SIMULATED_JOBS, seed=SEED)
        late = f"{result.wait_s[1]:.1f} s" if share < 1 else "grows without end"
        lines.append(f"| {rate:.2f} | {min(1.0, result.busy['servers']):.0%} | {late} |")
    return lines


def comparison():
    """Return the line that compares the model with a real run."""
    modelled = one_machine(FLEET_JOBS, FLEET_CPU_S, cores=2, slots=4, seed=SEED)
    return (
        f"{FLEET_JOBS} jobs at once on two cores: {FLEET_S:.0f} s measured, {modelled:.0f} s by the model"
        f" (ratio {FLEET_S / modelled:.2f})."
    )


def sections():
    """Return the parts of the page that are made here, by name."""
    return {
        "fleets": "\n".join(fleets()),
        "limits": "\n".join(limits()),
        "one server": "\n".join(one_server()),
        "comparison": comparison(),
    }


def _price(machines: Machines, jobs: int) -> float:
    """Return USD a minute of video, of a fleet that runs all day."""
    cores = sum(vars(replace(machines, gpu_slots=0)).values())
    a_day = 24 * (machines.gpu_slots * GPU_HOUR_PRICE + cores * CORE_HOUR_PRICE)
    return a_day / (jobs * COST.video_s / 60)


def _rounded(value: float) -> str:
    digits = len(str(int(value)))
    step = 10 ** max(0, digits - 2)
    return f"{int(value / step) * step:,}"


def main() -> None:
    """Print the tables; with `--write`, write them into the page."""
    parts = sections()
    print("\n\n".join(parts.values()))
    if "--write" in sys.argv:
        PAGE.write_text(fill(PAGE.read_text(), parts))


if __name__ == "__main__":
    main()
