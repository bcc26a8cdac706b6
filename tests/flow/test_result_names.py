"""A job's result is its own for ever: names that are taken, jobs at once, restarts, overwriting."""

import hashlib
import json
import os
import signal
import sys
import tempfile
import threading
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from atomic_s3 import atomic_writes, without_conditions
from fork_server import run_program
from moto_s3 import KEYS
from prefect.client.orchestration import get_client
from prefect.settings import get_current_settings
from prefect.states import Scheduled
from shown import artifacts_of

from flows.analyze import analyze
from flows.caption import caption
from flows.lip_sync import lip_sync
from flows.schemas.analyze import AnalyzeJob
from flows.schemas.base import Output
from flows.schemas.caption import CaptionJob
from flows.schemas.speech import SpeechJob
from flows.schemas.transcribe import TranscribeJob
from flows.schemas.video import LipSyncJob
from flows.speech import speech
from flows.transcribe import transcribe
from musetalk_core.errors import InputError
from tasks.cache.artefacts import artefact_cache
from tasks.catalog import stored_results
from tasks.catalog.output_locations import check_output_location
from tasks.catalog.outputs import upload, upload_set
from tasks.catalog.stored_results import find_pinned
from tasks.errors import ResultReplaced
from tasks.inputs.job_outputs import resolve_input
from tasks.inputs.sources import fetch_source, source_path
from tasks.settings import get_settings
from tasks.storage.home_store import _open_store, home_store

SPEECH_S = 3
REPOSITORY = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.usefixtures("shared_cache")


class Bucket:
    def __init__(self, client, name, versioned):
        self.client, self.name, self.is_versioned = client, name, versioned

    def listed(self):
        found = self.client.list_objects_v2(Bucket=self.name).get("Contents", [])
        return [entry["Key"] for entry in found]

    def body(self, key):
        return self.client.get_object(Bucket=self.name, Key=key)["Body"].read()

    def put(self, key, body=b"somebody else's"):
        self.client.put_object(Bucket=self.name, Key=key, Body=body)


@pytest.fixture(params=["plain", "versioned"])
def bucket(request, home, s3_endpoint, monkeypatch):
    import boto3

    for key, value in (KEYS | {"AWS_EC2_METADATA_DISABLED": "true"}).items():
        monkeypatch.setenv(key, value)
    monkeypatch.setenv("MUSETALK_S3__ENDPOINT_URL", s3_endpoint)
    monkeypatch.setenv("MUSETALK_S3__FORCE_PATH_STYLE", "true")
    monkeypatch.setenv("MUSETALK_S3__REGION", "us-east-1")
    get_settings.cache_clear()
    client = boto3.client("s3", endpoint_url=s3_endpoint)
    name = f"results-{uuid4().hex[:12]}"
    client.create_bucket(Bucket=name)
    if request.param == "versioned":
        client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    yield Bucket(client, name, request.param == "versioned")
    _open_store.cache_clear()


def ran(flow, job):
    """The id of a finished job, and its result."""
    state = flow(job, return_state=True)
    return state.state_details.flow_run_id, state.result()


def bytes_of(ref):
    """The bytes of the very version that a result pinned."""
    found = find_pinned(ref)
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "file"
        assert found.objects.download(found.key, found.info.version, target).version == found.info.version
        return target.read_bytes()


def made(content, name="x.mp4"):
    def write(folder):
        (folder / name).write_bytes(content)

    found = artefact_cache().get_or_create("join", hashlib.sha256(content).hexdigest(), write)
    artefact_cache().release()
    return found


@pytest.mark.parametrize("pair", [("你好", "世界"), ("take 1", "take+1"), ("é", "e\u0301e")])
def test_sounds_of_different_names_make_different_objects(bucket, clip_file, speech_file, pair):
    sound = speech_file.read_bytes()
    results = []
    for number, name in enumerate(pair):
        bucket.put(f"in/{name}.wav", sound[: len(sound) - 3200 * number])
        job = LipSyncJob(
            video=f"file://{clip_file}",
            audio=f"s3://{bucket.name}/in/{name}.wav",
            engine="fake",
            output=Output(bucket=bucket.name, prefix="out"),
        )
        results.append(ran(lip_sync, job))

    (_, one), (_, two) = results
    assert one.name != two.name
    assert {f"out/{one.name}", f"out/{two.name}"} <= set(bucket.listed())
    assert f"anna_{pair[0]}.mp4" == one.name
    for job, result in results:
        body = bucket.body(f"out/{result.name}")
        assert hashlib.sha256(body).hexdigest() == result.video.sha256
        source = fetch_source(resolve_input(f"job://{job}").location, kind="video")
        assert source_path(source).read_bytes() == body


def test_a_name_that_is_taken_gets_a_suffix_of_the_jobs_id(bucket):
    output = Output(bucket=bucket.name, prefix="out", name="hello")
    bucket.put("out/hello.mp3")
    first, one = ran(speech, SpeechJob(text="Good morning.", output=output))
    second, two = ran(speech, SpeechJob(text="Good evening.", output=output))

    assert (one.name, two.name) == (f"hello_{first.hex[:8]}.mp3", f"hello_{second.hex[:8]}.mp3")
    assert bucket.body("out/hello.mp3") == b"somebody else's"
    for result in (one, two):
        assert hashlib.sha256(bucket.body(f"out/{result.name}")).hexdigest() == result.audio.sha256
        assert f"out/{result.name}.lineage.json" in bucket.listed()
    assert resolve_input(f"job://{first}/hello_{first.hex[:8]}.mp3").location.ref == one.audio


def test_a_suffix_that_is_taken_is_extended(bucket, monkeypatch):
    job = uuid4()
    monkeypatch.setattr("tasks.catalog.outputs.current_job", lambda: job)
    for name in ("a", f"a_{job.hex[:8]}", f"a_{job.hex[:16]}"):
        bucket.put(f"{name}.mp4")

    stored = upload.fn(made(b"mine"), "x.mp4", "a.mp4", Output(bucket=bucket.name))

    assert stored.name == f"a_{job.hex}.mp4"
    assert bytes_of(stored.ref) == b"mine"


def test_an_equal_job_shares_the_object(bucket):
    output = Output(bucket=bucket.name, name="hello")
    job = SpeechJob(text="Good morning.", output=output)
    (_, one), (_, two) = ran(speech, job), ran(speech, job)

    assert one.audio == two.audio
    assert bucket.listed() == ["hello.mp3", "hello.mp3.lineage.json"]


@pytest.mark.parametrize(
    "taken",
    [
        "talk.srt.c2pa",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("talk.vtt", "talk.txt", "talk.json.lineage.json")
        ),
    ],
)
def test_all_files_of_a_transcript_get_the_same_suffix(bucket, speech_file, taken):
    bucket.put(taken)
    output = Output(bucket=bucket.name, name="talk")
    job, result = ran(transcribe, TranscribeJob(audio=f"file://{speech_file}", beam_size=1, output=output))

    stem = f"talk_{job.hex[:8]}"
    assert set(result.files) == {f"{stem}.{ending}" for ending in ("txt", "json", "srt", "vtt", "tsv")}
    assert result.name == f"{stem}.txt"
    notes = {f"{name}.{ending}" for name in result.files for ending in ("lineage.json", "c2pa")}
    assert set(bucket.listed()) == {taken, *result.files, *notes}


def together(count, act):
    """Run a function in several threads at the same moment and return the results."""
    barrier, came = threading.Barrier(count), [None] * count

    def run(number):
        barrier.wait()
        came[number] = act(number)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return came


@pytest.mark.parametrize("size", [20, (16 << 20) + 1], ids=["one piece", "in parts"])
def test_jobs_at_once_replace_nothing_of_each_other(bucket, monkeypatch, size):
    count = 6 if size < 1000 else 3
    contents = [bytes([65 + number]) * size for number in range(count)]
    artefacts_made = [made(content) for content in contents]
    with atomic_writes(monkeypatch):
        stored = together(
            count, lambda n: upload.fn(artefacts_made[n], "x.mp4", "你好.mp4", Output(bucket=bucket.name))
        )

    assert len({one.name for one in stored}) == count
    assert "你好.mp4" in {one.name for one in stored}
    assert [bytes_of(one.ref) for one in stored] == contents
    assert len(bucket.listed()) == count


def test_sets_of_files_at_once_stay_together(bucket, monkeypatch):
    def write(content):
        def fill(folder):
            for name in ("a.txt", "a.srt", "a.json"):
                (folder / name).write_bytes(content + name.encode())

        key = hashlib.sha256(b"set " + content).hexdigest()
        return artefact_cache().get_or_create("join", key, fill)

    sets = [write(bytes([65 + number])) for number in range(4)]
    artefact_cache().release()
    files = {f"a.{ending}": f"talk.{ending}" for ending in ("txt", "srt", "json")}
    backwards = dict(reversed(files.items()))
    with atomic_writes(monkeypatch):
        stored = together(
            4, lambda n: upload_set.fn(sets[n], backwards if n % 2 else files, Output(bucket=bucket.name))
        )

    for one in stored:
        assert len({file.name.rpartition(".")[0] for file in one}) == 1
        assert all(bytes_of(file.ref) is not None for file in one)
    assert len({one[0].name.rpartition(".")[0] for one in stored}) == 4
    assert len(bucket.listed()) == 12, "what was stored of a set that was given up is gone"


def test_jobs_at_once_on_a_folder_store(home):
    contents = [bytes([65 + number]) for number in range(8)]
    artefacts_made = [made(content) for content in contents]
    stored = together(8, lambda n: upload.fn(artefacts_made[n], "x.mp4", "take 1.mp4", Output()))

    assert {one.name for one in stored} == {"take 1.mp4"}
    assert [bytes_of(one.ref) for one in stored] == contents


@pytest.mark.parametrize("size", [20, (16 << 20) + 1], ids=["one piece", "in parts"])
def test_a_store_without_conditional_writes_is_looked_at_first(bucket, monkeypatch, size):
    bucket.put("a.mp4")
    content = b"m" * size
    with without_conditions(monkeypatch):
        first = upload.fn(made(content), "x.mp4", "a.mp4", Output(bucket=bucket.name))
        second = upload.fn(made(content + b"2"), "x.mp4", "b.mp4", Output(bucket=bucket.name))

    assert first.name.startswith("a_") and second.name == "b.mp4"
    assert bucket.body("a.mp4") == b"somebody else's"
    assert bytes_of(second.ref) == content + b"2"


def test_without_conditional_writes_a_write_at_the_same_time_is_found_out(bucket, monkeypatch, tmp_path):
    from tasks.storage.s3_store import S3Store

    really = S3Store._put_file

    def put_and_lose(self, path, key, about, *, only_new):
        stored = really(self, path, key, about, only_new=only_new)
        if key == "a.mp4":
            bucket.put("a.mp4", b"a moment later")
        return stored

    monkeypatch.setattr(S3Store, "_put_file", put_and_lose)
    with without_conditions(monkeypatch):
        stored = upload.fn(made(b"mine"), "x.mp4", "a.mp4", Output(bucket=bucket.name))

    assert stored.name.startswith("a_")
    assert (bytes_of(stored.ref), bucket.body("a.mp4")) == (b"mine", b"a moment later")


def test_what_is_pinned_is_what_was_stored_not_what_lies_there(bucket, monkeypatch):
    """Somebody replaces the object between the write and the look after it."""
    from tasks.storage.s3_store import S3Store

    really = S3Store._put_file

    def put_and_lose(self, path, key, about, *, only_new):
        stored = really(self, path, key, about, only_new=only_new)
        bucket.put(key, b"a moment later")
        return stored

    with monkeypatch.context() as patch:
        patch.setattr(S3Store, "_put_file", put_and_lose)
        stored = upload.fn(made(b"mine"), "x.mp4", "a.mp4", Output(bucket=bucket.name))

    if bucket.is_versioned:
        assert bytes_of(stored.ref) == b"mine"
    else:
        with pytest.raises(ResultReplaced):
            find_pinned(stored.ref)


CHILD = """
import os, signal, sys
from prefect.client.orchestration import get_client
from prefect.flow_engine import run_flow
from flows.media import context
from flows.schemas.speech import SpeechJob
from flows.speech import speech

run_id, dies = sys.argv[1], sys.argv[2] == "dies"
if dies:
    context.finish_report = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
with get_client(sync_client=True) as client:
    run = client.read_flow_run(run_id)
result = run_flow(speech, flow_run=run, parameters={"job": SpeechJob.model_validate(run.parameters["job"])})
print(result.model_dump_json())
"""


@pytest.mark.parametrize("where", ["bucket", "folder"])
def test_a_job_that_was_killed_after_its_upload_finds_its_object_again(bucket, home, where):
    output = {"bucket": bucket.name, "name": "töne 1"} if where == "bucket" else {"name": "töne 1"}
    bucket.put("töne 1.mp3")
    with get_client(sync_client=True) as client:
        job = {"text": "Good morning.", "output": output}
        run = client.create_flow_run(speech, parameters={"job": job}, state=Scheduled())

    def start(how):
        api = get_current_settings().api.url
        env = os.environ | {
            "PYTHONPATH": str(REPOSITORY),
            "PREFECT_API_URL": str(api),
            "PREFECT_LOCAL_STORAGE_PATH": str(home / "results"),
            "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",
            "PREFECT_LOGGING_LEVEL": "ERROR",
        }
        return run_program([sys.executable, "-c", CHILD, str(run.id), how], env=env)

    def stored():
        if where == "bucket":
            return [key for key in bucket.listed() if not key.endswith(".json")]
        return [info.key for info in home_store().list("outputs/") if not info.key.endswith(".json")]

    killed = start("dies")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    before = stored()
    again = start("lives")

    assert again.returncode == 0, again.stderr
    result = json.loads(again.stdout.splitlines()[-1])
    assert stored() == before
    name = f"töne 1_{run.id.hex[:8]}.mp3" if where == "bucket" else "töne 1.mp3"
    assert result["name"] == name
    assert len(before) == (2 if where == "bucket" else 1)


def test_a_wanted_overwrite_leaves_the_older_result_an_error(bucket, clip_file, speech_file):
    video, sound = f"file://{clip_file}", f"file://{speech_file}"
    place = {"bucket": bucket.name, "prefix": "out", "name": "anna & co"}
    older, one = ran(lip_sync, LipSyncJob(video=video, audio=sound, engine="fake", output=Output(**place)))
    replacing = Output(**place, overwrite=True)
    newer, two = ran(
        lip_sync, LipSyncJob(video=video, audio=sound, engine="fake", fps="10", output=replacing)
    )

    assert one.name == two.name == "anna & co.mp4"
    assert sorted(bucket.listed()) == ["out/anna & co.mp4", "out/anna & co.mp4.lineage.json"]
    note = json.loads(bucket.body("out/anna & co.mp4.lineage.json"))
    assert UUID(note["job"]) == newer
    assert hashlib.sha256(bytes_of(two.video)).hexdigest() == two.video.sha256

    again = LipSyncJob(video=f"job://{older}", audio=sound, engine="fake", fps="5")
    described = CaptionJob(
        video=f"job://{older}/anna%20%26%20co.mp4", captions=f"file://{captions(clip_file)}", how="track"
    )
    if bucket.is_versioned:  # it is kept: its own bytes, never the newer ones
        assert hashlib.sha256(bytes_of(one.video)).hexdigest() == one.video.sha256
        assert ran(lip_sync, again)[1].fps == "5"
        assert ran(caption, described)[1].duration_s == pytest.approx(one.duration_s, abs=0.05)
        bucket.client.delete_object(
            Bucket=bucket.name, Key="out/anna & co.mp4", VersionId=one.video.version.removeprefix("v:")
        )
        artefact_cache().release()
    with pytest.raises(ResultReplaced, match=str(newer)) as caught:
        find_pinned(one.video)
    assert caught.value.details == {"replaced_by": str(newer)}
    for flow, job in ((lip_sync, again), (caption, described)):
        state = flow(job, return_state=True)
        assert state.is_failed()
        error = json.loads(artifacts_of(state)["error"].data)
        assert (error["code"], error["retryable"]) == ("result_replaced", False)


def test_an_overwritten_output_keeps_no_manifest_of_the_former_one(bucket, monkeypatch):
    place = Output(bucket=bucket.name, prefix="out", name="said", overwrite=True)
    ran(speech, SpeechJob(text="One.", format="ogg", output=place))
    assert sorted(bucket.listed()) == ["out/said.ogg", "out/said.ogg.c2pa", "out/said.ogg.lineage.json"]

    monkeypatch.setenv("MUSETALK_PROVENANCE__SIGN", "false")
    monkeypatch.setenv("MUSETALK_STORE__LINEAGE_FILES", "false")
    get_settings.cache_clear()
    ran(speech, SpeechJob(text="Two.", format="ogg", output=place))
    assert bucket.listed() == ["out/said.ogg"]
    for suffix in (".c2pa", ".lineage.json"):
        bucket.put(f"out/said.ogg{suffix}")
    ran(speech, SpeechJob(text="Three.", format="ogg", output=place))
    assert len(bucket.listed()) == 3, "notes of other programs stay"


def captions(beside):
    path = beside.with_name("lines.srt")
    path.write_text("1\n00:00:00,000 --> 00:00:01,000\nHello\n")
    return path


def test_captions_and_pictures_of_a_replaced_result_are_refused(bucket, home, portrait_file, speech_file):
    output = Output(bucket=bucket.name, name="seen", overwrite=True)
    heard, _ = ran(transcribe, TranscribeJob(audio=f"file://{speech_file}", beam_size=1, output=output))
    seen, _ = ran(analyze, AnalyzeJob(image=f"file://{portrait_file}", features=["faces"], output=output))
    bucket.client.delete_object(Bucket=bucket.name, Key="seen.srt")
    for name in ("seen.srt", "seen.jpg"):
        for entry in bucket.client.list_object_versions(Bucket=bucket.name, Prefix=name).get("Versions", []):
            bucket.client.delete_object(Bucket=bucket.name, Key=name, VersionId=entry["VersionId"])
        bucket.put(name, b"1\n00:00:00,000 --> 00:00:01,000\nother\n")

    for flow, job in (
        (caption, CaptionJob(video=f"file://{portrait_file}", captions=f"job://{heard}/srt")),
        (analyze, AnalyzeJob(image=f"job://{seen}", features=["faces"])),
    ):
        state = flow(job, return_state=True)
        error = json.loads(artifacts_of(state)["error"].data)
        assert (state.is_failed(), error["code"]) == (True, "result_replaced")


def test_a_store_that_was_restored_from_a_copy_still_gives_its_results(home):
    stored = upload.fn(made(b"mine"), "x.mp4", "a.mp4", Output())
    path = find_pinned(stored.ref).path
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)  # another inode, another time

    assert find_pinned(stored.ref).info.version != stored.ref.version
    path.write_bytes(b"yours")
    with pytest.raises(ResultReplaced):
        find_pinned(stored.ref)


def test_results_of_earlier_versions_are_still_read(home):
    """Written under the artefact's key, without a hash, and stored anew since then."""
    from tasks.refs import ObjectRef

    artefact = made(b"mine")
    key = f"outputs/{artefact.key[:32]}/a.mp4"
    path = artefact_cache().path(artefact) / "x.mp4"
    about = {stored_results.CONTENT_KEY_FIELD: artefact.key}
    first = home_store().upload(path, key, metadata=about)
    home_store().upload(path, key, metadata=about)
    old = ObjectRef.model_validate({"uri": first.uri, "version": first.version, "size": first.size})

    assert find_pinned(old).key == key


def test_a_key_with_dots_is_read_as_it_is(bucket):
    for key, body in (("a/../b.wav", b"dots"), ("b.wav", b"plain")):
        bucket.put(key, body)

    source = fetch_source(f"s3://{bucket.name}/a/../b.wav", kind="audio")

    assert (source_path(source).read_bytes(), source.name) == (b"dots", "b.wav")


def test_a_prefix_that_leaves_no_room_for_a_name_is_refused_before_the_work(bucket):
    with pytest.raises(InputError, match="prefix is too long"):
        check_output_location("a.mp4", Output(bucket=bucket.name, prefix="é" * 480))
    check_output_location("a.mp4", Output(bucket=bucket.name, prefix="é" * 400))


def test_a_name_as_long_as_can_be_is_stored_with_its_note(bucket):
    name = "界" * 83 + "ab"  # 251 bytes, and .mp3
    _, result = ran(speech, SpeechJob(text="Good morning.", output=Output(bucket=bucket.name, name=name)))
    _, other = ran(speech, SpeechJob(text="Good morning.", output=Output(name=name)))

    assert result.name == other.name == f"{name}.mp3"
    assert len(bucket.listed()) == 2
    assert len(list(home_store().list("outputs/"))) == 2
