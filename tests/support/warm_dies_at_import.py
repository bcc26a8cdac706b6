"""A flow that no process survives to reach: as under a kernel that runs out of memory."""

import os
import signal

os.kill(os.getpid(), signal.SIGKILL)
