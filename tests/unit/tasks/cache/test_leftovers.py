"""Half-made artefacts: those of the dead go, those of the living stay."""

import subprocess
import sys
import time

from tasks.cache.leftovers import remove_abandoned_folders

MAKER = """
import sys, time
from pathlib import Path
from tasks.cache.artefacts import ArtefactCache

def make(folder):
    (folder / "half").write_text("made")
    Path(sys.argv[2]).touch()
    time.sleep(60)

ArtefactCache(Path(sys.argv[1]), 10**9).get_or_create("crops", "a" * 64, make, shared=False)
"""


def test_only_what_a_dead_maker_left_is_removed(tmp_path):
    cache, begun = tmp_path / "cache", tmp_path / "begun"
    process = subprocess.Popen([sys.executable, "-c", MAKER, str(cache), str(begun)])
    try:
        deadline = time.monotonic() + 30
        while not begun.exists():
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.05)
        assert remove_abandoned_folders(cache) == []
        assert list((cache / "tmp").iterdir())
    finally:
        process.kill()
        process.wait()
    assert len(remove_abandoned_folders(cache)) == 1
    assert not list((cache / "tmp").iterdir())


def test_a_cache_that_is_not_there_has_none(tmp_path):
    assert remove_abandoned_folders(tmp_path / "none") == []
