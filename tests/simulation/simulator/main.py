"""Command line: play histories from seeds, print their statistics, and how to replay a failure."""

import argparse
import gc
import os
import sys
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

KINDS = 10
"""Eight fault profiles of jobs, and two histories of the cache."""
MAX_SHOWN = 8
"""Broken promises of one history that are printed."""
REPLAY = "./run simulate --seed"


@dataclass
class Totals:
    """Totals of the histories that were played."""

    histories: int = 0
    steps: int = 0
    crashes: int = 0
    virtual_s: float = 0.0
    seen: set[tuple[Any, ...]] = field(default_factory=set)
    failed: list[int] = field(default_factory=list)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="./run simulate", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="CPU time to spend; default: 60")
    parser.add_argument("--seed", type=int, help="play one history and print everything that happened in it")
    parser.add_argument("--first", type=int, default=1, help="first seed; default: 1")
    parser.add_argument("--histories", type=int, help="play so many histories instead of --seconds")
    parser.add_argument("--only", choices=("jobs", "cache"), help="skip the histories of the other kind")
    parser.add_argument("--keep-going", action="store_true", help="do not stop at the first failure")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> int:
    """Play; return 1 if a promise was broken."""
    options = parse(arguments)
    if os.environ.get("PYTHONHASHSEED") != "0":  # the order of sets is part of a history
        os.environ["PYTHONHASHSEED"] = "0"
        os.execv(sys.executable, [sys.executable, *sys.argv])
    with tempfile.TemporaryDirectory(prefix="simulation-") as home:
        prepare(home)
        if options.seed is not None:
            return _play_one(options.seed)
        return _play_many(options)


def prepare(home: str) -> None:
    """Set the environment that the product reads, and make the replacements."""
    os.environ.update(
        MUSETALK_HOME=home,
        MUSETALK_STORE__URL="s3://simulated",
        MUSETALK_WEBHOOK__SECRETS="whsec_" + "c2ltdWxhdGVkIHNlY3JldCBvZiB0aGUgdGVzdHM=",
        PREFECT_HOME=f"{home}/prefect",
        PREFECT_API_URL="http://127.0.0.1:9/api",
        PREFECT_LOGGING_LEVEL="CRITICAL",
        PREFECT_SERVER_ANALYTICS_ENABLED="false",
        DO_NOT_TRACK="1",
    )
    # Prefect warns of a second worker class of one type
    warnings.filterwarnings("ignore", message="Type 'SimulatedWorker'")
    from simulator import seams

    seams.install()
    gc.freeze()
    gc.disable()  # a history is collected as a whole, after it


def is_about_cache(seed: int) -> bool:
    """Return whether the history of a seed is about the cache: two of ten are, the others are about jobs."""
    return seed % KINDS >= KINDS - 2


def play(seed: int) -> Any:
    """Play the history of a seed, and return its world."""
    from simulator import caches, scenario, seams
    from simulator.final_checks import check
    from simulator.world import Deadlock, World, describe, enter

    world = World(seed)
    enter(world)
    with seams.seeded(seed):
        is_cache = is_about_cache(seed)
        history: Any = (
            caches.CacheHistory(world)
            if is_cache
            else scenario.History(world, scenario.PROFILES[seed % KINDS])
        )
        try:
            world.loop.run_until_complete(history.play())
            if not is_cache:
                check(world, history.accepted)
        except Deadlock:
            world.violate("no surprise", "everything waits for ever")
        except Exception as error:
            world.violate("no surprise", describe(error))
        finally:
            world.close()
    if seed % 20 == 0:
        gc.collect()
    return world


def _play_one(seed: int) -> int:
    world = play(seed)
    print("\n".join(world.log))
    return _report(seed, world)


def _report(seed: int, world: Any) -> int:
    if not world.violations:
        print(f"seed {seed}: no promise was broken")
        return 0
    for violation in list(dict.fromkeys(world.violations))[:MAX_SHOWN]:
        print(f"BROKEN PROMISE, seed {seed}: {violation}")
    print(f"Replay: {REPLAY} {seed}", flush=True)
    return 1


def _play_many(options: argparse.Namespace) -> int:
    from simulator.seams import real_cpu, real_monotonic

    totals, began, began_cpu = Totals(), real_monotonic(), real_cpu()
    seed = options.first
    while True:
        is_over = (
            totals.histories >= options.histories
            if options.histories
            else real_cpu() - began_cpu >= options.seconds
        )
        if is_over or (totals.failed and not options.keep_going):
            break
        if options.only and (options.only == "cache") != is_about_cache(seed):
            seed += 1
            continue
        world = play(seed)
        _count(totals, world)
        if world.violations:
            _report(seed, world)
            totals.failed.append(seed)
        seed += 1
    _print_statistics(totals, real_monotonic() - began, real_cpu() - began_cpu)
    return 1 if totals.failed else 0


def _count(totals: Totals, world: Any) -> None:
    totals.histories += 1
    totals.steps += world.steps
    totals.crashes += world.crashes
    totals.virtual_s += world.loop.now - 1000.0
    totals.seen |= world.seen


def _print_statistics(totals: Totals, seconds: float, cpu_s: float) -> None:
    rate = 60.0 * totals.histories / max(seconds, 1e-9)
    print(
        f"{totals.histories} histories in {seconds:.1f} s ({rate:.0f} a minute, {cpu_s:.1f} s of CPU),"
        f" {totals.virtual_s / 3600:.1f} simulated hours, {totals.steps} steps, {totals.crashes} crashes,"
        f" {len(totals.seen)} situations, {len(totals.failed)} failed"
    )
