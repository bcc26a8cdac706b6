"""Facts of the Kubernetes manifests about each part, with which tests compare other targets."""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deployments" / "kubernetes"
FILES = ("base/api.yaml", "base/light-worker.yaml", "base/prefect-server.yaml", "base/deploy.yaml")


@dataclass(frozen=True)
class Part:
    """One container of a manifest."""

    command: tuple[str, ...]
    ports: dict[str, int]
    environment: dict[str, str]
    secrets: frozenset[str]
    """Names of the variables that it gets from secrets."""
    health: str | None
    """Path of its liveness probe."""
    grace_s: int
    """Time between SIGTERM and SIGKILL."""


@cache
def secret_names():
    """Return the variables of each Secret, from the table of docs/how-to/kubernetes.md."""
    text = (ROOT / "docs" / "how-to" / "kubernetes.md").read_text()
    rows = re.findall(r"^\| `(musetalk[\w-]*)` \| (.*?) \|", text, re.MULTILINE)
    return {name: frozenset(re.findall(r"`([A-Z][A-Z_0-9]+)`", keys)) for name, keys in rows}


@cache
def kubernetes_parts():
    """Return the parts by name: api, deploy, gpu, light, prefect."""
    parts = {}
    for name in (*FILES, "gpu-worker/worker.yaml"):
        for document in yaml.safe_load_all((FOLDER / name).read_text()):
            if document["kind"] in {"Deployment", "Job"}:
                spec = document["spec"]["template"]["spec"]
                part = document["metadata"]["name"].removeprefix("musetalk-")
                parts[part] = _part(spec["containers"][0], spec.get("terminationGracePeriodSeconds", 30))
    return parts


def _part(container, grace_s):
    given = container.get("env", ())
    sources = [source["secretRef"]["name"] for source in container["envFrom"] if "secretRef" in source]
    secrets = {one["name"] for one in given if "valueFrom" in one}
    return Part(
        command=tuple(container["command"]),
        ports={port["name"]: port["containerPort"] for port in container.get("ports", ())},
        environment={one["name"]: one["value"] for one in given if "value" in one},
        secrets=frozenset(secrets.union(*(secret_names()[name] for name in sources))),
        health=container.get("livenessProbe", {}).get("httpGet", {}).get("path"),
        grace_s=grace_s,
    )
