"""Files of jobs over HTTP: any name, and only the very object that the result pinned."""

from dataclasses import replace
from pathlib import Path
from urllib.parse import quote, unquote

import httpx
import pytest

from api.client import MusetalkClient, local_file_name
from tasks.catalog.assets import asset_name
from tasks.storage.s3_store import S3Store

NAMES = ["你好.mp4", "take 1+2 (a).mp4", "100%41 é?#&;'.mp4", 'a"b|c.mp4', "-f.mp4"]


@pytest.fixture(params=["plain", "versioned"])
def bucket(request, s3_store, s3_endpoint):
    """The bucket that a job was asked to write to: gives its name and whether it keeps versions."""
    from boto3 import Session

    client = Session("test", "test", region_name="us-east-1").client("s3", endpoint_url=s3_endpoint)
    if request.param == "versioned":
        client.put_bucket_versioning(Bucket=s3_store, VersioningConfiguration={"Status": "Enabled"})
    return s3_store, request.param == "versioned"


@pytest.fixture
def put(tmp_path):
    def make(bucket, key, content, job=None):
        path = tmp_path / "content"
        path.write_bytes(content)
        return S3Store(bucket).upload(path, key, metadata={"musetalk-job": str(job)} if job else {})

    return make


def result_of(run, stored, name):
    video = {"uri": stored.uri, "version": stored.version, "size": stored.size}
    return replace(run, status="succeeded", result={"video": video, "name": name, "warnings": []})


@pytest.mark.parametrize("name", NAMES)
def test_a_file_of_any_name_is_linked_and_fetched(server, finished, name):
    run = finished(name=name)
    client = httpx.Client(base_url=server, trust_env=False, follow_redirects=True)
    job = client.get(f"/v1/jobs/{run.id}").json()

    assert job["result"]["name"] == name
    assert job["result"]["video"]["uri"] == f"job://{run.id}/{quote(name, safe='')}"
    assert job["result_url"].isascii()
    for address in (job["result_url"], f"/v1/jobs/{run.id}/result", f"/result/{run.id}"):
        answer = client.get(address)
        if address.startswith("/result/"):
            answer = client.get(answer.json()["result_url"])
        assert (answer.status_code, answer.content) == (200, b"0123456789")
        said = answer.headers["content-disposition"]
        assert unquote(said.split("filename*=UTF-8''")[1]) == name
        assert said.isascii() and 'filename="' in said


@pytest.mark.parametrize("name", NAMES)
def test_the_client_writes_it_under_its_name(server, finished, tmp_path, name):
    run = finished(name=name)
    folder = tmp_path / "got"
    folder.mkdir()

    path = MusetalkClient(server).download(str(run.id), folder)

    assert path == folder / name and path.read_bytes() == b"0123456789"
    assert [one.name for one in folder.iterdir()] == [name]


def test_a_name_as_long_as_can_be_is_written_too(server, finished, tmp_path):
    run = finished(name="界" * 83 + "ab.mp4")

    assert MusetalkClient(server).download(str(run.id), tmp_path).name == "界" * 83 + "ab.mp4"


@pytest.mark.parametrize(
    ("name", "there"),
    [("a:b?.mp4", "a_b_.mp4"), ("con.mp4", "_con.mp4"), ("你好 +é.mp4", "你好 +é.mp4"), ("concert.mp4",) * 2],
)
def test_windows_gets_a_name_that_it_can_have(name, there):
    assert local_file_name(name, windows=True) == there
    assert local_file_name(name, windows=False) == name


def test_a_replaced_result_is_never_answered_with_the_newer_bytes(bucket, client, runs, put):
    name, is_versioned = bucket
    run, newer = runs.running(), runs.running()
    runs.jobs[run.id] = result_of(run, put(name, "out/take 1.mp4", b"older", run.id), "take 1.mp4")
    runs.jobs[newer.id] = result_of(newer, put(name, "out/take 1.mp4", b"newer!", newer.id), "take 1.mp4")

    def fetched(job):
        got = client.get(f"/v1/jobs/{job.id}/files/take%201.mp4", follow_redirects=False)
        assert got.status_code == 200
        assert "take%201.mp4" in got.headers["content-disposition"]
        return got.content

    assert fetched(newer) == b"newer!"
    if is_versioned:
        assert fetched(run) == b"older"
        return
    for address in (
        f"/v1/jobs/{run.id}/files/take%201.mp4",
        f"/v1/jobs/{run.id}/result",
        f"/result/{run.id}",
    ):
        answer = client.get(address, follow_redirects=False)
        problem = answer.json()
        assert (answer.status_code, problem["code"]) == (410, "result_replaced")
        assert problem["replaced_by"] == str(newer.id) and str(newer.id) in problem["detail"]
        assert problem["retryable"] is False


def test_a_link_to_a_version_gives_it_whatever_comes_later(bucket, connect, environment, runs, put):
    environment.setenv("MUSETALK_API__DOWNLOAD_REDIRECTS", "true")
    client = connect()
    name, is_versioned = bucket
    run = runs.running()
    runs.jobs[run.id] = result_of(run, put(name, "out/a.mp4", b"older"), "a.mp4")
    link = client.get(f"/v1/jobs/{run.id}/files/a.mp4", follow_redirects=False).headers["location"]
    put(name, "out/a.mp4", b"newer!")

    assert ("versionId=" in link) == is_versioned
    if is_versioned:
        assert httpx.get(link, trust_env=False).content == b"older"


def test_a_foreign_object_in_its_place_is_not_the_result(bucket, client, runs, put):
    name, is_versioned = bucket
    run = runs.running()
    stored = put(name, "out/a.mp4", b"mine")
    version = "v:gone" if is_versioned else stored.version
    runs.jobs[run.id] = result_of(run, replace(stored, version=version), "a.mp4")
    put(name, "out/a.mp4", b"yours")

    problem = client.get(f"/v1/jobs/{run.id}/files/a.mp4").json()

    assert problem["code"] == "result_replaced" and "replaced_by" not in problem


def test_what_is_gone_is_not_linked(bucket, client, runs, put):
    name, _ = bucket
    run = runs.running()
    runs.jobs[run.id] = result_of(run, put(name, "out/a.mp4", b"mine"), "a.mp4")
    S3Store(name).delete("out/a.mp4")
    if bucket[1]:  # its version is still there
        assert client.get(f"/v1/jobs/{run.id}/files/a.mp4").content == b"mine"
        return
    answer = client.get(f"/v1/jobs/{run.id}/files/a.mp4")
    assert (answer.status_code, answer.json()["code"]) == (410, "expired")


def test_a_folder_store_compares_too(client, finished):
    run = finished()
    path = Path(run.result["video"]["uri"].removeprefix("file://"))
    path.write_bytes(b"something else")

    answer = client.get(f"/v1/jobs/{run.id}/files/anna_hello.mp4")
    assert (answer.status_code, answer.json()["code"]) == (410, "result_replaced")


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("attachment; filename=\"fb.wav\"; filename*=UTF-8''%E4%BD%A0%E5%A5%BD.wav", "你好.wav"),
        ('attachment; filename="a;b (1).wav"', "a;b (1).wav"),
        ('attachment; filename="100%41.wav"', "100%41.wav"),
        ('attachment; filename="é.wav"'.encode(), "é.wav"),
        ("attachment", "upload"),
    ],
)
def test_an_upload_is_called_what_its_header_says(client, header, name):
    answer = client.post(
        "/v1/assets",
        content=b"123",
        headers={"content-type": "application/octet-stream", "content-disposition": header},
    )

    assert (answer.status_code, answer.json()["name"]) == (201, name)
    assert asset_name(answer.json()["id"]) == name


def dry(client, *rows, **defaults):
    body = {"job_type": "lip_sync", "rows": list(rows), "defaults": defaults}
    answer = client.post("/v1/jobs/batch?dry_run=true", json=body)
    assert answer.status_code == 200, answer.text
    return [text for text in answer.json()["warnings"] if text.startswith(("equal_names", "name_taken"))]


def row(number, audio, video="s3://media/anna.mp4", **output):
    return {"id": f"r{number}", "video": video, "audio": audio, **({"output": output} if output else {})}


def test_a_dry_run_tells_of_rows_with_one_name(client, s3_store):
    place = {"bucket": s3_store, "prefix": "out"}
    same = [row(1, "s3://media/a/x.wav"), row(2, "s3://media/b/x.wav"), row(3, "s3://media/b/y.wav")]

    [told] = dry(client, *same, output=place)
    assert "rows r1, r2 " in told and f"s3://{s3_store}/out/anna_x.mp4" in told and "suffix" in told
    [told] = dry(client, *same, output={**place, "overwrite": True})
    assert "replaces" in told
    assert dry(client, *same) == [], "in our own store every job has its own folder"
    assert dry(client, row(1, "s3://media/你好.wav"), row(2, "s3://media/世界.wav"), output=place) == []
    assert dry(client, row(1, "s3://media/take 1.wav"), row(2, "s3://media/take+1.wav"), output=place) == []
    assert dry(client, same[0], {**same[0], "id": "r9"}, output=place) == [], "the same job is done once"
    assert (
        len(dry(client, row(1, "s3://m1m/a.wav"), row(2, "s3://m1m/b.wav"), output={**place, "name": "n"}))
        == 1
    )


def test_a_dry_run_tells_of_names_that_are_taken(client, s3_store, put):
    put(s3_store, "out/anna_x.mp4", b"there")
    place = {"bucket": s3_store, "prefix": "out"}

    [told] = dry(client, row(1, "s3://media/x.wav"), row(2, "s3://media/y.wav"), output=place)

    assert told.startswith("name_taken: ") and "anna_x.mp4" in told and "row r1" in told
