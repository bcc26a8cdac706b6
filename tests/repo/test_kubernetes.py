"""The Kubernetes overlays: rendered by kubectl, valid for several versions, hardened, consistent."""

import math
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from api.http.metrics import Metrics, PoolQueue
from flows.registry import JOB_TYPES

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deployments" / "kubernetes"
OVERLAYS = sorted(path.parent.name for path in FOLDER.glob("overlays/*/kustomization.yaml"))
VERSIONS = ("1.29", "1.33", "1.37")
WORKLOADS = ("Deployment", "StatefulSet", "Job")
# created by operators, not by the overlays
SECRETS = {"musetalk", "musetalk-api", "musetalk-database"}


@cache
def rendered(overlay):
    kubectl = shutil.which("kubectl", path=str(Path(sys.executable).parent)) or shutil.which("kubectl")
    command = [kubectl, "kustomize", FOLDER / "overlays" / overlay]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return tuple(document for document in yaml.safe_load_all(done.stdout) if document)


def of_kind(overlay, *kinds):
    return [one for one in rendered(overlay) if one["kind"] in kinds]


def workloads(overlay):
    """(name, pod template) of all workloads."""
    found = of_kind(overlay, *WORKLOADS)
    return [(f"{one['kind']}/{one['metadata']['name']}", one["spec"]["template"]) for one in found]


def containers(template):
    return [*template["spec"].get("initContainers", ()), *template["spec"]["containers"]]


each_overlay = pytest.mark.parametrize("overlay", OVERLAYS)


def test_there_are_the_five_overlays():
    assert OVERLAYS == ["fleet", "laptop", "mig", "no-internet", "one-gpu"]


@each_overlay
@pytest.mark.parametrize("version", VERSIONS)
def test_documents_are_valid(overlay, version):
    for document in rendered(overlay):
        if not document["apiVersion"].startswith("keda.sh/"):
            kubernetes_validate.validate(document, version, strict=True)


@each_overlay
def test_names_are_unique_and_in_one_namespace(overlay):
    names = [(one["kind"], one["metadata"]["name"]) for one in rendered(overlay)]
    assert len(set(names)) == len(names)
    spaces = {one["metadata"].get("namespace") for one in rendered(overlay) if one["kind"] != "Namespace"}
    assert spaces == {"musetalk"}


@each_overlay
def test_pods_are_hardened(overlay):
    for name, template in workloads(overlay):
        spec = template["spec"]
        assert spec["automountServiceAccountToken"] is False, name
        security = spec["securityContext"]
        assert security["runAsNonRoot"] is True and security["runAsUser"] > 0, name
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}, name
        for container in containers(template):
            own = container["securityContext"]
            assert own["allowPrivilegeEscalation"] is False and own["readOnlyRootFilesystem"] is True, name
            assert own["capabilities"] == {"drop": ["ALL"]}, name
            resources = container["resources"]
            assert {"cpu", "memory"} <= set(resources["limits"]) & set(resources["requests"]), name
            assert re.fullmatch(r"[\w./:-]+:[\w.-]+", container["image"]), "a tag of its own, not latest"
            assert not container["image"].endswith(":latest")


@each_overlay
def test_every_written_folder_is_a_limited_volume(overlay):
    for name, template in workloads(overlay):
        volumes = {one["name"]: one for one in template["spec"].get("volumes", ())}
        claims = {one["metadata"]["name"] for one in of_kind(overlay, "PersistentVolumeClaim")}
        for volume in volumes.values():
            assert "emptyDir" not in volume or volume["emptyDir"].get("sizeLimit"), (name, volume)
            claim = volume.get("persistentVolumeClaim", {}).get("claimName")
            assert claim in {None, *claims, "musetalk-import"}, (name, claim)
        for container in containers(template):
            if "musetalk-flows" in container["image"]:
                paths = {mount["mountPath"] for mount in container["volumeMounts"]}
                assert {"/tmp", "/home/musetalk/data"} <= paths, name


@each_overlay
def test_probes_ask_ports_that_the_container_opens(overlay):
    for name, template in workloads(overlay):
        for container in template["spec"]["containers"]:
            ports = {port["name"] for port in container.get("ports", ())}
            probes = [container[kind] for kind in container if kind.endswith("Probe")]
            for probe in probes:
                asked = probe.get("httpGet") or probe.get("tcpSocket")
                assert asked is None or asked["port"] in ports, name
            if not name.startswith("Job/"):
                assert {"livenessProbe", "startupProbe"} <= set(container), name
            words = [str(word) for word in container.get("command", ())]
            numbers = {port["name"]: str(port["containerPort"]) for port in container.get("ports", ())}
            for option, port in (
                ("--health-port", "health"),
                ("--metrics-port", "metrics"),
                ("--port", "http"),
            ):
                if option in words:
                    assert words[words.index(option) + 1] == numbers[port], name


@each_overlay
def test_workers_have_time_to_drain(overlay):
    drain_s = 600  # MUSETALK_WORKER__DRAIN_S
    for name, template in workloads(overlay):
        if template["metadata"]["labels"].get("musetalk-flows/role") == "worker":
            assert template["spec"]["terminationGracePeriodSeconds"] >= drain_s + 60, name
            command = containers(template)[0]["command"]
            assert command[:2] == ["musetalk", "worker"] and command[3] in {
                job_type.pool for job_type in JOB_TYPES.values()
            }, name


@each_overlay
def test_secrets_are_referred_to_and_settings_exist(overlay):
    known = set(re.findall(r"^#?([A-Z_0-9]+)=", (ROOT / "deployments/env.example").read_text(), re.MULTILINE))
    maps = {one["metadata"]["name"]: one["data"] for one in of_kind(overlay, "ConfigMap")}
    assert not of_kind(overlay, "Secret")
    names = [name for data in maps.values() for name in data]
    for name, template in workloads(overlay):
        for container in containers(template):
            for source in container.get("envFrom", ()):
                if "secretRef" in source:
                    assert source["secretRef"]["name"] in SECRETS, name
                else:
                    assert source["configMapRef"]["name"] in maps, name
            for variable in container.get("env", ()):
                names.append(variable["name"])
                key = variable.get("valueFrom", {}).get("secretKeyRef")
                assert key is None or key["name"] in SECRETS, name
                secret = re.search("SECRET|PASSWORD|KEY|CONNECTION_URL", variable["name"])
                assert not secret or key, f"{name}: {variable['name']} is written down"
    assert {name for name in names if name.startswith("MUSETALK_")} <= known


@each_overlay
def test_only_the_server_gets_the_database_and_only_the_api_its_keys(overlay):
    for name, template in workloads(overlay):
        text = yaml.safe_dump(template["spec"])
        assert ("musetalk-database" in text) == (name.split("-")[-1] in {"prefect", "migrate", "postgres"}), (
            name
        )
        assert ("name: musetalk-api\n" in text.replace("- name: api", "")) == name.endswith(
            "/musetalk-api"
        ), name


def fits(selector, labels):
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", selector).items())


@each_overlay
def test_selectors_find_pods(overlay):
    pods = [(template["metadata"]["labels"], template) for _, template in workloads(overlay)]
    for service in of_kind(overlay, "Service"):
        found = [template for labels, template in pods if fits(service["spec"]["selector"], labels)]
        assert found, service["metadata"]["name"]
        opened = {port["name"] for port in containers(found[0])[-1]["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= opened
    for one in of_kind(overlay, "PodDisruptionBudget", "Deployment", "StatefulSet"):
        assert [labels for labels, _ in pods if fits(one["spec"]["selector"], labels)], one["metadata"][
            "name"
        ]
    for policy in of_kind(overlay, "NetworkPolicy"):
        selector = policy["spec"]["podSelector"]
        assert not selector or [labels for labels, _ in pods if fits(selector, labels)], policy["metadata"][
            "name"
        ]
    own = [
        tuple(sorted(one["spec"]["selector"]["matchLabels"].items()))
        for one in of_kind(overlay, "Deployment")
    ]
    assert len(set(own)) == len(own), "two Deployments must not own each other's pods"


@each_overlay
def test_ingress_is_denied_but_where_it_is_meant(overlay):
    policies = {one["metadata"]["name"]: one["spec"] for one in of_kind(overlay, "NetworkPolicy")}
    assert policies["musetalk-deny-by-default"] == {"podSelector": {}, "policyTypes": ["Ingress"]}
    open_to_all = {
        name for name, spec in policies.items() if any("from" not in rule for rule in spec.get("ingress", ()))
    }
    assert open_to_all <= {"musetalk-api", "musetalk-s3"}
    egress = yaml.safe_dump([spec.get("egress") for spec in policies.values()])
    if overlay == "no-internet":
        assert "ipBlock" not in egress
    else:
        assert "169.254.169.254/32" in egress


def test_gpus_are_limits_and_kinds_of_gpus_have_their_nodes():
    def limits(overlay):
        return [
            {
                key: value
                for key, value in containers(template)[0]["resources"]["limits"].items()
                if "/" in key
            }
            for name, template in workloads(overlay)
            if "musetalk-gpu" in name
        ]

    assert limits("laptop") == [{}]
    assert limits("one-gpu") == limits("no-internet") == [{"nvidia.com/gpu": "1"}]
    assert limits("mig") == [{"nvidia.com/mig-1g.10gb": "1"}]
    assert limits("fleet") == [{"nvidia.com/gpu": "1"}] * 2
    nodes = [
        t["spec"]["nodeSelector"]["nvidia.com/gpu.product"] for n, t in workloads("fleet") if "-gpu-" in n
    ]
    assert len(set(nodes)) == 2


def scaled_objects(overlay):
    return {one["spec"]["scaleTargetRef"]["name"]: one["spec"] for one in of_kind(overlay, "ScaledObject")}


@pytest.mark.parametrize("overlay", ["fleet", "mig"])
def test_scaled_objects_name_deployments_that_leave_their_replicas_to_them(overlay):
    deployments = {one["metadata"]["name"]: one["spec"] for one in of_kind(overlay, "Deployment")}
    for name, spec in scaled_objects(overlay).items():
        assert name in deployments
        assert "light" in name or "replicas" not in deployments[name], name
        (trigger,) = spec["triggers"]
        url = re.fullmatch(r"http://([\w-]+)\.musetalk:(\d+)/metrics", trigger["metadata"]["url"])
        (service,) = [one for one in of_kind(overlay, "Service") if one["metadata"]["name"] == url[1]]
        assert int(url[2]) in {port["port"] for port in service["spec"]["ports"]}


def metric_value(trigger, metrics):
    """Return what KEDA's metrics-api scaler reads: the sample that a PromQL selector names."""
    name, pool = re.fullmatch(r'(\w+)\{pool="(\w+)"\}', trigger["metadata"]["valueLocation"]).groups()
    for family in text_string_to_metric_families(generate_latest(metrics.registry).decode()):
        for sample in family.samples:
            if (sample.name, sample.labels) == (name, {"pool": pool}):
                return sample.value
    raise AssertionError(f"the API has no metric {name} of the pool {pool}")


class Autoscaler:
    """KEDA's and the HPA's arithmetic: activation, ceil(metric / target), bounds, cooldown before zero."""

    def __init__(self, spec):
        self.spec, self.replicas, self._active_at = spec, spec["minReplicaCount"], -math.inf

    def update(self, now, metrics):
        (trigger,) = self.spec["triggers"]
        value, fields = metric_value(trigger, metrics), trigger["metadata"]
        if value > float(fields.get("activationTargetValue", 0)):
            self._active_at = now
            wanted = math.ceil(value / float(fields["targetValue"]))
            self.replicas = min(max(wanted, self.spec["minReplicaCount"], 1), self.spec["maxReplicaCount"])
        elif now - self._active_at > self.spec.get("cooldownPeriod", 300):
            self.replicas = self.spec["minReplicaCount"]


def test_a_burst_of_200_jobs_is_scaled_up_and_back_to_zero():
    """Jobs of two minutes, one for each worker; workers need a minute to start. No busy worker is removed."""
    scalers = {
        name: Autoscaler(spec)
        for name, spec in scaled_objects("fleet").items()
        if name.startswith("musetalk-gpu")
    }
    metrics, waiting, ends, ready_at = Metrics(), 0, [], {}
    peak, done, log = {}, 0, []
    for now in range(0, 7200, 10):
        waiting += 200 if now == 600 else 0
        done += sum(end <= now for end in ends)
        ends = [end for end in ends if end > now]
        metrics.set_queues([PoolQueue("gpu", {"normal": waiting}, len(ends), 0.0)])
        for name, scaler in scalers.items():
            scaler.update(now, metrics)
            ready_at.setdefault(name, [])
            ready_at[name] = ready_at[name][: scaler.replicas]
            ready_at[name] += [now + 60] * (scaler.replicas - len(ready_at[name]))
            peak[name] = max(peak.get(name, 0), scaler.replicas)
        workers = sum(ready <= now for times in ready_at.values() for ready in times)
        assert sum(len(times) for times in ready_at.values()) >= len(ends), "a busy worker was removed"
        started = min(waiting, max(0, workers - len(ends)))
        ends += [now + 120] * started
        waiting -= started
        log.append((now, sum(scaler.replicas for scaler in scalers.values()), done))
    assert log[59][1] == 0, "nothing runs before the burst"
    assert peak == {"musetalk-gpu-l4": 20, "musetalk-gpu-a100": 4}
    assert done == 200
    finished = next(now for now, _, count in log if count == 200)
    assert finished < 600 + 60 + 200 / 24 * 120 + 180
    assert log[-1][1] == 0 and next(now for now, count, d in log if d == 200 and count == 0) <= finished + 620
