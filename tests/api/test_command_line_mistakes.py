"""Typical mistakes on the command line: the message names the option, what it expects and the next step."""

import json

import pytest
from typer.testing import CliRunner

from deployments.cli.main import EXIT_STATUSES, app
from tasks.settings import get_settings

INPUTS = ("--video", "a.mp4", "--audio", "a.wav")
SPEECH = {"name": "a", "type": "speech", "job": {"text": "Hello."}}
FILES = {
    "bad.csv": "vidoe,audio\na.mp4,a.wav\n",
    "nested.csv": "video,audio,crf\na.mp4,a.wav,20\n",
    "local.csv": "id,video,audio,encode.crf\n1,no.mp4,a.wav,20\n",
    "good.csv": "id,video,audio\n1,a.mp4,a.wav\n",
    "crf.json": [
        SPEECH,
        {
            "name": "b",
            "type": "lip_sync",
            "job": {"video": "a.mp4", "audio": "job://a", "encode": {"crf": 99}},
        },
    ],
    "unknown.json": [
        SPEECH,
        {"name": "b", "type": "lip_sync", "job": {"video": "a.mp4", "audio": "job://c"}},
    ],
}


@pytest.fixture
def musetalk(environment, tmp_path, server):
    environment.chdir(tmp_path)
    environment.setenv("MUSETALK_API__MODELS_HERE", "true")
    environment.setenv("MUSETALK_WEIGHTS__FOLDER", str(tmp_path / "models"))
    get_settings.cache_clear()
    (tmp_path / "a.mp4").write_bytes(b"moving picture")
    (tmp_path / "a.wav").write_bytes(b"sound")
    (tmp_path / "bytes.txt").write_bytes(b"caf\xe9")
    for name, content in FILES.items():
        (tmp_path / name).write_text(content if isinstance(content, str) else json.dumps(content))

    def run(*words, at=server):
        done = CliRunner().invoke(app, [*map(str, words), *(["--server", at] if at else [])])
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done.exit_code, done.stdout, done.stderr

    return run


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("submit", "lip-sync", *INPUTS), "Unknown job type lip-sync. Did you mean lip_sync?"),
        (("submit", "lipsync", *INPUTS), "Did you mean lip_sync?"),
        (
            ("submit", "analyze", "--image", "a.mp4", "--set", "features=ocr"),
            '--set features: expected a JSON list, for example ["caption","ocr","faces"].',
        ),
        (
            ("submit", "analyze", "--image", "a.mp4", "--set", "feature=[]"),
            "analyze has no parameter feature. Did you mean features?",
        ),
        (
            ("submit", "lip_sync", *INPUTS, "--set", "encode.crff=20"),
            "lip_sync has no parameter encode.crff. Did you mean encode.crf?",
        ),
        (("submit", "lip_sync", *INPUTS, "--set", "crf=20"), "Did you mean encode.crf?"),
        (
            ("submit", "lip_sync", *INPUTS, "--set", "encode.crf=high"),
            "--set encode.crf: expected a whole number, for example 18.",
        ),
        (
            ("submit", "lip_sync", *INPUTS, "--set", "encode=20"),
            "--set encode: expected a JSON object, for ex",
        ),
        (
            ("submit", "lip_sync", *INPUTS, "--set", "engine=museTalk"),
            "--set engine: expected auto, musetalk or viseme. Did you mean musetalk?",
        ),
        (("submit", "lip_sync", *INPUTS, "--set", "fps=fast"), "--set fps: expected a frame rate"),
        (("submit", "lip_sync", "--video", "a.mp4"), "lip_sync requires --audio FILE."),
        (("submit", "lip_sync", "--video", "b.mp4", "--audio", "a.wav"), "File not found: b.mp4."),
        (("submit", "lip_sync", "--video", "aa.mp4", "--audio", "a.wav"), "Did you mean a.mp4?"),
        (("submit", "lip_sync", "--video", "no/a.mp4", "--audio", "a.wav"), "The folder no does not exist."),
        (("submit", "lip_sync", "--video", ".", "--audio", "a.wav"), ". is a folder; name a file."),
        (
            ("submit", "lip_sync", *INPUTS, "-o", "no/a.mp4"),
            "--output no/a.mp4: the folder no does not exist.",
        ),
        (("result", "1234", "-o", "no/a.mp4"), "--output no/a.mp4: the folder no does not exist."),
        (("submit", "lip_sync", "--video", "https://10.0.0.1/a.mp4", "--audio", "a.wav"), "--video: "),
        (("submit", "lip_sync", *INPUTS, "--set", "fps"), "expected NAME=VALUE"),
        (("submit", "lip_sync", *INPUTS, "--text", "@none.txt"), "--text: File not found: none.txt."),
        (("submit", "lip_sync", *INPUTS, "--text", "@good1.csv"), "Did you mean good.csv?"),
        (("submit", "lip_sync", *INPUTS, "--text", "@bytes.txt"), "bytes.txt is not text in UTF-8."),
        (("submit", "portrait", "--image", "a.mp4"), "needs audio or a text to speak (--audio, --text)."),
        (("submit", "speech"), "must be provided (--text, --set monologue)."),
        (
            ("submit", "speech", "--text", "Hello.", "--set", "voice=clone"),
            "reference_audio is required for voice cloning (--reference).",
        ),
        (
            ("submit", "portrait", "--image", "a.mp4", "--text", "Hello.", "--set", "voice.voice=clone"),
            "--set voice: reference_audio is required for voice cloning (--set voice.reference_audio).",
        ),
        (("submit", "lip_sync", *INPUTS, "--image", "a.mp4"), "does not take --image. Its inputs: --video"),
        (("submit", "lip_sync", *INPUTS, "--priority", "hihg"), "--priority: expected high, normal or low."),
        (("submit", "lip_sync", *INPUTS, "--notify", "ftp://x"), "--notify: "),
        (
            ("submit", "lip_sync", *INPUTS, "--set", "engine=musetalk"),
            "musetalk weights pull musetalk. Or add --set fallback=true to use the engine viseme.",
        ),
        (("watch", "nonsense"), "nonsense is not the id of a job."),
        (("jobs", "--status", "runing"), "Did you mean running?"),
        (("jobs", "--type", "speach"), "Did you mean speech?"),
        (("batch", "none.csv"), "File not found: none.csv."),
        (("pipeline", "none.json"), "none.json cannot be read as JSON (no such file)."),
        (
            ("batch", "bad.csv"),
            "bad.csv: lip_sync has no parameter vidoe, so no row can be used. Did you mean video?",
        ),
        (("batch", "nested.csv"), "Did you mean encode.crf?"),
        (("batch", "local.csv"), "local.csv names files that do not exist: no.mp4."),
        (("batch", "--set", "encode.crf=99", "good.csv"), "--set encode.crf: "),
        (("pipeline", "crf.json"), "step b, encode.crf: "),
        (("pipeline", "unknown.json"), "step b refers to job://c, but no step has that name"),
    ],
)
def test_a_mistake_is_explained_with_the_next_step(musetalk, runs, words, message):
    status, out, err = musetalk(*words)

    assert (status, out) == (2, ""), err
    assert message in err and err.startswith("musetalk: ") and "#/" not in err
    assert not runs.created


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("submit", "lip_sync", "--vidoe", "a.mp4"), "--video"),
        (("submit", "lip_sync", *INPUTS, "--crf", "20"), "--set encode.crf=VALUE"),
        (("submit", "lip_sync", *INPUTS, "--idle-motion", "no"), "--idle-motion"),
        (("submitt", "lip_sync"), "submit"),
        (("submit", "lip_sync", "a.mp4", "a.wav"), "options of lip_sync: --video, --audio, --text."),
        (("submit", "portrait", "a.mp4"), "options of portrait: --image, --audio, --text."),
    ],
)
def test_a_wrong_option_or_command_suggests_the_right_one(musetalk, words, message):
    status, _, err = musetalk(*words, at=None)

    assert status == 2 and message in " ".join(err.replace("│", " ").split())
    assert "deployments" not in err


def test_an_id_with_one_wrong_digit_suggests_the_job(musetalk, runs):
    job_id = str(runs.running().id)
    wrong = job_id[:-1] + ("0" if job_id[-1] != "0" else "1")

    for command in ("watch", "result", "logs", "lineage", "cancel", "retry"):
        status, _, err = musetalk(command, wrong)
        assert status == 2 and f"Did you mean {job_id}?" in err, command


def test_the_first_characters_of_an_id_are_enough(musetalk, runs):
    job_id = str(runs.running().id)

    assert musetalk("cancel", job_id[:8])[1] == f"{job_id} is canceled\n"
    assert musetalk("watch", f"job://{job_id}")[0] == 1


def test_a_number_is_text_where_the_parameter_takes_text(musetalk, runs):
    musetalk("submit", "speech", "--text", "Hello.", "--set", "output.name=5")

    [(_, job, _)] = runs.created
    assert job.output.name == "5"


def test_an_empty_list_says_so_beside_the_output(musetalk, runs):
    assert musetalk("jobs") == (0, "", "There are no jobs yet.\n")
    assert musetalk("jobs", "--status", "failed") == (0, "", "No jobs match.\n")
    runs.running()
    assert musetalk("jobs")[2] == ""


def test_a_text_file_may_begin_with_a_byte_order_mark(musetalk, runs, tmp_path):
    (tmp_path / "said.txt").write_bytes(b"\xef\xbb\xbfHello.")
    musetalk("submit", "speech", "--text", "@said.txt")

    [(_, job, _)] = runs.created
    assert job.text == "Hello."


def test_a_submitted_job_comes_with_the_next_steps(musetalk, runs):
    _, out, err = musetalk("submit", "speech", "--text", "Hello.")

    [job_id] = runs.jobs
    assert out == f"{job_id}\n"
    assert f"musetalk watch {job_id}" in err and f"musetalk result {job_id} -o FILE" in err


def test_keys_before_the_first_key(environment, tmp_path):
    environment.setenv("MUSETALK_HOME", str(tmp_path))
    get_settings.cache_clear()
    revoked = CliRunner().invoke(app, ["keys", "revoke", "ci"])
    listed = CliRunner().invoke(app, ["keys", "list", "--json"])

    assert revoked.exit_code == 2 and "There is no key named ci." in revoked.stderr
    assert "keys create NAME" in revoked.stderr
    assert (listed.exit_code, json.loads(listed.stdout)) == (0, [])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("MUSETALK_API__PROT", "There is no setting MUSETALK_API__PROT. Did you mean MUSETALK_API__PORT?"),
        ("MUSETALK_API__XYZZY", "There is no setting MUSETALK_API__XYZZY."),
        ("MUSETALK_API__MAX_JOBS", "MUSETALK_API__MAX_JOBS: expected a value"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(environment, name, message):
    environment.setenv(name, "-7")
    get_settings.cache_clear()
    done = CliRunner().invoke(app, ["doctor"])
    assert done.exit_code == 2 and message in done.stderr


def test_a_port_that_is_none_is_told_by_its_option():
    done = CliRunner().invoke(app, ["up", "--port", "99999"])
    assert done.exit_code == 2 and "--port" in done.stderr and "MUSETALK" not in done.stderr


def test_a_job_that_has_ended_is_not_canceled(musetalk, finished):
    job_id = str(finished(content=b"x").id)
    status, out, _ = musetalk("cancel", job_id)
    assert (status, out) == (0, f"{job_id} had ended before: it is succeeded. Nothing was canceled.\n")


def test_exit_statuses_are_those_of_the_documentation(musetalk, runs, finished):
    statuses = {
        0: musetalk("watch", finished(content=b"x").id)[0],
        1: musetalk("watch", runs.failed().id)[0],
        2: musetalk("submit", "lip_sync")[0],
        3: musetalk("jobs", at="http://127.0.0.1:9")[0],
    }

    assert all(expected == found for expected, found in statuses.items()), statuses
    assert set(statuses) < set(EXIT_STATUSES)


def test_an_unready_server_is_not_a_mistake_of_the_user(musetalk, runs):
    from api.errors import Problem

    async def refuse(*_, **__):
        raise Problem("orchestrator_unavailable", "The job system is unavailable.")

    runs.create = refuse
    assert musetalk("submit", "speech", "--text", "Hello.")[0] == 3


def test_the_version_is_printed():
    done = CliRunner().invoke(app, ["--version"])

    assert done.exit_code == 0 and done.stdout.startswith("musetalk-flows 0.")
