"""A server with everything deployed, a worker for each pool, and the API in front: for chains of jobs."""

import httpx
from stage import Shim, Worker, eventually

from deployments.manifest import load_deployments
from deployments.provisioning.apply import _apply_deployment, _apply_pool, _apply_queues
from deployments.provisioning.automations import apply_job_event_automations


class Deployed:
    """A pool of `musetalk deploy`, as one for the workers of `stage`."""

    def __init__(self, server, name):
        self.server, self.name = server, name


def deploy_all(server):
    with server.client() as client:
        for pool in ("gpu", "light"):
            _apply_pool(client, pool)
            _apply_queues(client, pool)
        for item in load_deployments():
            _apply_deployment(client, item)
        apply_job_event_automations(client)
        for kept in client.read_deployments():  # nothing runs by the clock here
            for schedule in kept.schedules:
                client.delete_deployment_schedule(kept.id, schedule.id)


class Stage:
    """All of it, on one folder for the store."""

    def __init__(self, server, folder, **environment):
        self.server, self.folder = server, folder
        home = folder / "home"
        home.mkdir(exist_ok=True)
        self.environment = {
            "MUSETALK_HOME": str(home),
            "MUSETALK_STORE__LOCAL_ROOTS": str(folder),
            "MUSETALK_STORE__MIN_FREE_BYTES": "0",
            "MUSETALK_WORKER__PRELOAD": "",
            "PREFECT_LOCAL_STORAGE_PATH": str(folder / "results"),
            "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",
            **environment,
        }
        deploy_all(server)
        self.workers, self.api = {}, None

    def start(self, gpu=1, wait=True):
        self.worker("gpu", limit=gpu, wait=wait)
        self.worker("light", wait=wait)
        self.api = Shim(self.server, self.folder, **self.environment).wait_ready()
        self.http = httpx.Client(base_url=self.api.url, trust_env=False, timeout=60)
        return self

    def worker(self, pool, limit=1, wait=True, name=None):
        name = name or f"{pool}-{len(self.workers)}"
        worker = Worker(Deployed(self.server, pool), self.folder, name=name, limit=limit, **self.environment)
        self.workers[name] = worker.start(wait=wait)
        return worker

    def stop(self):
        for worker in self.workers.values():
            worker.stop()
        if self.api:
            self.api.kill()

    def submit(self, kind, job, **headers):
        answer = self.http.post(f"/v1/jobs/{kind}", json=job, headers=headers)
        assert answer.status_code in {201, 202}, answer.text
        return answer.json()["id"]

    def job(self, job_id):
        return self.http.get(f"/v1/jobs/{job_id}").json()

    def wait(self, job_id, limit_s=300.0, until=("succeeded", "failed", "canceled", "aborted")):
        def look():
            job = self.job(job_id)
            return job if job["status"] in until else None

        return eventually(look, limit_s, 1.0)  # a job takes seconds; each look costs three requests

    def parts(self, job_id, **more):
        return self.http.get("/v1/jobs", params={"part_of": job_id, "limit": 100, **more}).json()["jobs"]
