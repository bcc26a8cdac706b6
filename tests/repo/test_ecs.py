"""The ECS task definitions: valid, hardened, and equal to the Kubernetes manifests in their facts."""

import json
import re
from pathlib import Path

import botocore.session
import pytest
from botocore.validate import validate_parameters
from kubernetes_facts import kubernetes_parts
from typer.main import get_command

from deployments.cli.main import app
from tasks.settings import WorkerSettings

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "deployments" / "ecs").glob("*.json"))
FARGATE_MB = {512: range(1024, 4097, 1024), 1024: range(2048, 8193, 1024), 2048: range(4096, 16385, 1024)}
"""Memory that Fargate offers for each amount of CPU."""
FARGATE_STOP_S = 120
"""Longest stopTimeout on Fargate."""
UPLOADS_TO_END_S = 60
each_task = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


def read(path):
    return json.loads(path.read_text())


def main_container(task):
    (found,) = [one for one in task["containerDefinitions"] if one["essential"]]
    return found


def variables(container):
    return {one["name"]: one["value"] for one in container.get("environment", ())}


def shape_faults(shape, value, where="#"):
    """Return what the service model forbids and botocore.validate does not check: enumerations."""
    if shape.type_name == "structure":
        return [
            fault
            for key, one in value.items()
            for fault in shape_faults(shape.members[key], one, f"{where}/{key}")
        ]
    if shape.type_name == "list":
        return [fault for one in value for fault in shape_faults(shape.member, one, where)]
    allowed = getattr(shape, "enum", None)
    return [f"{where}: {value}"] if allowed and value not in allowed else []


def request_shape():
    model = botocore.session.get_session().get_service_model("ecs")
    return model.operation_model("RegisterTaskDefinition").input_shape


def test_there_is_a_task_for_each_part():
    assert {path.stem for path in FILES} == set(kubernetes_parts())
    assert all(read(path)["family"] == f"musetalk-{path.stem}" for path in FILES)


@each_task
def test_the_api_accepts_the_parameters(path):
    validate_parameters(read(path), request_shape())
    assert shape_faults(request_shape(), read(path)) == []


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda task: task.update(memry="1"), "memry"),
        (lambda task: task.pop("family"), "family"),
        (lambda task: main_container(task).update(stopTimeout="660"), "stopTimeout"),
    ],
)
def test_a_wrong_parameter_is_found(change, word):
    task = read(FILES[0])
    change(task)
    with pytest.raises(Exception, match=word):
        validate_parameters(task, request_shape())


def test_a_wrong_word_is_found():
    task = read(FILES[0]) | {"networkMode": "vpc"}
    assert shape_faults(request_shape(), task) == ["#/networkMode: vpc"]


@each_task
def test_command_ports_and_secrets_are_those_of_kubernetes(path):
    part, container = kubernetes_parts()[path.stem], main_container(read(path))
    assert tuple(container["command"]) == part.command
    assert {port["name"]: port["containerPort"] for port in container.get("portMappings", ())} == part.ports
    named = {one["name"] for one in container["secrets"]}
    by_role = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}  # the task's role is the way to S3
    of_redis = {"MUSETALK_REDIS__PASSWORD"} if path.stem == "prefect" else set()
    assert named == part.secrets - by_role - {"POSTGRES_PASSWORD"} | of_redis
    assert part.environment.items() <= variables(container).items()


@each_task
def test_secrets_are_referred_to_and_settings_exist(path):
    known = set(re.findall(r"^#?([A-Z_0-9]+)=", (ROOT / "deployments/env.example").read_text(), re.MULTILINE))
    for container in read(path)["containerDefinitions"]:
        names = [*variables(container), *(one["name"] for one in container.get("secrets", ()))]
        assert {name for name in names if name.startswith("MUSETALK_")} <= known
        assert not [
            name for name in variables(container) if re.search("SECRET|PASSWORD|KEY|CONNECTION", name)
        ]
        for one in container.get("secrets", ()):
            assert re.fullmatch(
                rf"arn:aws:ssm:[\w-]+:\d{{12}}:parameter/musetalk/{one['name']}", one["valueFrom"]
            )


@each_task
def test_containers_are_hardened_and_log(path):
    task = read(path)
    volumes = {one["name"] for one in task["volumes"]}
    for container in task["containerDefinitions"]:
        assert container["readonlyRootFilesystem"] is True
        assert container["logConfiguration"]["logDriver"] == "awslogs"
        assert {mount["sourceVolume"] for mount in container["mountPoints"]} <= volumes
        assert not re.search(r":latest$|^[^:]+$", container["image"])
    container = main_container(task)
    assert container["user"] == "10001"
    assert container["linuxParameters"]["capabilities"] == {"drop": ["ALL"]}
    assert {"/tmp", "/home/musetalk/data"} <= {mount["containerPath"] for mount in container["mountPoints"]}
    assert task["taskRoleArn"] != task["executionRoleArn"]


@each_task
def test_health_checks_ask_what_kubernetes_asks(path):
    part, container = kubernetes_parts()[path.stem], main_container(read(path))
    if part.health is None:
        assert "healthCheck" not in container
        return
    check = container["healthCheck"]
    assert check["command"][:4] == ["CMD", "python", "-m", "deployments.stack.healthcheck"]
    url = "".join(check["command"][4:]) or "http://127.0.0.1:8080/healthz"
    port = re.fullmatch(r"http://127\.0\.0\.1:(\d+)/(api/(ready|health)|health|healthz)", url)
    assert port and int(port[1]) in container_ports(container)
    assert 5 <= check["interval"] <= 300 and 2 <= check["timeout"] <= 60
    assert 1 <= check["retries"] <= 10 and 0 <= check["startPeriod"] <= 300


def container_ports(container):
    return {port["containerPort"] for port in container["portMappings"]}


@each_task
def test_workers_have_time_to_drain(path):
    task = read(path)
    container, part = main_container(task), kubernetes_parts()[path.stem]
    if container["command"][:2] != ["musetalk", "worker"]:
        assert container["stopTimeout"] <= part.grace_s
        return
    drain_s = float(variables(container).get("MUSETALK_WORKER__DRAIN_S", WorkerSettings().drain_s))
    assert container["stopTimeout"] >= drain_s + UPLOADS_TO_END_S
    if "FARGATE" in task["requiresCompatibilities"]:
        assert container["stopTimeout"] <= FARGATE_STOP_S
    else:
        assert container["stopTimeout"] == part.grace_s


@each_task
def test_sizes_are_those_that_can_be_had(path):
    task = read(path)
    if task["requiresCompatibilities"] == ["FARGATE"]:
        assert int(task["memory"]) in FARGATE_MB[int(task["cpu"])]
        assert "resourceRequirements" not in main_container(task)
    else:
        assert task["requiresCompatibilities"] == ["EC2"]
        assert main_container(task)["resourceRequirements"] == [{"type": "GPU", "value": "1"}]


def test_commands_exist():
    commands = get_command(app).commands
    assert {main_container(read(path))["command"][1] for path in FILES} <= set(commands)
