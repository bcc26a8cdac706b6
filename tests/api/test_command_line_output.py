"""JSON output, result files, local files of batches and pipelines, and rows of a batch that fail."""

import json
from dataclasses import replace
from uuid import uuid4

import pytest
import typer
from typer.testing import CliRunner

from deployments.cli.main import app
from deployments.console import job_summary, warning_text
from flows.prefect_state.status import JobError, Progress

_SERVICES = {"up", "api", "server", "worker"}
"""Commands that run until they are stopped and print only messages."""


def musetalk(server, *words):
    done = CliRunner().invoke(app, [*map(str, words), "--server", server])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.stdout, done.stderr


def leaves(group, path=""):
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from leaves(command, f"{path}{name} ")
        else:
            yield f"{path}{name}", command


def test_every_command_that_prints_offers_json():
    commands = dict(leaves(typer.main.get_command(app)))
    without_json = {
        name
        for name, command in commands.items()
        if not any("--json" in one.opts for one in command.params if one.param_type_name == "option")
    }

    assert without_json == _SERVICES


def test_json_is_one_document_on_standard_output(server, runs, finished):
    job = finished(content=b"x" * 10)

    submitted = json.loads(musetalk(server, "submit", "speech", "--text", "Hello.", "--json")[1])
    assert submitted["type"] == "speech" and submitted["status"] == "queued"
    status, out, _ = musetalk(server, "watch", job.id, "--json")
    assert status == 0 and json.loads(out)["id"] == str(job.id)
    assert {one["id"] for one in json.loads(musetalk(server, "jobs", "--json")[1])} == {
        str(job_id) for job_id in runs.jobs
    }
    assert json.loads(musetalk(server, "logs", job.id, "--json")[1]) == []
    running = runs.running()
    assert json.loads(musetalk(server, "cancel", running.id, "--json")[1])["status"] == "canceled"


def test_a_failed_job_is_json_too_and_exit_status_1(server, runs):
    status, out, _ = musetalk(server, "watch", runs.failed().id, "--json")

    assert status == 1 and json.loads(out)["error"]["code"] == "no_face"


def test_submit_waits_and_writes_the_result(server, runs, finish, tmp_path):
    runs.on_create = lambda run: replace(finish(run, content=b"talk"), type="speech")

    status, out, _ = musetalk(server, "submit", "speech", "--text", "Hello.", "-o", tmp_path / "hello.mp4")

    assert status == 0 and (tmp_path / "hello.mp4").read_bytes() == b"talk"
    assert str(tmp_path / "hello.mp4") in out


@pytest.fixture
def uploads(environment):
    """Names of the assets that are uploaded."""
    from api.client import MusetalkClient

    names = []
    upload_stream = MusetalkClient.upload_stream

    def recorded(self, file, name, size):
        names.append(name)
        return upload_stream(self, file, name, size)

    environment.setattr(MusetalkClient, "upload_stream", recorded)
    return names


def test_local_files_of_a_batch_are_uploaded_once_by_content(server, runs, uploads, tmp_path):
    folder = tmp_path / "batch"
    folder.mkdir()
    (folder / "anna.mp4").write_bytes(b"anna")
    (folder / "copy of anna.mp4").write_bytes(b"anna")
    (folder / "hello.wav").write_bytes(b"hello")
    (folder / "rows.csv").write_text(
        "id,video,audio,text\n"
        'one,anna.mp4,hello.wav,"Hello, you"\n'
        "two,copy of anna.mp4,hello.wav,\n"
        "three,s3://abc/b.mp4,hello.wav,\n"
    )

    status, _, err = musetalk(server, "batch", folder / "rows.csv")

    assert status == 0, err
    assert uploads == ["anna.mp4", "hello.wav", "rows.csv"]
    [(_, job, _)] = runs.created
    one, two, three = _rows(job.manifest)
    assert one["video"] == two["video"] and one["video"].startswith("asset://")
    assert three["video"] == "s3://abc/b.mp4" and one["text"] == "Hello, you"
    assert len({row["audio"] for row in (one, two, three)}) == 1


def test_json_lines_keep_their_invalid_lines(server, runs, uploads, tmp_path):
    (tmp_path / "hello.wav").write_bytes(b"hello")
    (tmp_path / "rows.jsonl").write_text('{"audio": "hello.wav"}\nno json\n\n{"audio": "hello.wav"}\n')

    assert musetalk(server, "batch", tmp_path / "rows.jsonl", "--type", "transcribe")[0] == 0
    [(_, job, _)] = runs.created
    lines = _text(job.manifest).splitlines()
    assert lines[1:3] == ["no json", ""] and json.loads(lines[0]) == json.loads(lines[3])
    assert uploads == ["hello.wav", "rows.jsonl"]


def test_files_that_do_not_exist_are_named_before_anything_is_uploaded(server, runs, uploads, tmp_path):
    (tmp_path / "anna.mp4").write_bytes(b"anna")
    (tmp_path / "rows.csv").write_text("video,audio\nanna.mp4,none.wav\n")

    status, _, err = musetalk(server, "batch", tmp_path / "rows.csv")

    assert status == 2 and "none.wav" in err and not uploads and not runs.created


def test_local_files_of_a_pipeline_are_uploaded_once(server, runs, uploads, tmp_path):
    (tmp_path / "anna.png").write_bytes(b"anna")
    (tmp_path / "voice.wav").write_bytes(b"voice")
    clone = {"voice": "clone", "reference_audio": "voice.wav", "reference_text": "Hi.", "consent": True}
    steps = [
        {"name": "say", "type": "speech", "job": {"text": "Hello.", **clone}},
        {"name": "talk", "type": "portrait", "job": {"image": "anna.png", "audio": "job://say"}},
        {"name": "other", "type": "portrait", "job": {"image": "anna.png", "text": "Hi.", "voice": clone}},
    ]
    (tmp_path / "steps.json").write_text(json.dumps({"steps": steps}))

    status, _, err = musetalk(server, "pipeline", tmp_path / "steps.json")

    assert status == 0, err
    assert sorted(uploads) == ["anna.png", "voice.wav"]
    [(_, job, _)] = runs.created
    say, talk, other = (step.job for step in job.steps)
    assert talk["audio"] == "job://say" and talk["image"] == other["image"]
    assert other["voice"]["reference_audio"] == say["reference_audio"]


BATCH = {
    "total": 3,
    "succeeded": 1,
    "failed": 1,
    "canceled": 0,
    "invalid": 1,
    "problems": [
        {"row": 2, "id": "bea", "status": "failed", "code": "no_face", "message": "No frame shows a face."},
        {
            "row": 3,
            "id": "row-3",
            "status": "invalid",
            "faults": [{"pointer": "#/audio", "detail": "Field required"}],
        },
    ],
    "name": "results.csv",
    "files": {},
}


def test_a_batch_ends_with_counts_and_the_reasons_of_its_rows(server, runs):
    job = runs.add(type="batch", status="succeeded", result=BATCH)

    status, out, _ = musetalk(server, "watch", job.id)

    assert status == 1
    assert "batch finished: 1 of 3 rows succeeded, 1 failed, 1 invalid" in out
    assert "row 2 (bea) failed: No frame shows a face. [no_face]" in out
    assert "row 3 (row-3) invalid: audio: Field required" in out
    assert "table of results: results.csv" in out


def test_rows_that_fail_are_shown_while_the_batch_runs(server, runs):
    parent = runs.add(type="batch", status="running", progress=Progress(40.0, "steps", 1, 3))
    runs.add(
        status="failed",
        part_of=parent.id,
        part="bea",
        error=JobError("no_face", "No frame shows a face.", retryable=False),
    )
    states = [parent, replace(parent, status="succeeded", result=BATCH)]

    read = runs.read

    async def read_next(job_id):
        return await read(job_id) if job_id != parent.id else states.pop(0) if len(states) > 1 else states[0]

    runs.read = read_next
    _, out, _ = musetalk(server, "watch", parent.id)

    assert out.count("row bea: No frame shows a face. [no_face]") == 1
    assert out.index("row bea") < out.index("batch finished")


def test_warnings_with_codes_are_printed():
    result = {"name": "a.mp4", "warnings": ["plain", {"code": "several_faces", "message": "3 faces."}]}
    job = {"type": "portrait", "status": "succeeded", "error": None, "result": result, "id": str(uuid4())}

    assert job_summary(job)[-2:] == ["warning: plain", "warning: several_faces: 3 faces."]
    assert warning_text("no_speech: none") == "no_speech: none"


def _text(manifest):
    from tasks.catalog.assets import asset_key
    from tasks.storage.home_store import home_store

    return b"".join(home_store().read(asset_key(manifest.removeprefix("asset://")))).decode()


def _rows(manifest):
    import csv
    import io

    return list(csv.DictReader(io.StringIO(_text(manifest), newline="")))
