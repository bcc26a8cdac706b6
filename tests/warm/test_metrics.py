"""Metrics and usage of a real API and real workers: runs that end in every way, killed processes."""

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
            if family.name.startswith("musetalk_") and not family.name.endswith("_created")
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
    assert served.value("musetalk_ready", "store") == 1
    assert worker.names | served.names == set(documented_metrics())


def test_usage_of_attempts_that_end_in_every_way(server, pool, workers, tmp_path):
    api = Shim(server, tmp_path, MUSETALK_HOME=str(tmp_path / "home"))
    first = workers(pool, tmp_path)
    mine = ["tenant:acme", "part-of:0b7c6f0e-4c1d-4a55-9d0e-6f1d2c3b4a59"]
    assert pool.wait(pool.submit("spends", cpu_s=0.3, tags=mine)).type.value == "COMPLETED"
    assert pool.wait(pool.submit("fails")).type.value == "FAILED"
    stopped = pool.submit("nap", seconds=60)
    pool.wait_running(stopped)
    pool.cancel(stopped)
    pool.wait(stopped)
    dying = pool.submit("dies", number=signal.SIGKILL, marks=str(tmp_path))
    assert pool.wait(dying, 120).type.value == "COMPLETED"
    api.wait_ready()

    def read(**query):
        answer = HTTP.get(f"{api.url}/v1/usage", params=query)
        return {tuple(row["group"].values()): row for row in answer.raise_for_status().json()["rows"]}

    ended = {"succeeded": 2, "failed": 1, "canceled": 1, "lost": 1}
    eventually(lambda: read(group_by="type").get(("other",), {}).get("attempts") == ended, 60)
    acme = read(group_by="tenant,batch")["acme", mine[1].removeprefix("part-of:")]
    assert 0.6 <= acme["phases"]["render"]["cpu_s"] <= 1.2 and acme["attempts"] == {"succeeded": 1}

    # a worker that ends hands its run back, and writes what the attempt has used
    held = pool.submit("nap", seconds=60)
    pool.wait_running(held)
    first.stop()
    assert read(group_by="type")["other",]["attempts"] == ended | {"returned": 1}
    api.kill()
