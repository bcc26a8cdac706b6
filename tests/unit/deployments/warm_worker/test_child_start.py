"""A worker's child that is slow to import is waited for; one that hangs is ended and reported."""

import asyncio
import os
import time

import pytest

from deployments.warm_worker.child.slot import Slot
from tasks.settings import StartSettings, WorkerSettings

SLOW = """
import time
until = time.monotonic() + 6
while time.monotonic() < until:
    open('/dev/zero', 'rb').read(1 << 20)
    time.sleep(.1)
"""


@pytest.mark.parametrize(
    ("code", "said"),
    [(SLOW, "child 0 is ready after "), ("import time; time.sleep(600)", "child 0 did not start: process ")],
    ids=["slow", "hangs"],
)
def test_a_child_is_waited_for_while_it_makes_progress(tmp_path, code, said):
    (tmp_path / "to_import.py").write_text(code)
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    lines, limits = [], StartSettings(stall_s=4, limit_s=300)

    async def start():
        rules, environment = WorkerSettings(), {**os.environ, "PYTHONPATH": path}
        slot = Slot(0, environment, ("to_import",), rules, lambda: None, lines.append, limits)
        slot.open()
        until = time.monotonic() + 240
        while not any(line.startswith(said) for line in lines):
            assert time.monotonic() < until and slot.restarts == 0, lines
            await asyncio.sleep(0.1)
        await slot.close()

    asyncio.run(start())
    assert lines[0].startswith(said)
    assert "process" not in said or "made no progress" in lines[0]
