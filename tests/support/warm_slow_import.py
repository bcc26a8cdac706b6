"""A flow whose module takes its time to be imported."""

import time
from pathlib import Path

from prefect import flow

Path("importing").touch()
time.sleep(60)


@flow
def late():
    return None
