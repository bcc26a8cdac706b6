"""A simulated process that runs the maintenance tasks which concern jobs."""

from typing import Any

import httpx

from flows.janitor import SWEEPS
from flows.maintenance.context import SweepContext
from simulator import client as clients
from simulator.world import Process, World, current_process, describe, run_sync
from tasks.settings import get_settings

TASKS = ("deadlines", "webhooks", "orphans", "zombies", "slots")
"""The maintenance tasks that are simulated; the others remove old files and runs."""


def start_janitor(world: World) -> Process:
    """Run the maintenance tasks once in a process of their own."""
    process = world.spawn("janitor")
    task = world.run_in(process, run_sync(_clean_up, world))
    task.add_done_callback(lambda done: world.on_task_ended(process, done))
    return process


def _clean_up(world: World) -> None:
    client: Any = clients.SyncClient(world.network)
    context = SweepContext(client, world.wall(current_process.get()), get_settings().retention)
    for name in TASKS:
        try:
            for action in SWEEPS[name](context):
                world.cover("maintenance", action.kind)
                world.note(f"maintenance: {action.kind}: {action.item}")
        except httpx.HTTPError:
            world.cover("maintenance failed", name)
        except Exception as error:
            world.violate("no surprise", f"maintenance task {name}: {describe(error)}")
