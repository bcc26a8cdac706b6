"""Metrics of a real API and a real worker: runs that end well, and a child that is killed."""

import signal

import pytest
from documented_metrics import documented_metrics
from prometheus_client.parser import text_string_to_metric_families
from stage import HTTP, Shim, eventually, free_port

pytestmark = pytest.mark.stack


class Scrape:
    """The metrics of a process: the names of its families, and the value of each series by its labels."""

    def __init__(self, url):
        families = list(text_string_to_metric_families(HTTP.get(f"{url}/metrics").text))
        self.names = {
            family.name + ("_total" if family.type == "counter" else "")
            for family in families
            if family.name.startswith("musetalk_")
        }
        samples = [sample for family in families for sample in family.samples]
        self._values = {(one.name, frozenset(one.labels.values())): one.value for one in samples}

    def value(self, name, *labels):
        return self._values.get((name, frozenset(labels)))


def test_a_scrape_of_api_and_worker_has_every_metric(server, pool, workers, tmp_path):
    port = free_port()
    api = Shim(server, tmp_path)
    workers(pool, tmp_path, PREFECT_CLIENT_METRICS_ENABLED="true", PREFECT_CLIENT_METRICS_PORT=str(port))
    spending = pool.submit("spends", cpu_s=0.4)
    assert pool.wait(spending).type.value == "COMPLETED"
    dying = pool.submit("dies", number=signal.SIGKILL, marks=str(tmp_path))
    assert pool.wait(dying, 120).type.value == "COMPLETED"  # the second attempt

    url, ends = f"http://127.0.0.1:{port}", "musetalk_run_seconds_count"
    # the state is on the server before the child reports the end to its worker
    eventually(lambda: Scrape(url).value(ends, pool.name, "other", "succeeded") == 2)
    worker = Scrape(url)
    assert worker.value(ends, pool.name, "other", "lost") == 1
    assert worker.value("musetalk_lost_runs_total", "worker") == 1
    assert worker.value("musetalk_lost_runs_total", "reaper") == 0
    assert worker.value("musetalk_run_wait_seconds_count", pool.name, "normal") == 3
    assert worker.value("musetalk_phase_seconds_count", "other", "render") == 1
    render_s = worker.value("musetalk_cpu_seconds_total", "render")
    assert 0.8 <= render_s <= 1.6  # the process, and the program that it started
    assert worker.value("musetalk_device_seconds_total", "render") == 0  # no GPU

    api.wait_ready()
    HTTP.get(f"{api.url}/readyz")
    served = Scrape(api.url)
    api.kill()
    assert served.value("musetalk_webhooks_waiting", "due") == 0
    assert served.value("musetalk_queue_waiting_jobs", "gpu", "none", "normal") == 0
    assert served.value("musetalk_ready", "prefect") == 1
    assert worker.names | served.names == set(documented_metrics())
