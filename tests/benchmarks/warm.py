"""
The warm worker against Prefect's process worker on one machine, with the same flows, alternating.

`warm.py [ROUNDS]`: an empty flow from submission to its end, back-to-back runs on one worker process, and a
flow that needs torch and a model of 500 MB. Prints the distributions and their ratios.
"""

import os
import statistics
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

from figures import record

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "warm"), str(HERE.parent / "support")]

STOCK_SETTINGS = {"PREFECT_WORKER_QUERY_SECONDS": None, "PREFECT_WORKER_HEARTBEAT_SECONDS": None}
QUICK_SETTINGS = {"PREFECT_WORKER_QUERY_SECONDS": "0.5", "PREFECT_WORKER_HEARTBEAT_SECONDS": None}


def model_file(folder):
    import torch

    path = folder / "model.pt"
    torch.save({"weight": torch.zeros(11448, 11448)}, path)
    return path


def run_seconds(pool, flow):
    """Run a flow; return the seconds from the creation of the run to its end."""
    run_id = pool.submit(flow)
    state = pool.wait(run_id, 180)
    assert state.type.value == "COMPLETED", state
    run = pool.run(run_id)
    return (run.end_time - run.created).total_seconds()


def cycle_seconds(pool, count):
    """Submit runs at once; return the seconds between the ends of consecutive runs."""
    runs = [pool.submit("empty") for _ in range(count)]
    for run in runs:
        pool.wait(run, 180)
    ends = sorted(pool.run(run).end_time for run in runs)
    return [(later - earlier).total_seconds() for earlier, later in pairwise(ends)]


def start_worker(server, folder, name, worker_type, settings, model):
    from stage import Worker

    pool = server.pool(name, worker_type)
    worker = Worker(pool, folder, worker_type=worker_type, MODEL_FILE=str(model))
    for variable, value in settings.items():
        worker.environment.pop(variable, None)
        if value is not None:
            worker.environment[variable] = value
    worker.start(wait=worker_type != "process")
    return pool, worker


def show(name, seconds):
    listed = " ".join(f"{value:.2f}" for value in seconds)
    print(f"{name:34} median {statistics.median(seconds):6.2f} s   [{listed}]", flush=True)
    return statistics.median(seconds)


def main(rounds=5):
    from stage import Server

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model, server = model_file(folder), Server(folder)
        server.start()
        workers, results = [], {}
        try:
            pools = {}
            kinds = {
                "warm": ("warm-process", QUICK_SETTINGS),
                "stock": ("process", STOCK_SETTINGS),
                "quick": ("process", QUICK_SETTINGS),
            }
            for key, (worker_type, settings) in kinds.items():
                pools[key], worker = start_worker(server, folder, key, worker_type, settings, model)
                workers.append(worker)
            time.sleep(5.0)
            for pool in pools.values():
                run_seconds(pool, "empty")
            times = {key: [] for key in pools}
            for _ in range(rounds):
                for key, pool in pools.items():
                    times[key].append(run_seconds(pool, "empty"))
            show_load()
            empty = {key: show(f"empty flow, {key}", values) for key, values in times.items()}
            results["cycle"] = show("back to back on one process", cycle_seconds(pools["warm"], 10))
            models = {key: [] for key in ("warm", "quick")}
            for key in models:
                run_seconds(pools[key], "uses_a_model")
            for _ in range(max(2, rounds // 2)):
                for key in models:
                    models[key].append(run_seconds(pools[key], "uses_a_model"))
            model_s = {key: show(f"torch and 500 MB, {key}", values) for key, values in models.items()}
        finally:
            for worker in workers:
                worker.stop()
            server.kill()
    results |= {
        "stock": empty["stock"] / empty["warm"],
        "quick": empty["quick"] / empty["warm"],
        "model": model_s["quick"] / model_s["warm"],
    }
    record(**{f"empty_{key}_s": seconds for key, seconds in empty.items()})
    record(**{f"model_{key}_s": seconds for key, seconds in model_s.items()})
    record(cycle_s=results["cycle"])
    print(
        f"warm is {results['stock']:.1f}x the stock worker (bar 10, target 15),"
        f" {results['quick']:.1f}x a stock worker that polls every 0.5 s (bar 4, target 6),"
        f" {results['model']:.1f}x with the model (bar 8, target 15);"
        f" a run every {results['cycle']:.2f} s (bar 1.3, target 0.8)"
    )
    return results


def show_load():
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} CPUs", flush=True)


if __name__ == "__main__":
    main(*(int(word) for word in sys.argv[1:]))
