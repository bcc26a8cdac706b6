"""Another process that uses a cache entry, so that the entry must not be deleted."""

import subprocess
import sys
from contextlib import contextmanager

PROGRAM = """
import sys
from tasks.cache.artefacts import artefact_cache
artefact_cache().find(*sys.argv[1:])
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def entry_in_use(kind, key):
    """Run a real process that uses the entry until the `with` block ends."""
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, kind, key], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout.readline() == "held\n"
            yield
        finally:
            process.stdin.close()
