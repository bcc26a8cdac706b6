"""A Prefect server and warm workers as processes, and a client's view of them."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import wave
from functools import partial
from pathlib import Path
from uuid import UUID

import prefect_server
import warm_flows
from fork_server import popen
from prefect.client.schemas.actions import WorkPoolCreate, WorkQueueCreate
from prefect.flows import Flow
from prefect.utilities.callables import parameter_schema
from prefect_server import HTTP, eventually, free_port

ASSETS = Path(__file__).resolve().parents[1] / "assets"
SUPPORT = Path(warm_flows.__file__).parent
FINAL = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


def is_alive(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


class Server(prefect_server.Server):
    """A Prefect server with work pools for the test flows."""

    def pool(self, name, worker_type="warm-process", variables=None):
        """A work pool with its three queues, and every test flow deployed on it."""
        return Pool(self, name, worker_type, variables or {})


serving = partial(prefect_server.serving, kind=Server)


class Pool:
    def __init__(self, server, name, worker_type, variables):
        from prefect.workers.base import BaseWorker

        self.server, self.name = server, name
        worker_class = BaseWorker.get_worker_class_from_type(worker_type)
        template = worker_class.get_default_base_job_template()
        for variable, value in variables.items():
            template["variables"]["properties"][variable]["default"] = value
        self.deployments = {}
        with server.client() as client:
            client.create_work_pool(WorkPoolCreate(name=name, type=worker_type, base_job_template=template))
            for priority, queue in enumerate(("high", "normal", "low"), start=1):
                client._client.post(
                    f"/work_pools/{name}/queues",
                    json=WorkQueueCreate(name=queue, priority=priority).model_dump(mode="json"),
                ).raise_for_status()
            for flow in vars(warm_flows).values():
                if isinstance(flow, Flow):
                    self.deployments[flow.fn.__name__] = self._deploy(client, flow)

    def _deploy(self, client, flow):
        schema = parameter_schema(flow.fn).model_dump_for_openapi()
        return client.create_deployment(
            flow_id=client.create_flow_from_name(flow.name),
            name=self.name,
            entrypoint=f"warm_flows.{flow.fn.__name__}",
            work_pool_name=self.name,
            work_queue_name="normal",
            pull_steps=[],
            parameter_openapi_schema=schema,
        )

    def deploy(self, name, entrypoint, schema=None, title=None):
        """Deploy a flow by its entrypoint, without importing it; the API finds a job type by its title."""
        with self.server.client() as client:
            self.deployments[name] = client.create_deployment(
                flow_id=client.create_flow_from_name(name),
                name=title or self.name,
                entrypoint=entrypoint,
                work_pool_name=self.name,
                work_queue_name="normal",
                pull_steps=[],
                parameter_openapi_schema=schema or {"type": "object", "properties": {}},
            )

    def phase(self, run_id):
        """The phase that a job's progress names."""
        from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId

        wanted = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run_id]))
        with self.server.client() as client:
            notes = client.read_artifacts(artifact_filter=wanted)
        found = [json.loads(note.description) for note in notes if note.key == "progress"]
        return found[-1]["phase"] if found else None

    def submit(self, flow, queue=None, tags=(), variables=None, **parameters):
        with self.server.client() as client:
            return client.create_flow_run_from_deployment(
                self.deployments[flow],
                parameters=parameters,
                work_queue_name=queue,
                tags=list(tags),
                job_variables=variables,
            ).id

    def submit_many(self, flow, count, **options):
        return [self.submit(flow, **options) for _ in range(count)]

    def count(self, state):
        """How many runs of the pool are in a state."""
        with self.server.client() as client:
            answer = client._client.post(
                "/flow_runs/count",
                json={
                    "flow_runs": {"state": {"type": {"any_": [state]}}},
                    "work_pools": {"name": {"any_": [self.name]}},
                },
            )
        return answer.json()

    def run(self, run_id):
        with self.server.client() as client:
            return client.read_flow_run(run_id)

    def state(self, run_id):
        return self.run(run_id).state

    def wait(self, run_id, limit_s=60.0, *, until=FINAL):
        def look():
            state = self.state(run_id)
            return state if state.type.value in until else None

        return eventually(look, limit_s)

    def wait_running(self, run_id, limit_s=60.0):
        return self.wait(run_id, limit_s, until={"RUNNING", *FINAL})

    def names(self, run_id):
        with self.server.client() as client:
            return [state.name for state in client.read_flow_run_states(run_id)]

    def cancel(self, run_id):
        from prefect.states import Cancelling

        with self.server.client() as client:
            client.set_flow_run_state(UUID(str(run_id)), Cancelling())


class Worker:
    """`prefect worker start` from a folder of its own."""

    def __init__(self, pool, folder, name=None, limit=1, worker_type="warm-process", **environment):
        self.pool, self.log = pool, folder / f"worker-{time.monotonic_ns()}.log"
        self.name = name or self.log.stem
        self.environment = {
            **pool.server.environment,
            # what runs the tests may have its own place for our packages
            "PYTHONPATH": os.pathsep.join(filter(None, [str(SUPPORT), os.environ.get("PYTHONPATH")])),
            "MUSETALK_HOME": str(folder / "home"),
            "MUSETALK_WORKER__PRELOAD": "warm_flows",
            "PREFECT_WORKER_QUERY_SECONDS": "0.5",
            "PREFECT_WORKER_HEARTBEAT_SECONDS": "10",
            **environment,
        }
        self.command = [sys.executable, "-m", "prefect", "worker", "start", "--type", worker_type]
        self.command += ["--pool", pool.name, "--name", self.name, "--limit", str(limit)]
        self.command += ["--install-policy", "never"]
        self.folder, self.limit, self.process = folder, limit, None

    def start(self, *, wait=True):
        with self.log.open("ab") as log:
            self.process = popen(
                self.command,
                env=self.environment,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                start_new_session=True,
            )
        if wait:
            try:
                self.wait_ready()
            except AssertionError:
                self.process.kill()
                raise
        return self

    def wait_ready(self):
        """Until every child there is, is one that has said that it is ready."""

        def look():
            told = {int(pid) for pid in re.findall(r"is ready after .* process (\d+)", self.text())}
            children = self.children()
            return len(children) == self.limit and told.issuperset(children)

        eventually(look, 600)

    def text(self):
        return self.log.read_text() if self.log.exists() else ""

    def children(self):
        tasks = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        return [int(pid) for task in tasks for pid in task.read_text().split() if is_child(int(pid))]

    def signal(self, number=signal.SIGTERM):
        self.process.send_signal(number)

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            time.sleep(0.2)
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def is_child(pid):
    try:
        return b"deployments.warm_worker.child.main" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def deploy_jobs(server):
    """Put the job types on a server that has no workers."""
    from flows.registry import JOB_TYPES

    with server.client() as client:
        client.create_work_pool(WorkPoolCreate(name="gpu", type="warm-process"))
        for queue in ("high", "normal", "low"):
            client.create_work_queue(name=queue, work_pool_name="gpu")
        for job_type in JOB_TYPES.values():
            flow = client.create_flow_from_name(job_type.name)
            client.create_deployment(flow_id=flow, name=job_type.title, work_pool_name="gpu")


class Shim:
    """`musetalk api` as a process."""

    def __init__(self, server, folder, **more):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        environment = server.environment | {
            "MUSETALK_HOME": str(folder),
            "MUSETALK_API__PORT": str(self.port),
            "MUSETALK_API__LOG_FORMAT": "json",
            **more,
        }
        command = [sys.executable, "-m", "deployments.cli", "api"]
        self.log = folder / f"api-{self.port}.log"
        with self.log.open("wb") as log:
            self.process = popen(command, env=environment, stdout=log, stderr=log, cwd=folder)

    def wait_ready(self):
        eventually(lambda: HTTP.get(f"{self.url}/healthz").is_success, 600)
        return self

    def kill(self, number=signal.SIGKILL):
        self.process.send_signal(number)
        return self.process.wait(20)


def speech_files(folder):
    """Write short.wav, seven seconds of speech, and long.wav, forty times that."""
    with wave.open(str(next(ASSETS.glob("sense*.wav")))) as source:
        settings, sound = source.getparams(), source.readframes(source.getnframes())
    for name, times in (("short", 1), ("long", 40)):
        with wave.open(str(folder / f"{name}.wav"), "wb") as target:
            target.setparams(settings)
            target.writeframes(sound * times)
