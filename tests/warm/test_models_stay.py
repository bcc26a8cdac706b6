"""Models are loaded once a child, however many runs use them; nothing grows."""

import re

import httpx
import pytest
from stage import free_port

pytestmark = [pytest.mark.stack, pytest.mark.slow]


@pytest.fixture
def model(tmp_path):
    import torch

    path = tmp_path / "model.pt"
    torch.save({"weight": torch.zeros(11448, 11448)}, path)
    return path


def test_a_hundred_jobs_load_a_model_twice_on_two_children(pool, workers, tmp_path, model):
    port = free_port()
    workers(
        pool,
        tmp_path,
        limit=2,
        MODEL_FILE=str(model),
        MUSETALK_WORKER__GROWTH_BYTES="0",
        PREFECT_CLIENT_METRICS_ENABLED="true",
        PREFECT_CLIENT_METRICS_PORT=str(port),
    )

    def figures(name):
        text = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).text
        return [float(value) for value in re.findall(rf"^{name}{{.*}} (\S+)$", text, re.MULTILINE)]

    first = [pool.submit("uses_a_model", tags=["warm-up"]) for _ in range(20)]
    for run in first:
        assert pool.wait(run, 180).type.value == "COMPLETED"
    early = figures("musetalk_child_resident_bytes")
    for run in [pool.submit("uses_a_model") for _ in range(80)]:
        assert pool.wait(run, 300).type.value == "COMPLETED"
    assert sum(figures("musetalk_model_loads_total")) == 2
    late = figures("musetalk_child_resident_bytes")
    assert all(after <= before * 1.1 for before, after in zip(early, late, strict=True)), (early, late)
