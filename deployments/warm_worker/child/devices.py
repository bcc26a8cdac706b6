"""Number of child processes of a worker, and the GPU or the CPU threads of each."""

import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tasks.settings import WorkerSettings

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def find_gpus() -> list[str]:
    """Return the ids of this machine's NVIDIA GPUs, in the format of CUDA_VISIBLE_DEVICES."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")  # noqa: TID251  CUDA's own variable
    if visible is not None:
        return [gpu.strip() for gpu in visible.split(",") if gpu.strip() and gpu.strip() != "-1"]
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    try:
        output = subprocess.run(
            [tool, "--query-gpu=index", "--format=csv,noheader"], capture_output=True, text=True, timeout=180
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [line.strip() for line in output.stdout.splitlines() if line.strip().isdigit()]


def child_environments(settings: "WorkerSettings", limit: int | None) -> list[dict[str, str]]:
    """
    Return the environment variables of each child process, one per GPU or as many as configured on the CPU.

    Args:
        settings: worker settings; `gpus` lists GPU ids, where a repeated id means several children on that
                  GPU.
        limit:    maximum number of children (`--limit`); without a GPU and `children` setting, their number.
    """
    base: Mapping[str, str] = os.environ  # noqa: TID251  children inherit the worker's variables
    gpus = list(settings.gpus) or find_gpus()
    if not gpus:
        child_count = settings.children or limit or 1
        return [_cpu_environment(base, child_count) for _ in range(child_count)]
    children_per_gpu = Counter(gpus)
    return [
        {
            **base,
            "CUDA_VISIBLE_DEVICES": gpu,
            **_memory_share(base, children_per_gpu[gpu]),
            **_child_overrides(base),
        }
        for gpu in gpus[: limit or len(gpus)]
    ]


def device_share(environment: Mapping[str, str], environments: Sequence[Mapping[str, str]]) -> float:
    """Return the share of its GPU that a child has among all children of a worker; 0 without a GPU."""
    gpu = environment["CUDA_VISIBLE_DEVICES"]
    return 1 / sum(other["CUDA_VISIBLE_DEVICES"] == gpu for other in environments) if gpu else 0.0


def _cpu_environment(base: Mapping[str, str], child_count: int) -> dict[str, str]:
    threads = str(max(1, (os.cpu_count() or 1) // child_count))
    thread_limits = {name: threads for name in _THREAD_VARIABLES if name not in base}
    return {**base, "CUDA_VISIBLE_DEVICES": "", **thread_limits, **_child_overrides(base)}


def _memory_share(base: Mapping[str, str], child_count: int) -> dict[str, str]:
    """Divide the memory budget of loaded models among the children of one GPU."""
    name = "MUSETALK_MODELS__MEMORY_BYTES"
    if child_count == 1:
        return {}
    from tasks.settings import get_settings

    return {name: base.get(name) or str(get_settings().models.memory_bytes // child_count)}


def _child_overrides(base: Mapping[str, str]) -> dict[str, str]:
    """
    Return the Prefect variables in which a child differs from its worker.

    Its client retries for some minutes, with doubled delays, when the server is unavailable. It serves no
    metrics, since the worker uses the port.
    """
    retries = "PREFECT_CLIENT_MAX_RETRIES"
    return {
        retries: base.get(retries, "8"),
        "PREFECT_CLIENT_METRICS_ENABLED": "false",
        # its spans would hold names of files; with a current span it sends a request per run for their labels
        "PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY": "false",
    }
