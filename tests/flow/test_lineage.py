"""Where outputs came from: told by an artifact and a file beside each, for every type of job."""

import hashlib
import http.server
import json
import threading
from uuid import UUID, uuid4

import pytest
from prefect import tags
from shown import artifacts_of

from flows.analyze import analyze
from flows.lip_sync import lip_sync
from flows.portrait import portrait
from flows.prefect_state.labels import PARENT_TAG
from flows.prepare_avatar import prepare_avatar
from flows.schemas.analyze import AnalyzeJob
from flows.schemas.base import Output
from flows.schemas.control import Control, Notify
from flows.schemas.lineage import LINEAGE_KEY, Lineage
from flows.schemas.speech import SpeechJob
from flows.schemas.transcribe import TranscribeJob
from flows.schemas.video import LipSyncJob, PortraitJob, PrepareAvatarJob
from flows.speech import speech
from flows.transcribe import transcribe
from musetalk_core.model_registry.hash_cache import sha256_of
from tasks.models.install import open_local_models
from tasks.settings import get_settings
from tasks.storage.home_store import home_store
from tasks.storage.redaction import redact_secrets

SPEECH_S = 3
SECRET = "hunter2"


def ran(flow, job, **more):
    state = flow(job, return_state=True, **more)
    return state.result(), Lineage.model_validate_json(artifacts_of(state)[LINEAGE_KEY].data), state


def beside(found):
    """The files beside the outputs, by name."""
    store = home_store()
    return {
        info.key.rpartition("/")[2]: store.path(info.key)
        for info in store.list("outputs/")
        if info.key.endswith(".lineage.json")
    }


def job_of(kind, clip, picture, sound):
    clip, picture, sound = (f"file://{path}" for path in (clip, picture, sound))
    return {
        "lip_sync": lambda: (lip_sync, LipSyncJob(video=clip, audio=sound)),
        "portrait": lambda: (portrait, PortraitJob(image=picture, audio=sound, engine="fake")),
        "prepare_avatar": lambda: (prepare_avatar, PrepareAvatarJob(video=clip)),
        "speech": lambda: (speech, SpeechJob(text="Good morning.")),
        "transcribe": lambda: (transcribe, TranscribeJob(audio=sound, beam_size=1, word_timestamps=False)),
        "analyze": lambda: (analyze, AnalyzeJob(image=picture, features=("faces", "tags"))),
    }[kind]()


EXPECTED = {
    "lip_sync": ({"video", "audio"}, {"face-mesh", "pocketsphinx"}, 1),
    "portrait": ({"image", "audio"}, {"face-mesh"}, 1),
    "prepare_avatar": ({"video"}, {"face-mesh"}, 0),
    "speech": (set(), {"hibari"}, 1),
    "transcribe": ({"audio"}, {"silero-vad"}, 5),
    "analyze": ({"image"}, {"face-mesh", "efficientnet-lite0"}, 1),
}


@pytest.mark.parametrize("kind", EXPECTED)
def test_every_type_says_what_went_in_what_did_it_and_what_came_out(
    home, clip_file, portrait_file, speech_file, kind
):
    flow, job = job_of(kind, clip_file, portrait_file, speech_file)
    result, found, state = ran(flow, job, control=Control(tenant="acme"))
    fields, models, count = EXPECTED[kind]

    assert (found.job, found.type, found.tenant) == (state.state_details.flow_run_id, kind, "acme")
    assert found.created <= found.started <= found.finished
    files = {field: file for file in found.inputs for field in file.fields}
    assert set(files) == fields
    for field, file in files.items():
        content = (home / file.name).read_bytes()
        assert file.given == file.resolved == getattr(job, field)
        assert (file.sha256, file.size) == (hashlib.sha256(content).hexdigest(), len(content))
    assert found.parameters == json.loads(job.model_dump_json())
    assert {model.name for model in found.models} >= models
    for model in found.models:
        assert model.digest == open_local_models().digest(model.name)
        assert set(model.files.values()) == {
            sha256_of(path) for path in open_local_models().status(model.name).paths.values()
        }
    assert found.program.name == "musetalk-flows" and found.program.core
    assert found.timings_s and list(found.cached) == result.cached == []
    assert found.links.prefect.endswith(f"/runs/flow-run/{found.job}") and found.links.job is None
    assert len(found.outputs) == count
    notes = beside(found)
    assert set(notes) == {f"{output.name}.lineage.json" for output in found.outputs}
    for output in found.outputs:
        note = notes[f"{output.name}.lineage.json"]
        assert Lineage.model_validate_json(note.read_text()) == found
        made = note.with_name(output.name)
        assert (output.sha256, output.size) == (sha256_of(made), made.stat().st_size)
        assert output.uri == f"job://{found.job}/{output.name}"
        assert note.stat().st_mtime_ns >= made.stat().st_mtime_ns
    assert str(home / "home") not in found.model_dump_json(), "no folders of this machine"


def test_what_was_left_open_is_settled(home, clip_file, speech_file):
    job = LipSyncJob(video=f"file://{clip_file}", audio=f"file://{speech_file}", engine="fake")
    _, found, _ = ran(lip_sync, job)
    assert found.settled["engine"]["name"] == "fake"
    assert (found.settled["fps"], found.settled["phones"]) == ("25", "none")
    assert found.rendering is not None
    _, voice, _ = ran(speech, SpeechJob(text="Good morning."))
    assert voice.settled["voice"]["engine"] == "starter"


@pytest.mark.slow
def test_a_neural_engine_names_all_its_networks(home, musetalk, short_clip, speech_file):
    job = PrepareAvatarJob(video=f"file://{short_clip}", engine="musetalk")
    _, found, _ = ran(prepare_avatar, job)
    names = {model.name for model in found.models}
    assert names == {"musetalk-v15", "sd-vae", "whisper-tiny", "face-mesh", "face-parse"}
    assert found.settled["engine"]["crops"]["weights"] == open_local_models().digest("musetalk-v15", "sd-vae")


def test_a_job_of_jobs_names_its_parents_and_the_pipeline_it_is_part_of(home, portrait_file):
    said, first, _ = ran(speech, SpeechJob(text="Good morning."))
    pipeline = uuid4()
    given = f"job://{first.job}/{said.name}"
    with tags(f"{PARENT_TAG}{pipeline}", f"{PARENT_TAG}not-a-run"):
        _, found, _ = ran(
            portrait, PortraitJob(image=f"file://{portrait_file}", audio=given, engine="fake", fps="5")
        )

    assert [(parent.job, parent.how, parent.file) for parent in found.parents] == [
        (first.job, "input", said.name),
        (pipeline, "part-of", None),
    ]
    sound = next(file for file in found.inputs if file.fields == ("audio",))
    assert sound.given == given
    assert sound.resolved == f"store://outputs/{said.audio.uri.split('/outputs/')[1]}"
    assert sound.sha256 == first.outputs[0].sha256


def test_what_a_step_made_of_the_picture_is_no_input(home, portrait_file):
    job = PortraitJob(
        image=f"file://{portrait_file}",
        text="Good morning.",
        engine="fake",
        fps="5",
        framing={"crop": "face"},
    )
    _, found, _ = ran(portrait, job)
    assert [(file.fields, file.name) for file in found.inputs] == [(("image",), portrait_file.name)]
    assert {model.name for model in found.models} == {"face-mesh", "hibari"}


@pytest.fixture
def web(portrait_file, monkeypatch):
    """A picture on a server of this machine, behind a signed address."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self):
            ok = f"sig={SECRET}" in self.path
            body = portrait_file.read_bytes() if ok else b""
            self.send_response(200 if ok else 403)
            self.send_header("ETag", '"1"')
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("MUSETALK_EGRESS__ALLOW_HTTP", "true")
    monkeypatch.setenv("MUSETALK_EGRESS__ALLOWED_HOSTS", f"127.0.0.1:{server.server_port}")
    get_settings.cache_clear()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_no_secret_is_written_anywhere(home, web):
    given = f"{web}/pictures/anna.jpg?X-Amz-Signature=abc&sig={SECRET}"
    notify = Notify(url=f"https://hooks.example/{SECRET}/x")
    question = f"Is it https://a:{SECRET}@b.example/x?token={SECRET}#{SECRET} ?"
    job = AnalyzeJob(image=given, question=question, fallback=True)
    _, found, state = ran(analyze, job, control=Control(notify=notify))

    [file] = found.inputs
    assert file.given == file.resolved == f"{web}/pictures/anna.jpg?…"
    assert file.fields == ("image",) and found.parameters["image"] == file.given
    note = artifacts_of(state)[LINEAGE_KEY]
    written = [note.data, note.description, *(path.read_text() for path in beside(found).values())]
    assert len(written) == 3
    for text in written:
        assert SECRET not in text and "Signature" not in text


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("https://u:p@h.example/a?b=c#d", "https://h.example/a?…"),
        ("HTTPS://u@h.example/a", "HTTPS://h.example/a"),
        ("see http://h/x?y=1 and https://h/z#t", "see http://h/x?… and https://h/z?…"),
        ("https://u:p@q:r@h/x", "https://h/x"),
        ("s3://media/what?.mp4", "s3://media/what?.mp4"),
        ("what? yes#1 a@b", "what? yes#1 a@b"),
    ],
)
def test_addresses_are_cleaned(text, clean):
    assert redact_secrets({"a": [text, 1, None]}) == {"a": [clean, 1, None]}


def test_files_can_be_switched_off(home, monkeypatch):
    monkeypatch.setenv("MUSETALK_STORE__LINEAGE_FILES", "false")
    get_settings.cache_clear()
    _, found, _ = ran(speech, SpeechJob(text="Good morning."))
    assert found.outputs and beside(found) == {}


def test_the_file_tells_of_the_job_whose_output_it_lies_beside(home):
    _, first, _ = ran(speech, SpeechJob(text="Good morning."))
    [path] = beside(first).values()
    _, second, _ = ran(speech, SpeechJob(text="Good morning."))

    assert second.cached and second.outputs[0].sha256 == first.outputs[0].sha256
    assert Lineage.model_validate_json(path.read_text()).job == first.job
    other = path.parent.with_name(second.job.hex) / path.name
    assert Lineage.model_validate_json(other.read_text()).job == second.job


def test_a_job_succeeds_whose_file_cannot_be_written(home, monkeypatch, caplog):
    from tasks.storage.folder_store import FolderStore

    really = FolderStore.put_bytes

    def refuse(self, key, *args, **more):
        if key.endswith(".lineage.json"):
            raise OSError("disk full")
        return really(self, key, *args, **more)

    monkeypatch.setattr(FolderStore, "put_bytes", refuse)
    result, found, state = ran(speech, SpeechJob(text="Good morning."))
    assert state.is_completed() and result.name == found.outputs[0].name
    assert "manifest was not written" in caplog.text


def test_a_bucket_gets_it_beside_the_output(home, s3_endpoint, monkeypatch):
    from boto3 import Session

    for name, value in {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_EC2_METADATA_DISABLED": "true",
        "MUSETALK_S3__ENDPOINT_URL": s3_endpoint,
        "MUSETALK_S3__FORCE_PATH_STYLE": "true",
        "MUSETALK_S3__REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    get_settings.cache_clear()
    client = Session("test", "test", region_name="us-east-1").client("s3", endpoint_url=s3_endpoint)
    bucket = f"lineage-{uuid4().hex[:8]}"
    client.create_bucket(Bucket=bucket)
    output = Output(bucket=bucket, prefix="a/b", name="greeting")

    _, first, _ = ran(speech, SpeechJob(text="Good morning.", output=output))
    replacing = output.model_copy(update={"overwrite": True})
    _, second, _ = ran(speech, SpeechJob(text="Good evening.", output=replacing))

    keys = [entry["Key"] for entry in client.list_objects_v2(Bucket=bucket)["Contents"]]
    assert keys == ["a/b/greeting.mp3", "a/b/greeting.mp3.lineage.json"]
    answer = client.get_object(Bucket=bucket, Key=keys[1])
    assert answer["ContentType"] == "application/json"
    note = Lineage.model_validate_json(answer["Body"].read())
    assert note == second and note.job != first.job, "it tells of the file that lies there now"
    assert note.outputs[0].uri == f"s3://{bucket}/a/b/greeting.mp3"
    body = client.get_object(Bucket=bucket, Key=keys[0])["Body"].read()
    assert note.outputs[0].sha256 == hashlib.sha256(body).hexdigest()


def test_names_of_files_are_no_markup_in_prefects_pages(home, portrait_file):
    bad = portrait_file.with_name("![x](http:x)|`<img src=x>.jpg")
    portrait_file.rename(bad)
    _, found, state = ran(analyze, AnalyzeJob(image=bad.as_uri()))
    page = artifacts_of(state)[LINEAGE_KEY].description
    assert UUID(str(found.job)) and "|`<img" not in page
    for line in page.splitlines():
        assert line.count("`") % 2 == 0
