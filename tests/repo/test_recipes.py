"""The recipes of CONTRIBUTING.md: each is followed in a copy of the checkout, and the result works."""

import json
import re
import shutil
import tomllib
from typing import get_args

import pytest
import recipe_files
from recipe_files import ROOT, Checkout, recipes

from flows.registry import FLOWS, MEDIA_JOB_TYPES
from flows.schemas.pipeline import StepType

RECIPES = recipes()
CREATED = {"flows/schemas/dub.py", "flows/dub.py", "musetalk_core/engines/<name>/"}
"""Paths that a recipe names and that its steps create."""
REFERENCE = "python docs/generate_reference.py"
OPENAPI = "python -m api > docs/api/openapi.json"
ENV_EXAMPLE = "python -m tasks.settings.env_example > deployments/env.example"


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    return Checkout(tmp_path_factory.mktemp("recipes"))


@pytest.fixture
def checkout(copy):
    yield copy
    copy.restore()


def test_every_recipe_is_followed_by_a_test():
    assert RECIPES.keys() == {
        "Add a job type",
        "Add an engine",
        "Add a model",
        "Add a route",
        "Add a setting",
    }


@pytest.mark.parametrize("heading", RECIPES)
def test_every_path_of_a_recipe_exists_or_is_created_by_it(heading):
    named = RECIPES[heading].paths()

    assert named
    assert {path for path in named - CREATED if not list(ROOT.glob(path))} == set()


def test_the_created_paths_are_named_and_do_not_exist():
    named = set.union(*(recipe.paths() for recipe in RECIPES.values()))

    assert named >= CREATED
    assert [path for path in CREATED if (ROOT / path).exists()] == []


@pytest.mark.parametrize("heading", RECIPES)
def test_every_name_of_a_recipe_is_in_a_file_beside_it(heading):
    recipe = RECIPES[heading]
    for number in range(1, len(recipe.steps) + 1):
        found = [path for name in recipe.paths(number) for path in ROOT.glob(name) if path.is_file()]
        text = "\n".join(path.read_text(encoding="utf-8") for path in found)
        for name in recipe.code(number):
            if re.fullmatch(r"[A-Za-z_]+", name) and not name.startswith("MUSETALK_"):
                assert re.search(rf"\b{name}\b", text), f"step {number}: {name}"


def test_the_lists_of_job_types_agree():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (flows,) = (one["modules"] for one in contracts if one["name"] == "A flow imports no other flow")
    command = (ROOT / "deployments" / "cli" / "jobs.py").read_text()
    (submitted,) = re.findall(r'metavar="TYPE",\s*help="([^"]+)\."', command)

    assert set(get_args(StepType)) == set(MEDIA_JOB_TYPES)
    assert set(flows) == {f"flows.{name}" for name in FLOWS}
    assert set(re.findall(r"\w+", submitted)) - {"or"} == set(MEDIA_JOB_TYPES)


def test_add_a_job_type(checkout):
    checkout.recipe = RECIPES["Add a job type"]

    checkout.write(1, "flows/schemas/dub.py", recipe_files.DUB_SCHEMAS)
    schemas = "flows/schemas/__init__.py"
    checkout.insert(
        1, schemas, "from flows.schemas.maint", "from flows.schemas.dub import DubJob, DubResult\n"
    )
    checkout.insert(1, schemas, '    "EndPartsJob",\n', '    "DubJob",\n    "DubResult",\n')

    checkout.write(2, "flows/dub.py", recipe_files.DUB_FLOW)

    types = "flows/schemas/job_types.py"
    checkout.insert(
        3, types, "from flows.schemas.speech", "from flows.schemas.dub import DubJob, DubResult\n"
    )
    checkout.replace(
        3,
        types,
        "CaptionResult),\n",
        'CaptionResult),\n        JobType("dub", "Dubbing", DubJob, DubResult),\n',
    )
    checkout.append(3, "prefect.yaml", recipe_files.DUB_ENTRY)

    checkout.replace(4, "flows/schemas/pipeline.py", '"verify"\n]', '"verify", "dub"\n]')
    checkout.insert(4, "pyproject.toml", '"flows.end_parts"', '"flows.dub", ')
    checkout.replace(4, "deployments/cli/jobs.py", "caption, verify or", "caption, verify, dub or")

    checkout.write(5, "tests/flow/test_dub.py", recipe_files.DUB_TEST)
    checkout.follow(5, REFERENCE, OPENAPI)
    row = "| [`dub`](docs/reference/job-types.md#dub) | a text | the repeated text |\n"
    checkout.insert(5, "README.md", "| [`prepare_avatar`]", row)

    checkout.python("""
        import inspect

        from deployments.manifest import load_deployments
        from deployments.provisioning.apply import parameters_schema
        from flows.dub import dub
        from flows.registry import FLOWS, JOB_TYPES
        from flows.schemas import DubJob, DubResult
        from flows.schemas.batch import BatchJob
        from flows.schemas.pipeline import PipelineJob
        from tasks.run import reports

        assert JOB_TYPES["dub"] is FLOWS["dub"]
        (deployed,) = (one for one in load_deployments() if one.job_type.name == "dub")
        assert (deployed.entrypoint, deployed.name, deployed.pool) == ("flows.dub.dub", "Dubbing", "gpu")
        assert dub.name == "dub" and inspect.signature(dub.fn).return_annotation is DubResult
        assert parameters_schema(DubJob) == dub.parameters.model_dump_for_openapi()
        PipelineJob(steps=[{"name": "again", "type": "dub", "job": {"text": "Hello."}}])
        BatchJob(job_type="dub", rows=[{"text": "Hello."}])

        # the body of the flow, without a Prefect server
        artifacts = {}
        reports.create_progress_artifact = reports.create_table_artifact = lambda **_: None
        reports._create_artifact = lambda key, data, description=None: artifacts.update({key: data})
        assert dub.fn(DubJob(text="Hello.")).text == artifacts["result"]["text"] == "Hello. Hello."
    """)
    described = json.loads((checkout.folder / "docs/api/openapi.json").read_text())
    body = described["paths"]["/v1/jobs/dub"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    fields = described["components"]["schemas"][body["$ref"].rpartition("/")[2]]["properties"]
    assert fields.keys() == {"text", "times", "control"}
    assert "\n## dub\n" in (checkout.folder / "docs/reference/job-types.md").read_text()


def test_add_an_engine(checkout):
    checkout.recipe = RECIPES["Add an engine"]
    source = (checkout.folder / "musetalk_core/engines/constant_engine.py").read_text()
    source = source.replace('name = "fake"', 'name = "still"').replace("FakeEngine", "StillEngine")
    registry = "musetalk_core/engine_registry.py"

    checkout.write(1, "musetalk_core/engines/still/__init__.py", '"""An engine of a test."""\n')
    checkout.write(1, "musetalk_core/engines/still/engine.py", source)

    checkout.replace(2, registry, '"viseme", "fake"]', '"viseme", "fake", "still"]')
    incomplete = checkout.folder / "musetalk_core/engine_registry_without_case.py"
    shutil.copyfile(checkout.folder / registry, incomplete)
    case = '        case "still":\n            from musetalk_core.engines.still.engine import StillEngine\n\n'
    checkout.insert(2, registry, "        case _:\n", case + "            return StillEngine()\n")

    checkout.replace(3, "flows/schemas/video.py", '"viseme", "fake"]', '"viseme", "fake", "still"]')
    checkout.replace(3, "tasks/settings/render.py", '"viseme", "fake"]', '"viseme", "fake", "still"]')
    checkout.follow(3, REFERENCE, OPENAPI)

    checkout.insert(4, "pyproject.toml", "redis = [", 'still = ["numpy>=2"]\n')
    own, shared = (path for path in sorted(checkout.recipe.paths(4)) if path.startswith("tests/"))
    checkout.replace(4, own, '["fake", "viseme"]', '["fake", "viseme", "still"]')
    checkout.replace(4, shared, '["viseme", "fake"]', '["viseme", "fake", "still"]')
    row = "| `still` | nothing more | constant crops | tests of recipes |\n"
    checkout.insert(4, "docs/explanation/engines.md", "\n`engine: auto`", row)

    pyright, tested = checkout.run(
        f"python -m pyright {registry} {incomplete} musetalk_core/engines/still",
        f"python -m pytest -q -p no:cacheprovider {own} -k 'own_name and still'",
    )
    # no error in the registry: it returns the class as an Engine, so the class satisfies the protocol
    errors = re.findall(r"^\s+\S*?(\w+)\.py:\d+:\d+ - error: (.+)$", pyright[1], re.MULTILINE)
    assert {file for file, _ in errors} == {incomplete.stem} and "Never" in str(errors), pyright[1]
    assert tested[0] == 0 and "1 passed" in tested[1], tested[1]
    checkout.python(
        """
        from flows.schemas import LipSyncJob
        from musetalk_core.engine_registry import load_engine
        from tasks.models.engine_choice import choose_engine_name
        from tasks.models.engines import describe_engine, engine_spec

        job = LipSyncJob(video="s3://media/a.mp4", audio="s3://media/a.wav", engine="still")
        assert load_engine(job.engine).name == "still"
        assert describe_engine(engine_spec(choose_engine_name("auto", "v15")[0], None))["name"] == "still"
        """,
        MUSETALK_RENDER__ENGINE="still",
    )
    assert "`still`" in (checkout.folder / "docs/reference/job-types.md").read_text()


def test_add_a_model(checkout, tmp_path):
    checkout.recipe = RECIPES["Add a model"]
    (tmp_path / "tint").mkdir()
    (tmp_path / "tint" / "tint.json").write_text('{"red": 1}')

    checkout.insert(1, "musetalk_core/model_registry/registry.py", "    *VISION,\n", recipe_files.TINT_MODEL)
    pull = "\n```bash\n./run musetalk weights pull tint\n```\n"
    assert "musetalk weights pull NAME" in checkout.recipe.code(4)
    checkout.append(4, "docs/how-to/gpu-machine.md", pull)

    listed, pulled = checkout.run(
        "python -m deployments.cli weights list --json",
        f"python -m deployments.cli weights pull tint --from '{tmp_path}'",
    )
    row = next(one for one in json.loads(listed[1]) if one["name"] == "tint")
    assert row["licence"] == "CC0-1.0" and row["source"] == "hub someone/tint", row
    assert pulled[0] == 0 and "1 files added" in pulled[1], pulled[1]
    checkout.python("""
        import json
        from pathlib import Path

        from musetalk_core.errors import ModelChanged
        from musetalk_core.model_registry.registry import get_model
        from musetalk_core.runtime.model_cache import get_loaded_model
        from tasks.models.engines import runtime_config
        from tasks.models.install import open_local_models, pin

        assert [file.path for file in get_model("tint").files] == ["tint/tint.json"]
        (pinned,) = pin("tint")
        reads = []

        def load(files):
            reads.append(files)
            return json.loads(files["weights"].read_text())

        for _ in range(2):
            assert get_loaded_model(runtime_config(), pinned, (), load) == {"red": 1}
        assert len(reads) == 1

        path = open_local_models().find("tint")["weights"]
        path.write_text('{"red": 200}')
        (replaced,) = pin("tint")
        assert replaced.digest != pinned.digest
        assert get_loaded_model(runtime_config(), replaced, (), load) == {"red": 200}
    """)


def test_add_a_route(checkout):
    checkout.recipe = RECIPES["Add a route"]
    routes = "api/routes/schemas.py"
    declared = "dependencies=[READ]"
    assert declared in checkout.recipe.code(1)

    view = "from api.schemas.required_fields import RequiredFieldsView\n"
    route = recipe_files.REQUIRED_FIELDS_ROUTE
    checkout.write(2, "api/schemas/required_fields.py", recipe_files.REQUIRED_FIELDS_MODEL)
    checkout.insert(1, routes, "from flows.registry", view)
    checkout.append(1, routes, route)

    assert re.findall(r'Problem\("(\w+)"', route) == ["not_found"]
    assert "Problem" in checkout.recipe.code(3)

    checkout.follow(4, OPENAPI)
    row = "| `GET /v1/schemas/{type}/required` | read | required fields of a job type |\n"
    checkout.insert(4, "docs/reference/api.md", "| `GET /healthz`", row)

    described = json.loads((checkout.folder / "docs/api/openapi.json").read_text())
    operation = described["paths"]["/v1/schemas/{job_type}/required"]["get"]
    assert {"bearer": ["read"]} in operation["security"]
    assert "RequiredFieldsView" in described["components"]["schemas"]
    checkout.python("""
        import importlib
        from pathlib import Path

        from fastapi.testclient import TestClient

        from api.auth.api_keys import UndeclaredRoute
        from api.errors import CODES
        from api.main import create_app
        from api.routes import schemas

        client = TestClient(create_app())
        answer = client.get("/v1/schemas/caption/required")
        assert answer.json() == {"type": "caption", "fields": ["video", "captions"]}, answer.text
        problem = client.get("/v1/schemas/unknown/required")
        assert (problem.status_code, problem.json()["code"]) == (404, "not_found") and "not_found" in CODES

        path = Path(schemas.__file__)
        path.write_text(path.read_text().replace('required", dependencies=[READ]', 'required"'))
        importlib.reload(schemas)
        try:
            create_app()
        except UndeclaredRoute as error:
            assert "GET /v1/schemas/{job_type}/required declares no scope" in str(error)
        else:
            raise AssertionError("the API started with a route without a scope")
    """)


def test_add_a_setting(checkout):
    checkout.recipe = RECIPES["Add a setting"]
    current = f"{ENV_EXAMPLE.replace('> ', '| cmp - ')}"
    check = f"{REFERENCE} --check"

    place = "    chunk_seconds: float"
    checkout.insert(1, "tasks/settings/render.py", place, recipe_files.SHARPNESS_SETTING)
    (example, _), (reference, said) = checkout.run(current, check)
    assert (example, reference) == (1, 1) and "settings.md differs from the code" in said, said

    checkout.follow(2, ENV_EXAMPLE, REFERENCE)
    line = "\nSet `MUSETALK_RENDER__SHARPNESS` to sharpen rendered frames.\n"
    checkout.append(3, "docs/how-to/gpu-machine.md", line)

    assert "#MUSETALK_RENDER__SHARPNESS=0.0\n" in (checkout.folder / "deployments/env.example").read_text()
    checkout.python(
        """
        import os
        import sys
        from pathlib import Path

        import pydantic

        from tasks.settings import Settings, unknown_variables
        from tasks.settings.env_example import env_example

        assert Path("deployments/env.example").read_text() == env_example()
        sys.path.insert(0, "docs")
        import generate_reference

        assert generate_reference.main(["--check"]) == 0
        assert Settings().render.sharpness == 0.5 and unknown_variables() == ()
        os.environ["MUSETALK_RENDER__SHARPNESS"] = "2"
        try:
            Settings()
        except pydantic.ValidationError as error:
            assert "less than or equal to 1" in str(error)
        else:
            raise AssertionError("a value out of bounds was accepted")
        """,
        MUSETALK_RENDER__SHARPNESS="0.5",
    )
