"""README.md and docs agree with the code: generated pages, links, blocks, names and fields."""

import ast
import importlib
import json
import re
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from functools import cache
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, get_args

import jsonschema
import pytest
import yaml
from documentation import PAGES, ROOT, Block, Shell, blocks, blocks_in, commands, name_of, script
from prometheus_client import CollectorRegistry
from pydantic import ValidationError

LINK = re.compile(r"\]\(([^)\s]+)\)")
KINDS = {
    "bash": {"", "not run", "fails", "given"},
    "json": {"not run", "body", "schema"},
}
TYPE_OF_ROUTE = {"pipelines": "pipeline", "batches": "batch", "avatars": "prepare_avatar"}
SOURCES = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"][
    "packages"
]


def text_of(page):
    return page.read_text(encoding="utf-8")


def reference(name):
    return text_of(ROOT / "docs" / "reference" / f"{name}.md")


def each(language):
    return [pytest.param(block, id=block.place) for block in blocks(language)]


# Links


def slug(heading):
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)|`", r"\1", heading).strip().lower()
    return re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")


def anchors(page):
    text = re.sub(r"```.*?```", "", text_of(page), flags=re.DOTALL)
    return {slug(found) for found in re.findall(r"^#+ (.+)$", text, re.MULTILINE)}


def test_the_generated_pages_are_current():
    script = ROOT / "docs" / "generate_reference.py"
    done = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True, cwd=ROOT)

    assert done.returncode == 0, f"run: python docs/generate_reference.py\n{done.stdout}{done.stderr}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_leads_to_a_page_and_a_heading(page):
    text = re.sub(r"```.*?```", "", text_of(page), flags=re.DOTALL)
    for link in LINK.findall(text):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page

        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


# Blocks


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_block_is_found_and_says_how_it_is_tested(page):
    fences = [line for line in text_of(page).splitlines() if line.lstrip(" >").startswith(("```", "~~~"))]
    found = list(blocks_in(text_of(page), name_of(page)))

    assert len(fences) == 2 * len(found), "a fence that the tests do not see: indented, or of another form"
    for block in found:
        assert block.language, f"{block.place}: a block without a language"
        assert block.kind in KINDS.get(block.language, {"", "not run"}), f"{block.place}: {block.kind}"


@pytest.mark.parametrize(
    "block",
    [
        pytest.param(block, id=block.place)
        for page in PAGES
        for block in blocks_in(text_of(page), name_of(page))
        if block.kind in {"not run", "fails"}
    ],
)
def test_a_block_that_is_not_run_says_why(block):
    words = re.findall(r"\w+", block.text)

    assert len(words) >= 2 and len("".join(words)) >= 8, f"{block.place}: {block.text!r} is no reason"


@pytest.mark.parametrize("block", each("bash"))
def test_every_command_block_is_shell(block):
    subprocess.run(["bash", "-n", "-c", block.body], check=True)


def test_the_pages_that_a_reader_starts_with_run():
    assert commands().keys() >= {
        "README.md",
        *(name_of(page) for page in (ROOT / "docs" / "tutorial").glob("*.md")),
    }


def check_body(route: str, value: Any) -> None:
    """Raise if a body is not what the route accepts."""
    from api.schemas.job_request import request_model
    from flows.registry import JOB_TYPES

    method, path = route.split()
    last = path.partition("?")[0].rpartition("/")[2]
    assert method == "POST"
    request_model(JOB_TYPES[TYPE_OF_ROUTE.get(last, last)]).model_validate(value)


@cache
def openapi() -> dict[str, Any]:
    return json.loads((ROOT / "docs" / "api" / "openapi.json").read_text())


def check_instance(name: str, value: Any) -> None:
    """Raise if a value is not an instance of a schema of the OpenAPI description, or has unknown members."""
    known = openapi()["components"]["schemas"].items()
    strict = {
        kind: one | {"additionalProperties": False} if "properties" in one else one for kind, one in known
    }
    schema = {"$ref": f"#/components/schemas/{name}", "components": {"schemas": strict}}
    checker = jsonschema.Draft202012Validator.FORMAT_CHECKER
    jsonschema.Draft202012Validator(schema, format_checker=checker).validate(value)


def check_json(block: Block) -> None:
    value = json.loads(block.body)
    if block.kind == "body":
        check_body(block.text, value)
    elif block.kind == "schema":
        check_instance(block.text, value)


@pytest.mark.parametrize("block", each("json"))
def test_every_json_block_is_accepted_by_its_schema(block):
    check_json(block)


def mutations(value: Any) -> Iterator[Any]:
    """Copies of a body with one name misspelt, at any depth."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield {f"{key}x" if key == name else key: one for key, one in value.items()}
            for other in mutations(inner):
                yield value | {name: other}
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            for other in mutations(inner):
                yield [*value[:number], other, *value[number + 1 :]]


FREE = {"defaults", "metadata"}
"""Objects whose members the schema of a request does not know."""


@pytest.mark.parametrize("block", [one for one in each("json") if one.values[0].kind != "not run"])
def test_a_misspelt_name_in_a_json_block_would_be_noticed(block):
    whole = json.loads(block.body)
    closed = {name: value for name, value in whole.items() if name not in FREE}
    if "control" in closed:
        closed["control"] = {name: one for name, one in closed["control"].items() if name not in FREE}
    for wrong in mutations(closed):
        changed = Block(block.page, block.line, "json", json.dumps(wrong), block.kind, block.text)
        with pytest.raises((ValidationError, jsonschema.ValidationError)):
            check_json(changed)


def curl_bodies():
    """The requests to /v1/jobs and the like in commands, those that are not run as well."""
    for block in blocks("bash"):
        text = block.body.replace("\\\n", " ")
        for path, body in re.findall(
            r"curl [^\n]*?127\.0\.0\.1:8080(/v1/(?:jobs|batches|pipelines)[^\s']*)[^\n]*? -d '([^']*)'", text
        ):
            yield pytest.param(f"POST {path}", body, id=block.place)


@pytest.mark.parametrize(("route", "body"), curl_bodies())
def test_every_body_of_a_command_is_accepted_by_its_schema(route, body):
    check_body(route, json.loads(body))


@pytest.mark.parametrize("block", each("python"))
def test_every_python_block_imports_what_there_is(block):
    for node in ast.walk(ast.parse(block.body)):
        if isinstance(node, ast.ImportFrom):
            module = importlib.import_module(str(node.module))
            assert [one.name for one in node.names if not hasattr(module, one.name)] == []


@pytest.mark.parametrize("block", each("yaml"))
def test_every_yaml_block_is_yaml_and_its_schedules_are_accepted(block):
    from flows.registry import JOB_TYPES

    value = yaml.safe_load(block.body)
    for schedule in value.get("schedules", ()):
        JOB_TYPES["render_new"].job.model_validate(schedule["parameters"]["job"])


# The shell of tests/e2e/test_documentation_commands.py


def page(text):
    return list(blocks_in(text, "page.md"))


def test_a_command_that_fails_ends_the_page_and_its_place_is_told(tmp_path):
    text = "A\n\n```bash\necho one\n```\n\n```bash\nfalse | cat\necho two\n```\n"

    status, said = Shell(tmp_path).run(script(page(text)))

    lines = [line.partition(" after")[0] for line in said.splitlines()]
    assert (status, lines) == (1, ["## page.md:3", "one", "## page.md:7"])


def test_blocks_of_a_page_share_a_shell_and_a_given_variable_is_required(tmp_path):
    text = "```bash\none=1\n```\n<!-- given: job -->\n```bash\necho $one $job\n```\n"
    shell = Shell(tmp_path)

    assert shell.run(script(page(text)), {"job": "abc"})[1].splitlines()[-1] == "1 abc"
    assert "job: is not given" in shell.run(script(page(text)))[1]


def test_a_block_that_is_said_to_fail_has_to_fail(tmp_path):
    text = "<!-- fails: {0} says so -->\n```bash\n{0}\n```\n```bash\necho on\n```\n"
    shell = Shell(tmp_path)

    assert shell.run(script(page(text.format("false"))))[1].endswith("on\n")
    assert shell.run(script(page(text.format("true"))))[0] == 1


def test_an_http_error_ends_the_page_and_addresses_are_those_of_the_test(tmp_path):
    class Refuses(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if self.path == "/good" else 422)
            self.end_headers()
            self.wfile.write(b"body")

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Refuses) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        shell = Shell(tmp_path, ports={8080: server.server_port})
        good, bad = (
            shell.run(f"found=$(curl -s http://127.0.0.1:8080/{path} | cat)\necho on")
            for path in ("good", "bad")
        )
        server.shutdown()

    assert good == (0, "on\n") and bad[0] != 0


# A word for everything that has a name


def section(page, heading, level=2):
    found = re.search(rf"^{'#' * level} {re.escape(heading)}$(.*?)(?=^{'#' * level} |\Z)", page, re.M | re.S)
    assert found, f"no heading {heading}"
    return found[1]


def rows(page):
    """The rows of tables: first cell without its code marks -> last cell."""
    cells = [line.strip("|").split(" | ") for line in page.splitlines() if line.startswith("| `")]
    return {row[0].strip(" `"): row[-1].strip() for row in cells}


def test_every_setting_is_documented():
    from tasks.settings import PREFIX, Settings

    described = rows(reference("settings"))
    names = []
    for name, field in Settings.model_fields.items():
        inner = getattr(field.annotation, "model_fields", None)
        names += [f"{name}__{one}" for one in inner] if inner else [name]

    assert len(names) > 80
    assert [one for one in names if not described.get(f"{PREFIX}{one.upper()}")] == []


def test_every_setting_that_a_page_names_exists():
    from tasks.settings import PREFIX, Settings

    known = {f"{PREFIX}VENV"}  # of the script ./run
    for name, field in Settings.model_fields.items():
        inner = getattr(field.annotation, "model_fields", None) or {"": None}
        known |= {f"{PREFIX}{name}__{one}".upper().removesuffix("__") for one in inner}
    for one in PAGES:
        if one.name not in {"LOG.md", "CHANGELOG.md"} and one.parent.name != "adr":
            named = set(re.findall(r"\bMUSETALK_[A-Z0-9_]*[A-Z0-9]\b(?!_)", text_of(one)))
            assert named - known == set(), name_of(one)


def leaves(group, path=""):
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from leaves(command, f"{path}{name} ")
        elif not command.hidden:
            yield f"{path}{name}", command


def cli():
    import typer

    from deployments.cli.main import app

    return dict(leaves(typer.main.get_command(app)))


def test_every_command_and_option_is_documented():
    for name, command in cli().items():
        described = section(reference("cli"), f"musetalk {name}")
        assert described.strip().splitlines()[0], name
        for one in command.params:
            if getattr(one, "hidden", False):
                continue
            words = one.opts if one.param_type_name == "option" else [(one.metavar or one.name).upper()]
            for word in (re.escape(word.strip("[].")) for word in words):
                assert re.search(rf"^\| .*`\[?{word}\b", described, re.M), (name, word)
            assert one.param_type_name == "argument" or one.help, (name, one.name)


def test_every_command_that_a_page_names_exists():
    known = cli()
    groups = {name.rpartition(" ")[0] for name in known if " " in name}
    groups |= {name.split()[0] for name in groups}
    for one in PAGES:
        if one.name in {"LOG.md", "CHANGELOG.md"} or one.parent.name == "adr":
            continue
        shell = [block.body for block in blocks_in(text_of(one), "") if block.language == "bash"]
        for line in [*shell, *re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text_of(one), flags=re.S))]:
            for first, second in re.findall(r"(?:^|\./run |\s)musetalk ([a-z_]+)(?: ([a-z_]+))?", line):
                name = f"{first} {second}" if first in groups and second else first
                assert name in known or name in groups, f"{name_of(one)}: musetalk {name}"


def codes_of_errors():
    """The codes of all classes of errors, read in the source: some modules are slow to import."""
    for package in SOURCES:
        for path in (ROOT / package).rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            yield from re.findall(r'^    code(?:: [^=\n]+)? = "(\w+)"$', text, re.MULTILINE)


def test_every_problem_code_is_documented():
    from api.errors import CODES

    codes = {*CODES, *codes_of_errors()}
    described = rows(reference("problem-codes"))

    assert len(codes) > 40
    assert sorted(code for code in codes if not described.get(code)) == []


def test_every_metric_is_documented():
    from api.http import metrics as of_the_api
    from deployments.warm_worker import metrics as of_workers
    from deployments.warm_worker.run_metrics import RunMetrics

    of_runs = CollectorRegistry()
    RunMetrics(of_runs)
    registries = (of_the_api.Metrics().registry, of_runs, of_workers._WorkerCollector())
    families = [family for registry in registries for family in registry.collect()]
    names = {one.name + ("_total" if one.type == "counter" else "") for one in families}
    described = rows(reference("metrics"))

    assert len(names) >= 11
    assert sorted(name for name in names if not described.get(name)) == []
    assert {name for name in described if name.startswith("musetalk_") and " " not in name} - names == set()


def emitted_events():
    """The names that the code emits to Prefect; a constant is looked up in the source."""
    source = "\n".join(
        path.read_text(encoding="utf-8") for package in SOURCES for path in (ROOT / package).rglob("*.py")
    )
    for text, constant in re.findall(r'emit_event\(\s*(?:event=)?(?:"([^"]+)"|([A-Z_]+))', source):
        yield text or re.findall(rf'^{constant}(?:: Final)? = "([^"]+)"', source, re.MULTILINE)[0]


def test_every_event_is_documented():
    from flows.prefect_state.status import FINAL_STATUSES
    from flows.schemas.control import Event

    page = reference("events")
    streamed = {"queued", "started", "progress", *FINAL_STATUSES}
    webhooks = {*get_args(Event), *(f"job.{event}" for event in get_args(Event))}
    triggers = set(re.findall(r"expect: \[([\w.]+)\]", text_of(ROOT / "prefect.yaml")))
    named = set(re.findall(r"`([\w.*-]+)`", section(page, "Prefect events")))

    assert streamed - set(re.findall(r"`(\w+)`", section(page, "Server-sent events"))) == set()
    assert webhooks - set(re.findall(r"`([\w.]+)`", section(page, "Webhooks"))) == set()
    prefect = {*emitted_events(), *triggers}
    assert len(prefect) >= 4
    assert [one for one in prefect if not any(fnmatch(one, pattern) for pattern in named)] == []


def test_every_tag_of_a_run_is_documented():
    from flows.prefect_state.labels import PARENT_TAG, RETRY_OF_LABEL
    from flows.schemas.control import ENDED_AS_LABEL, NOTIFY_START_TAG, NOTIFY_TAG, TENANT_TAG
    from flows.schemas.webhook import FINAL_OUTCOME_TAGS, JOB_TAG_PREFIX, REPLAY
    from tasks.run.event_names import NOTIFY_PROGRESS_TAG

    page = section(reference("events"), "Tags and labels of runs")
    tags = {NOTIFY_TAG, NOTIFY_START_TAG, NOTIFY_PROGRESS_TAG, *FINAL_OUTCOME_TAGS}
    tags |= {REPLAY, ENDED_AS_LABEL, RETRY_OF_LABEL}
    prefixes = {TENANT_TAG, PARENT_TAG, JOB_TAG_PREFIX, "event:"}

    assert [tag for tag in tags if f"`{tag}`" not in page] == []
    assert [prefix for prefix in prefixes if f"`{prefix}" not in page] == []


def fields(schema):
    """The fields of a schema, options of a group with a dot, and the other objects it contains."""
    objects = {name: one for name, one in schema.get("$defs", {}).items() if "properties" in one}
    groups = set()

    def named(part, prefix=""):
        for name, field in part["properties"].items():
            yield prefix + name
            kind = field.get("$ref", "").rpartition("/")[2]
            if kind in objects and "default" in field:
                groups.add(kind)
                yield from named(objects[kind], f"{prefix}{name}.")

    names = list(named(schema))
    return names, {kind: [*one["properties"]] for kind, one in objects.items() if kind not in groups}


def test_every_field_of_a_job_and_of_its_result_is_documented():
    from flows.registry import JOB_TYPES

    page = reference("job-types")
    for name, job_type in JOB_TYPES.items():
        of_job, _, of_result = section(page, name).partition(f"### Result of {name}\n")
        asked, in_job = fields(job_type.job.model_json_schema())
        made, in_result = fields(job_type.result.model_json_schema(mode="serialization"))

        assert [one for one in asked if not rows(of_job).get(one)] == [], name
        assert [one for one in made if one not in rows(of_result)] == [], name
        for kind, inner in (in_job | in_result).items():
            described = rows(section(section(page, "Objects"), kind, 3))
            assert [one for one in inner if one not in described] == [], kind


def test_every_field_of_control_is_documented():
    from api.schemas.job_request import JobControl

    page = reference("api")
    control = section(page, "Submit a job")

    assert [one for one in JobControl.model_fields if not rows(control).get(one)] == []


def test_every_route_is_documented():
    page = reference("api")
    for path, methods in openapi()["paths"].items():
        if path.startswith("/v1/jobs/") and path.count("/") == 3 and "{" not in path:
            continue  # of one type: POST /v1/jobs/{type}
        last = path.rpartition("/")[2]
        for method in methods:
            written = re.sub(r"\{(\w+)\}", lambda found: PARAMETERS.get(found[0], found[0]), path)
            forms = (f"{method.upper()} {written}`", f"`{written}`", f"`/{last}`")
            assert any(form in page for form in forms), path


PARAMETERS = {
    "{job_id}": "{id}",
    "{batch_id}": "{id}",
    "{pipeline_id}": "{id}",
    "{upload_id}": "{id}",
    "{job_type}": "{type}",
}
"""Names of parameters in the description of the API -> in the page."""


def test_the_tests_that_the_page_of_guarantees_names_exist():
    named = set(re.findall(r"`(test_\w+)`", text_of(ROOT / "docs" / "promises.md")))
    here = {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    }

    assert len(named) > 40
    assert named - here == set()
