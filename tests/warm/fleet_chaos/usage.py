"""CPU time and requests of a fleet's processes, for figures of what a job costs."""

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path

from own_postgres import POSTGRES

TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Usage:
    """Sums since the start of each process."""

    cpu_s: dict[str, float]
    requests: dict[str, int]

    def since(self, before):
        """Return what was used after another moment; processes must be the same."""
        return Usage(
            {name: self.cpu_s[name] - before.cpu_s.get(name, 0.0) for name in self.cpu_s},
            {name: self.requests[name] - before.requests.get(name, 0) for name in self.requests},
        )

    def without(self, other, times):
        """Return the rest after another usage, taken a number of times."""
        return Usage(
            {name: value - times * other.cpu_s[name] for name, value in self.cpu_s.items()},
            {name: round(value - times * other.requests[name]) for name, value in self.requests.items()},
        )

    def per(self, jobs):
        """Return lines with the figures of one job."""
        cpu = {name: round(1e3 * value / jobs) for name, value in sorted(self.cpu_s.items())}
        requests = {name: round(value / jobs, 1) for name, value in sorted(self.requests.items()) if value}
        return {"CPU time per job, ms": cpu, "requests per job": requests}


def usage_of(fleet):
    """Return the usage of a fleet and of PostgreSQL until now."""
    cpu = {name: _tree_s(member.process.pid) for name, member in fleet.members.items()}
    cpu["postgres"] = _tree_s(asyncio.run(_postmaster()))
    requests = {name: link.requests for name, link in fleet.links.items() if name.endswith(">servers")}
    return Usage(cpu, requests)


async def _postmaster():
    """
    Return the process whose children are PostgreSQL's backends; it counts those that have ended.

    The backends of other databases count, too: measure on a machine without other users of this PostgreSQL.
    """
    import asyncpg

    connection = await asyncpg.connect(POSTGRES.replace("+asyncpg", "") + "/postgres", timeout=10)
    try:
        backend = Path(f"/proc/{connection.get_server_pid()}/stat").read_text()
    finally:
        await connection.close()
    return int(backend.rpartition(")")[2].split()[1])


def _process_s(pid):
    """Return the CPU time of a process and of its children that have ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:15])) / TICKS


def _tree_s(pid):
    total = _process_s(pid)
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        total += sum(_tree_s(int(child)) for child in task.read_text().split())
    return total
