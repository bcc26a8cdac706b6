"""
A queueing model of a fleet: how many GPUs, servers and databases a number of jobs a day needs.

Each stage of a job is a request to a resource of a discrete-event simulation (simpy). What a stage takes is
measured: `capacity.py` has the figures.
"""

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import simpy

WARM_UP_SHARE = 0.2
"""Jobs of the first part of a simulation are not counted: its queues start empty."""
VARIATION = 0.6
"""Sigma of the logarithm of a job's length: one in 30 is over three times the median."""
BEFORE_GPU, AFTER_GPU = 0.5, 0.5
"""Shares of a job's requests to Prefect before its rendering starts and after."""


@dataclass(frozen=True)
class JobCost:
    """
    Times of one job.

    Attributes:
        api_s:            CPU time of the API, in s.
        server_s:         CPU time of Prefect's servers, in s.
        database_s:       CPU time of PostgreSQL, in s.
        light_s:          CPU time of light workers, which deliver webhooks, in s.
        start_s:          from a free slot to the first frame, in s: claim, input, features.
        gpu_s_per_s:      time in a GPU's slot per second of video.
        prepare_s_per_s:  the same for preparing a face that is not in the cache, per second of its clip.
        new_faces:        share of jobs with such a face, 0..1.
        video_s:          mean length of an output, in s.
    """

    api_s: float
    server_s: float
    database_s: float
    light_s: float
    start_s: float
    gpu_s_per_s: float
    prepare_s_per_s: float
    new_faces: float
    video_s: float

    @property
    def slot_s(self) -> float:
        """Return the mean time in a slot of a GPU, in s."""
        return self.start_s + self.video_s * (self.gpu_s_per_s + self.new_faces * self.prepare_s_per_s)


@dataclass(frozen=True)
class Machines:
    """Numbers of processes: each is one core's worth of CPU time, or one slot of a GPU."""

    apis: int
    servers: int
    database_cores: int
    gpu_slots: int
    light_workers: int


@dataclass(frozen=True)
class Result:
    """
    Rates, waits and loads of a simulation.

    Attributes:
        jobs_per_s:  ended jobs a second, after the warm-up.
        wait_s:      50th and 95th percentile of the time from submission to the start in a slot, without
                     the work of the API and the servers on the job itself.
        mean_wait_s: mean of the same.
        busy:        share of time in which a resource works, by the name of its field in `Machines`.
    """

    jobs_per_s: float
    wait_s: tuple[float, float]
    mean_wait_s: float
    busy: dict[str, float]


def simulate(jobs_per_s: float, cost: JobCost, machines: Machines, *, jobs: int, seed: int) -> Result:
    """
    Simulate jobs that arrive at random (Poisson) and return waits and loads.

    Args:
        jobs_per_s: mean rate of submissions.
        cost:       of each job.
        machines:   of the fleet.
        jobs:       how many jobs to simulate.
        seed:       the same seed gives the same result.
    """
    chance, world = random.Random(seed), simpy.Environment()
    pools = {name: simpy.Resource(world, count) for name, count in vars(machines).items()}
    used = dict.fromkeys(pools, 0.0)
    arrived: list[float] = []
    waits: list[tuple[float, float]] = []
    ends: list[float] = []

    def work(pool: str, seconds: float) -> Iterator[Any]:
        if seconds <= 0:
            return
        with pools[pool].request() as turn:
            yield turn
            used[pool] += seconds
            yield world.timeout(seconds)

    def orchestrate(share: float) -> Iterator[Any]:
        yield from work("servers", cost.server_s * share)
        yield from work("database_cores", cost.database_s * share)

    def job() -> Iterator[Any]:
        began = world.now
        yield from work("apis", cost.api_s)
        yield from orchestrate(BEFORE_GPU)
        slot_s = _slot_time(cost, chance)
        own_s = cost.api_s + BEFORE_GPU * (cost.server_s + cost.database_s)
        with pools["gpu_slots"].request() as turn:
            yield turn
            waits.append((began, max(0.0, world.now - began - own_s)))
            used["gpu_slots"] += slot_s
            yield world.timeout(slot_s)
        yield from orchestrate(AFTER_GPU)
        yield from work("light_workers", cost.light_s)
        ends.append(world.now)

    def arrivals() -> Iterator[Any]:
        for _ in range(jobs):
            yield world.timeout(chance.expovariate(jobs_per_s))
            arrived.append(world.now)
            world.process(job())

    world.process(arrivals())
    world.run()
    first = arrived[int(WARM_UP_SHARE * jobs)]
    counted = sorted(wait for began, wait in waits if began >= first)
    late = [end for end in ends if first <= end <= arrived[-1]]
    return Result(
        jobs_per_s=len(late) / (arrived[-1] - first),
        wait_s=(_percentile(counted, 0.5), _percentile(counted, 0.95)),
        mean_wait_s=sum(counted) / len(counted),
        busy={name: used[name] / (world.now * pool.capacity) for name, pool in pools.items()},
    )


def size(
    jobs_per_s: float, cost: JobCost, *, longest_wait_s: float, most_busy: float, jobs: int, seed: int
) -> tuple[Machines, Result]:
    """
    Return the smallest fleet whose 95th percentile of waits is short enough, and its simulation.

    Args:
        jobs_per_s:     mean rate of submissions in the busiest hour.
        cost:           of each job.
        longest_wait_s: bound of the 95th percentile.
        most_busy:      share of time, 0..1, that APIs, servers, database and light workers may work.
        jobs:           how many jobs to simulate.
        seed:           of the simulation.
    """

    def processes(seconds: float) -> int:
        return max(1, math.ceil(jobs_per_s * seconds / most_busy))

    machines = Machines(
        apis=processes(cost.api_s),
        servers=processes(cost.server_s),
        database_cores=processes(cost.database_s),
        gpu_slots=max(1, math.ceil(jobs_per_s * cost.slot_s)),
        light_workers=processes(cost.light_s),
    )
    while True:
        result = simulate(jobs_per_s, cost, machines, jobs=jobs, seed=seed)
        if result.wait_s[1] <= longest_wait_s:
            return machines, result
        more = max(1, machines.gpu_slots // 50)
        machines = replace(machines, gpu_slots=machines.gpu_slots + more)


def ceilings(cost: JobCost) -> dict[str, float]:
    """Return the jobs a second that one process, core or slot can do at most, by the names of `Machines`."""
    seconds = {
        "apis": cost.api_s,
        "servers": cost.server_s,
        "database_cores": cost.database_s,
        "gpu_slots": cost.slot_s,
        "light_workers": cost.light_s,
    }
    return {name: 1 / each for name, each in seconds.items() if each > 0}


def one_machine(jobs: int, cpu_s: dict[str, float], *, cores: int, slots: int, seed: int) -> float:
    """
    Return the seconds in which a burst of jobs ends on one machine whose processes share its cores.

    Args:
        jobs:  in the burst.
        cpu_s: CPU time of a job by process, in s: `api`, `server`, `database`, `gpu`, `s3` and `light`.
        cores: of the machine.
        slots: of the workers that render.
        seed:  of the order in which processes get the cores.
    """
    chance, world = random.Random(seed), simpy.Environment()
    core = simpy.Resource(world, cores)
    slot = simpy.Resource(world, slots)
    slice_s = 0.01

    def work(seconds: float) -> Iterator[Any]:
        while seconds > 0:  # by time slices, as a scheduler shares cores
            with core.request() as turn:
                yield turn
                yield world.timeout(min(slice_s, seconds))
            seconds -= slice_s

    def job() -> Iterator[Any]:
        yield world.timeout(chance.random() * slice_s)
        yield from work(cpu_s["api"])
        orchestration = cpu_s["server"] + cpu_s["database"]
        yield from work(0.25 * orchestration)
        with slot.request() as turn:
            yield turn
            yield from work(cpu_s["gpu"] + cpu_s["s3"] + 0.5 * orchestration)
        yield from work(0.25 * orchestration + cpu_s["light"])

    for _ in range(jobs):
        world.process(job())
    world.run()
    return float(world.now)


def _slot_time(cost: JobCost, chance: random.Random) -> float:
    spread = math.exp(chance.gauss(-(VARIATION**2) / 2, VARIATION))  # of mean 1
    rate = cost.gpu_s_per_s + (cost.prepare_s_per_s if chance.random() < cost.new_faces else 0.0)
    return cost.start_s + cost.video_s * spread * rate


def _percentile(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
