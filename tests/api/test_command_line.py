"""The `musetalk` command against the real app over a real connection."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from typer.testing import CliRunner

from api.jobs.model import LogLine
from deployments.cli.errors import UsageError
from deployments.cli.main import app
from deployments.cli.parameters import collect_job_parameters
from deployments.console import job_summary
from deployments.stack.environment import worker_environment
from tasks.settings import get_settings

runner = CliRunner()


def musetalk(server: str, *words: object) -> tuple[int, str, str]:
    done = runner.invoke(app, [*map(str, words), "--server", server])
    return done.exit_code, done.stdout, done.stderr


def test_local_files_are_uploaded_before_a_job_is_sent(server, runs, tmp_path):
    from tasks.catalog.assets import asset_key, asset_name
    from tasks.storage.home_store import home_store

    clip = tmp_path / "Anna 1.mp4"
    clip.write_bytes(b"moving picture")

    status, out, _ = musetalk(
        server, "submit", "lip_sync", "--video", clip, "--audio", "s3://b1c/a.wav", "--set", "encode.crf=20"
    )

    [(_, job, _)] = runs.created
    asset = job.video.removeprefix("asset://")
    assert status == 0 and out.strip() in {str(job_id) for job_id in runs.jobs}
    assert asset_name(asset) == "Anna 1.mp4"
    assert b"".join(home_store().read(asset_key(asset))) == b"moving picture"
    assert (job.audio, job.encode.crf) == ("s3://b1c/a.wav", 20)


def test_only_fields_that_take_media_are_local_files(server, runs, tmp_path):
    clip, words = tmp_path / "anna.mp4", tmp_path / "words.srt"
    clip.write_bytes(b"moving picture")
    words.write_text("1\n00:00:00,000 --> 00:00:01,000\nHello.\n")

    # `captions` of persona_sync is an option, `captions` of caption is a file
    told = musetalk(
        server, "submit", "persona_sync", "--video", clip, "--audio", clip, "--set", "captions=burned"
    )
    musetalk(server, "submit", "caption", "--video", clip, "--set", f"captions={words}")
    number = musetalk(server, "submit", "caption", "--video", clip, "--set", "captions=5")

    (_, persona, _), (_, caption, _) = runs.created
    assert told[0] == 0 and persona.captions == "burned"
    assert caption.captions.startswith("asset://")
    assert number[0] == 2 and "File not found: 5." in number[2]


def test_waiting_ends_with_what_came_out(server, runs, finish):
    runs.on_create = lambda run: replace(
        finish(run, timings_s={"render": 1.5}, cached=["features"]), type="speech"
    )

    status, out, _ = musetalk(server, "submit", "speech", "--text", "Hello.", "--wait")

    assert status == 0
    assert "speech succeeded: anna_hello.mp4 (2.50 s)" in out
    assert "cached: features" in out and "render 1.50" in out


def test_a_failed_job_is_told_and_is_exit_status_1(server, runs):
    status, out, _ = musetalk(server, "watch", runs.failed().id)

    assert status == 1
    assert "lip_sync failed: No frame shows a face. [no_face]" in out


def test_a_plain_log_has_a_line_per_change(server, runs):
    run = runs.running()
    states = [run, run, replace(run, progress=replace(run.progress, percent=60.0, done=60)), runs.failed()]

    async def read(_):
        return states.pop(0) if len(states) > 1 else replace(states[0], id=run.id)

    runs.read = read
    _, out, _ = musetalk(server, "watch", run.id)

    assert out.splitlines()[:3] == [
        "lip_sync: render 30/100 40 %",
        "lip_sync: render 60/100 60 %",
        "lip_sync: failed",
    ]


def test_a_result_is_fetched_into_a_folder_or_a_file(server, finished, tmp_path):
    run = finished(content=b"x" * 3_000_000)

    status, out, _ = musetalk(server, "result", run.id, "-o", tmp_path)
    musetalk(server, "result", run.id, "-o", tmp_path / "mine.mp4")

    assert status == 0 and Path(out.strip()) == tmp_path / "anna_hello.mp4"
    assert (
        (tmp_path / "anna_hello.mp4").read_bytes() == (tmp_path / "mine.mp4").read_bytes() == b"x" * 3_000_000
    )
    assert not list(tmp_path.glob(".*.part"))


def test_a_result_that_is_not_there_is_explained(server, runs):
    assert "is still running. Wait for it with" in musetalk(server, "result", runs.running().id)[2]
    assert "failed: No frame shows a face." in musetalk(server, "result", runs.failed().id)[2]


def test_a_job_is_cancelled(server, runs):
    run = runs.running()

    status, out, _ = musetalk(server, "cancel", run.id)

    assert (status, out) == (0, f"{run.id} is canceled\n")


def test_problems_become_one_line(server, tmp_path):
    status, out, err = musetalk(server, "submit", "speech", "--text", "")
    assert (status, out) == (2, "")
    assert (
        err
        == "musetalk: --text: expected text that is not empty, for example Hello, I am a talking picture.\n"
    )
    assert len(err.splitlines()) == 1

    missing = tmp_path / "none.mp4"
    assert (
        f"File not found: {missing}"
        in musetalk(server, "submit", "lip_sync", "--video", missing, "--audio", "s3://b1c/a.wav")[2]
    )


def test_no_server_is_said_with_what_to_do(environment):
    status, _, err = musetalk("http://127.0.0.1:9", "watch", "x")

    assert status == 3 and "Cannot reach the API at http://127.0.0.1:9" in err and "musetalk up" in err


def test_a_key_is_presented(environment, server, runs):
    from tasks.settings import get_settings

    environment.setenv("MUSETALK_API__KEYS", "secret")
    get_settings.cache_clear()

    assert musetalk(server, "cancel", runs.running().id)[0] == 0
    assert "[unauthorized]" in musetalk(server, "cancel", runs.running().id, "--key", "wrong")[2]


@pytest.mark.parametrize(
    ("job_type", "given", "more", "text"),
    [
        ("dub", {}, [], "Unknown job type dub. Job types: lip_sync"),
        ("speech", {"video": "x"}, [], "speech has no parameter video, so it does not take --video"),
        ("speech", {}, ["seed"], "NAME=VALUE"),
        ("speech", {}, ["output=1", "output.name=hi"], "output was already set to a value"),
        ("speech", {"text": "@/nowhere/words.txt"}, [], "File not found"),
    ],
)
def test_parameters_that_cannot_be_are_refused_here(job_type, given, more, text):
    with pytest.raises(UsageError, match=text):
        collect_job_parameters(job_type, given, more)


def test_an_address_needs_no_scheme(server, runs):
    status, out, _ = musetalk(server.removeprefix("http://"), "submit", "speech", "--text", "Hello.")

    assert status == 0 and out.strip() in {str(job_id) for job_id in runs.jobs}


def command(*words: object) -> tuple[int, str]:
    done = runner.invoke(app, [*map(str, words)])
    return done.exit_code, done.stderr


@pytest.mark.parametrize("word", ["up", "demo", "worker"])
def test_a_home_that_cannot_be_is_told_in_one_line(environment, tmp_path, word):
    (tmp_path / "file").touch()
    environment.setenv("MUSETALK_HOME", str(tmp_path / "file"))
    environment.chdir(tmp_path)

    status, err = command(word)

    assert status == 1
    assert err.startswith(f"musetalk: {tmp_path}/file") and " cannot be used: " in err
    assert len(err.splitlines()) == 1


def test_two_servers_on_one_port_are_refused(environment):
    environment.setenv("MUSETALK_API__PORT", "4200")

    assert command("up") == (
        1,
        "musetalk: The API and the Prefect server need different ports: set another --port.\n",
    )
    assert command("up", "--prefect-port", "99999")[0] == 2


def test_a_setting_that_cannot_be_is_named_as_it_is_set(environment):
    environment.setenv("MUSETALK_API__PORT", "99999")

    status, err = command("doctor")

    assert status == 2 and err.startswith("musetalk: MUSETALK_API__PORT: ")


@pytest.mark.parametrize("option", ["--video", "--audio"])
def test_the_demo_looks_for_your_files_before_it_starts_anything(environment, tmp_path, option):
    missing = tmp_path / "nobody's ünicode file.mp4"

    assert command("demo", option, missing, "--out", tmp_path / "out") == (
        2,
        f"musetalk: File not found: {missing}.\n",
    )
    assert list(tmp_path.iterdir()) == []


def test_temporary_files_lie_below_the_home_and_not_where_other_users_write(environment):
    settings = get_settings()

    assert worker_environment(settings)["TMPDIR"] == f"{settings.home}/tmp"


def test_parameters_are_read_as_json_where_they_can_be(tmp_path):
    (tmp_path / "words.txt").write_text("Hello.\n")

    found = collect_job_parameters(
        "speech",
        {"text": f"@{tmp_path}/words.txt", "video": None},
        ["speed=1.5", "output.name=hi", "output.bucket=null"],
    )

    assert found == {"text": "Hello.\n", "speed": 1.5, "output": {"name": "hi", "bucket": None}}


def test_a_summary_of_a_picture_knows_no_rate():
    result = {"name": "a.jpg", "width": 40, "height": 30, "text": "A cat.", "model": "starter"}

    lines = job_summary({"type": "analyze", "status": "succeeded", "result": result, "error": None})

    assert lines[:3] == ["analyze succeeded: a.jpg (40x30)", "A cat.", "model: starter"]


def test_a_summary_names_the_engine():
    result = {"name": "a.mp4", "duration_s": 2.0, "width": 64, "height": 48, "fps": "25", "engine": "viseme"}
    job = {
        "type": "portrait",
        "status": "succeeded",
        "error": None,
        "result": result
        | {"warnings": ["dark"], "quality": {"score": 0.4567, "defects": ["seam"], "frames": 75}},
    }

    lines = job_summary(job)

    assert lines[0] == "portrait succeeded: a.mp4 (2.00 s, 64x48 at 25 frames per second, engine viseme)"
    assert "warning: dark" in lines
    assert "quality: score 0.46, 1 defects in 75 frames" in lines


def test_how_a_job_is_to_be_taken_is_said_beside_it(server, runs):
    words = ("--priority", "high", "--tag", "a", "--tag", "b", "--notify", "https://example.org/hook")
    status, _, _ = musetalk(server, "submit", "speech", "--text", "Hello.", *words)

    [control] = runs.controls
    assert status == 0 and control.priority == "high" and control.notify.url == "https://example.org/hook"
    assert [run.tags for run in runs.jobs.values()] == [("a", "b")]
    status, _, told = musetalk(server, "submit", "speech", "--text", "Hello.", "--priority", "urgent")
    assert status == 2 and "priority" in told and len(runs.jobs) == 1


def test_jobs_are_listed_newest_first_over_all_pages(server, runs):
    made = [runs.add(tags=("x",), type="speech") for _ in range(205)]
    runs.running()

    status, out, _ = musetalk(server, "jobs", "--tag", "x", "--limit", "203")
    assert status == 0
    assert [line.split()[0] for line in out.splitlines()] == [str(run.id) for run in made[:1:-1]]
    _, out, _ = musetalk(server, "jobs", "--status", "running")
    assert "render 30/100 40 %" in out and len(out.splitlines()) == 1


def test_what_a_job_said_is_shown_without_harm(server, runs):
    run = runs.running()
    runs.lines[run.id] = [
        LogLine(uuid4(), datetime.now(UTC), 20 + n % 2 * 10, f"line {n}\x1b[2J\nforged") for n in range(150)
    ]
    _, out, _ = musetalk(server, "logs", run.id)
    assert len(out.splitlines()) == 150 and "\x1b" not in out and "info line 0" in out
    _, out, _ = musetalk(server, "logs", run.id, "--level", "warning")
    assert len(out.splitlines()) == 75


def test_a_failed_job_is_done_again(server, runs):
    musetalk(server, "submit", "speech", "--text", "Hello.")
    [first] = runs.jobs
    runs.jobs[first] = replace(runs.jobs[first], status="failed")

    status, out, _ = musetalk(server, "retry", first)
    assert status == 0 and runs.jobs[UUID(out.strip())].retry_of == first
