"""Clients generated from the OpenAPI description: the generators are silent, and a client does a job."""

import importlib
import json
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest

PYTHON_GENERATOR, TYPESCRIPT_GENERATOR = "openapi-python-client", "openapi-typescript"


@pytest.fixture
def description(client, tmp_path):
    path = tmp_path / "openapi.json"
    path.write_text(json.dumps(client.get("/openapi.json").json()))
    return path


def generate(name, *arguments):
    """Run a generator; gives what it prints."""
    program = shutil.which(name)
    if program is None:
        pytest.skip(f"{name} is not installed (CONTRIBUTING.md, section Generated clients)")
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def generated(description, tmp_path, monkeypatch):
    """The package that openapi-python-client generates, without any setting."""
    folder = tmp_path / "generated_musetalk"
    config = tmp_path / "config.yaml"
    config.write_text("post_hooks: []\n")  # no formatter
    told = generate(
        PYTHON_GENERATOR,
        *("generate", "--path", description, "--output-path", folder, "--meta", "none", "--config", config),
    )
    assert "warning" not in told.lower() and "error" not in told.lower(), told
    monkeypatch.syspath_prepend(tmp_path)
    yield lambda name: importlib.import_module(f"generated_musetalk.{name}")
    for name in [name for name in sys.modules if name.startswith("generated_musetalk")]:
        del sys.modules[name]


def test_a_generated_client_does_a_whole_job(generated, server, runs, finish):
    def spoken(run):
        done = finish(run, name="hello.mp3", content=b"sound")
        facts = dict(done.result)
        return replace(done, result={**facts, "audio": facts.pop("video"), "text": "Hello."})

    client = generated("client").Client(base_url=server)  # follows no redirects
    models = generated("models")
    body = models.SpeechJobRequest(
        text="Hello.", control=models.JobControl(priority=models.JobControlPriority.HIGH)
    )

    job = generated("api.jobs.submit_speech").sync(client=client, body=body)
    assert type(job) is models.SpeechJobView and job.status == "queued"
    assert runs.controls[0].priority == "high"
    runs.jobs.update({one.id: spoken(one) for one in list(runs.jobs.values())})
    [job] = generated("api.jobs.list_jobs_v1_jobs_get").sync(client=client).jobs
    job = generated("api.jobs.read_job_v1_jobs_job_id_get").sync(job.id, client=client)

    assert (job.status, job.result.name, job.result.text) == ("succeeded", "hello.mp3", "Hello.")
    file = generated("api.jobs.read_result_file_v1_jobs_job_id_result_get").sync(job.id, client=client)
    assert file.payload.read() == b"sound"


def test_a_generated_client_reads_problems(generated, server):
    client, models = generated("client").Client(base_url=server), generated("models")

    answer = generated("api.jobs.submit_speech").sync(client=client, body=models.SpeechJobRequest(text=""))

    assert type(answer) is models.ProblemDocument and answer.code == "invalid_input"


def test_the_typescript_generator_is_silent(description, tmp_path):
    told = generate(TYPESCRIPT_GENERATOR, description, "-o", tmp_path / "api.ts")

    assert "warn" not in told.lower() and "error" not in told.lower(), told
    text = (tmp_path / "api.ts").read_text()
    control = text.split("        JobControl: {")[1].split("\n        };")[0]
    assert "tags?: string[]" in control and "priority?:" in control
    assert 'JobView: components["schemas"]["LipSyncJobView"] |' in text


def test_results_are_a_union_by_job_type(client):
    from flows.registry import JOB_TYPES

    schemas = client.get("/openapi.json").json()["components"]["schemas"]
    mapping = schemas["JobView"]["discriminator"]["mapping"]

    assert set(mapping) == set(JOB_TYPES)
    for name, ref in mapping.items():
        view = schemas[ref.removeprefix("#/components/schemas/")]
        assert view["properties"]["type"]["const"] == name
        result = view["properties"]["result"]["anyOf"][0]["$ref"].rsplit("/", 1)[1]
        assert result == JOB_TYPES[name].result.__name__ and result in schemas


def test_no_field_of_a_request_has_a_default_that_makes_it_mandatory(client):
    document = client.get("/openapi.json").json()

    assert "default" not in json.dumps(document["components"]["schemas"]["JobControl"])
    assert '"*/*"' not in json.dumps(document)
    for name, schema in document["components"]["schemas"].items():
        if name.endswith(("Request", "OfType")):
            assert not [key for key, field in schema["properties"].items() if "default" in field], name
