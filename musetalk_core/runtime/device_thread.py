"""The one thread of this process that runs networks on the device."""

from concurrent.futures import ThreadPoolExecutor
from functools import cache


@cache
def device_thread() -> ThreadPoolExecutor:
    """
    Return the executor of the one thread of this process that uses the device, shared by all chunks.

    PyTorch caches cuDNN's choice of algorithm per convolution and per thread. In a new thread every choice is
    made again, which takes longer than rendering a chunk (docs/LOG.md). Work that runs in this thread must
    not wait for other work in it.
    """
    return ThreadPoolExecutor(1, thread_name_prefix="device")
