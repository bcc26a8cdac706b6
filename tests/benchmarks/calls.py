"""Requests to Prefect that a job costs, by process and path: submission, execution and webhook."""

import json
import os
import re
import statistics
import sys
import tempfile
import time
from collections import Counter
from datetime import datetime
from pathlib import Path

from figures import record

for folder in ("warm", "support"):
    sys.path.append(str(Path(__file__).resolve().parents[1] / folder))

JOB_COUNT = 8
IDLE_S = 30
_LOG = "MEASURED_REQUESTS"
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}")


def create_app():
    """The project's Prefect server, which also writes a line for each request."""
    from deployments.stack.prefect_server import create_app as prefect_app

    app, log = prefect_app(), Path(os.environ[_LOG]).open("a", buffering=1)  # noqa: SIM115  open as long as the server

    @app.middleware("http")
    async def count(request, answer):
        process = request.headers.get("x-process", "other")
        log.write(f"{process}\t{request.method} {_ID.sub('ID', request.url.path)}\n")
        return await answer(request)

    return app


def read_log(path):
    return Counter(tuple(line.split("\t")) for line in path.read_text().splitlines())


def measure(folder, control):
    """Return the requests of JOB_COUNT jobs, those of an idle time, and the seconds of both."""
    from chain_stage import Stage
    from prefect_server import popen
    from receiver import receiving
    from stage import HTTP, Server, eventually

    log = folder / "requests"
    log.touch()

    class Counted(Server):
        def serve(self, environment):
            command = [sys.executable, "-m", "uvicorn", "--factory", "calls:create_app"]
            command += ["--host", "127.0.0.1", "--port", str(self.port), "--log-level", "warning"]
            environment = environment | {_LOG: str(log), "PYTHONPATH": str(Path(__file__).parent)}
            with (self.folder / "server.log").open("ab") as output:
                self.process = popen(command, env=environment, stdout=output, stderr=output, cwd=self.folder)
            eventually(lambda: HTTP.get(f"{self.url}/ready").is_success, 600)

    server = Counted(folder)
    server.start()
    stage = None
    with receiving() as receiver:
        try:
            stage = Stage(
                server,
                folder,
                MUSETALK_EGRESS__ALLOWED_HOSTS=receiver.host,
                MUSETALK_EGRESS__ALLOW_HTTP="true",
                PREFECT_WORKER_QUERY_SECONDS="15",  # as `musetalk worker` sets it
            )
            for pool in ("gpu", "light"):
                stage.environment["PREFECT_CLIENT_CUSTOM_HEADERS"] = json.dumps({"x-process": pool})
                stage.worker(pool)
            stage.environment["PREFECT_CLIENT_CUSTOM_HEADERS"] = json.dumps({"x-process": "api"})
            import httpx
            from stage import Shim

            stage.api = Shim(server, folder, **stage.environment).wait_ready()
            stage.http = httpx.Client(base_url=stage.api.url, trust_env=False, timeout=60)

            def run(number):
                job = {"text": f"Sentence number {number}.", "control": control(receiver)}
                return stage.wait(stage.submit("speech", job), 120)

            assert run(0)["status"] == "succeeded"
            time.sleep(10)
            first, began = read_log(log), time.monotonic()
            for number in range(1, JOB_COUNT + 1):
                assert run(number)["status"] == "succeeded"
            if control(receiver).get("notify"):
                eventually(lambda: len(receiver.got) >= JOB_COUNT + 1, 60)
                report_delays(receiver.got[1:])
            time.sleep(3)
            busy, busy_s = read_log(log) - first, time.monotonic() - began
            first = read_log(log)
            time.sleep(IDLE_S)
            return busy, busy_s, read_log(log) - first
        finally:
            if stage:
                stage.stop()
            server.kill()


def report_delays(got):
    """Print the seconds between the end of each job and its webhook."""
    ends = [datetime.fromisoformat(one.json["timestamp"]).timestamp() for one in got]
    delays = sorted(one.at - end for one, end in zip(got, ends, strict=True))
    print(
        f"webhook after the end: median {statistics.median(delays):.2f} s,"
        f" 95th percentile {delays[min(len(delays) - 1, int(0.95 * len(delays)))]:.2f} s"
    )


def report(name, busy, busy_s, idle):
    total = Counter()
    print(f"{name}: {JOB_COUNT} jobs in {busy_s:.0f} s; idle {sum(idle.values()) / IDLE_S:.2f} requests/s")
    for key, count in sorted(idle.items()):
        print(f"  {key[0]:6} {count / IDLE_S:6.2f}/s  {key[1]}")
    for key, count in sorted(busy.items(), key=lambda one: (one[0][0], -one[1])):
        own = (count - idle[key] * busy_s / IDLE_S) / JOB_COUNT
        total[key[0]] += own
        if own > 0.15:
            print(f"  {key[0]:6} {own:6.1f}  {key[1]}")
    print(f"  per job: { {process: round(value, 1) for process, value in total.items()} }", flush=True)
    record(**{f"{process}_requests": value for process, value in total.items()})
    record(requests=sum(total.values()), idle_per_s=sum(idle.values()) / IDLE_S)
    return total


def main():
    with tempfile.TemporaryDirectory() as name:
        measured = measure(Path(name), lambda receiver: {"notify": {"url": receiver.url}})
        return report("speech with a webhook", *measured)


if __name__ == "__main__":
    main()
