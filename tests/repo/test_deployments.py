"""prefect.yaml, the registry and the flows say the same."""

import importlib
import inspect
import tomllib
from pathlib import Path

import pytest
import yaml

from deployments.manifest import deployments_file, load_deployments
from deployments.provisioning.apply import job_template, parameters_schema
from deployments.work_pools import worker_command
from flows.registry import FLOWS, JOB_TYPES

ROOT = Path(__file__).parents[2]


def test_every_job_type_is_deployed_once_where_the_registry_says():
    found = sorted((item.job_type.name, item.entrypoint, item.name, item.pool) for item in load_deployments())

    assert found == sorted((t.name, t.entrypoint, t.title, t.pool) for t in FLOWS.values())


def test_jobs_and_housekeeping_are_told_apart_by_title_and_tag():
    """Prefect's list of deployments is sorted by title, its list of runs is filtered by tag."""
    found = load_deployments()
    titles = [item.name for item in found]
    assert len(set(titles)) == len(titles) and not set(titles) & {item.pool for item in found}
    for item in found:
        is_job = item.job_type.name in JOB_TYPES
        assert ("job" in item.tags, "housekeeping" in item.tags) == (is_job, not is_job), item.name
        assert item.name.startswith("Housekeeping: ") is not is_job
        assert len(item.description) > 20


def test_the_shipped_declaration_is_the_one_of_the_checkout():
    assert deployments_file() == ROOT / "prefect.yaml"


def test_the_wheel_carries_the_declaration():
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]

    assert wheel["force-include"]["prefect.yaml"] == "deployments/prefect.yaml"


def test_nothing_is_pulled_at_run_time():
    # without the line Prefect adds a step that changes into the folder of the machine that deployed
    assert yaml.safe_load((ROOT / "prefect.yaml").read_text())["pull"] == []


@pytest.mark.parametrize("item", load_deployments(), ids=lambda item: item.job_type.name)
def test_entrypoints_are_module_paths_to_flows_of_that_name(item):
    module, _, attribute = item.entrypoint.rpartition(".")
    flow = getattr(importlib.import_module(module), attribute)

    assert ":" not in item.entrypoint and "/" not in item.entrypoint
    assert flow.name == item.job_type.name
    assert list(inspect.signature(flow.fn).parameters) == ["job", "control"]
    assert inspect.signature(flow.fn).parameters["job"].annotation is item.job_type.job
    assert inspect.signature(flow.fn).return_annotation is item.job_type.result


@pytest.mark.parametrize("item", load_deployments(), ids=lambda item: item.job_type.name)
def test_the_parameters_in_prefect_are_those_of_the_flow(item):
    module, _, attribute = item.entrypoint.rpartition(".")
    flow = getattr(importlib.import_module(module), attribute)

    job_type = item.job_type
    assert parameters_schema(job_type.job, job_type.default) == flow.parameters.model_dump_for_openapi()


@pytest.mark.parametrize("item", load_deployments(), ids=lambda item: item.job_type.name)
def test_the_job_of_a_run_that_names_none_is_the_same_everywhere(item):
    module, _, attribute = item.entrypoint.rpartition(".")
    flow = getattr(importlib.import_module(module), attribute)
    default = inspect.signature(flow.fn).parameters["job"].default

    assert (None if default is inspect.Parameter.empty else default) == item.job_type.default


@pytest.mark.parametrize(
    ("flow", "timed"), [(item, timed) for item in load_deployments() for timed in item.schedules]
)
def test_every_schedule_makes_runs_that_its_flow_takes(flow, timed):
    module, _, attribute = flow.entrypoint.rpartition(".")
    taken = getattr(importlib.import_module(module), attribute)

    assert taken.validate_parameters({**flow.parameters, **timed.parameters}).keys() >= {"job"}


SCHEDULE = """
deployments:
  - name: light
    entrypoint: flows.{flow}.{flow}
    description: Of a test.
    work_pool: {{name: light}}
    parameters: {parameters}
    schedules:
      - {{interval: 300, active: {active}, parameters: {own}}}
"""


@pytest.mark.parametrize("active", ["true", "false"])
@pytest.mark.parametrize(
    ("flow", "parameters", "own", "fault"),
    [
        ("render_new", "{}", "{}", "job: Field required"),
        ("render_new", "{}", "{job: {name: nightly}}", "job.places: Field required"),
        ("announce", "{job: {}}", "{}", "job.run: Field required"),
        ("janitor", "{job: {dry_run: perhaps}}", "{}", "job.dry_run: Input should be a valid boolean"),
        ("janitor", "{}", "{jobs: {}}", "jobs: Extra inputs are not permitted"),
        ("janitor", "{}", "{control: {priority: soon}}", "control.priority: Input should be"),
    ],
)
def test_a_schedule_whose_runs_its_flow_refuses_is_not_deployed(
    tmp_path, flow, parameters, own, fault, active
):
    path = tmp_path / "prefect.yaml"
    path.write_text(SCHEDULE.format(flow=flow, parameters=parameters, own=own, active=active))

    with pytest.raises(ValueError, match=f"(?s)a schedule of {flow} .*{fault}.*parameters"):
        load_deployments(path)


def test_the_parameters_of_a_deployment_and_of_its_schedule_count_together(tmp_path):
    path = tmp_path / "prefect.yaml"
    own = "{control: {priority: low}}"
    path.write_text(SCHEDULE.format(flow="janitor", parameters="{job: {}}", own=own, active="true"))

    (item,) = load_deployments(path)
    assert item.parameters == {"job": {}} and item.schedules[0].interval_s == 300


@pytest.mark.parametrize("job_type", JOB_TYPES.values(), ids=lambda job_type: job_type.name)
def test_every_field_of_a_form_explains_itself(job_type):
    schema = parameters_schema(job_type.job)
    fields = {
        (model, name): field
        for model, definition in schema["definitions"].items()
        for name, field in definition.get("properties", {}).items()
    }

    assert len(fields) >= len(job_type.job.model_fields)
    for place, field in fields.items():
        assert field.get("title") and field.get("description"), place
        shapes = [field, *field.get("anyOf", [])]  # one that may be empty has its limits one level down
        kinds = {shape.get("type") for shape in shapes}
        is_choice = "boolean" in kinds or any("enum" in shape for shape in shapes) or "$ref" in str(field)
        assert is_choice or field.get("examples"), place
        if kinds & {"integer", "number"}:
            assert any("minimum" in shape and "maximum" in shape for shape in shapes), place


def test_a_deployment_of_an_unknown_flow_is_refused(tmp_path):
    path = tmp_path / "prefect.yaml"
    path.write_text("deployments: [{name: gpu, entrypoint: flows.dub.dub, work_pool: {name: gpu}}]")

    with pytest.raises(ValueError, match=r"flows\.dub\.dub"):
        load_deployments(path)


def test_the_pool_s_form_has_what_an_operator_wants_to_set():
    variables = job_template()["variables"]["properties"]

    assert {"env", "max_time", "crash_retries"} <= set(variables)


def test_a_worker_takes_no_more_jobs_than_it_may():
    command = worker_command("gpu", "gpu-1", 2)

    assert command[command.index("--limit") + 1] == "2"
    assert command[command.index("--pool") + 1] == "gpu"
