"""A job that refers to another tenant's files is refused before it is queued, as if they did not exist."""

from uuid import uuid4

import pytest

from flows.schemas.control import Control
from tasks.storage.home_store import home_store

SECRET = b"acme's own picture"
REFUSED = {"bucket_not_allowed", "local_path_disabled"}


@pytest.fixture(params=["folder", "s3"])
def store(request, environment):
    """The kind of the system's own store, and its bucket where it has one."""
    return request.getfixturevalue("s3_store") if request.param == "s3" else None


@pytest.fixture
def two(store, connect, issue, runs, finish, environment, tmp_path):
    """A client, the headers of two tenants, and what the first one has: an asset and an output."""
    environment.setenv("MUSETALK_STORE__LOCAL_ROOTS", str(tmp_path))
    client = connect()
    acme, other = issue("a", tenant="acme"), issue("b", tenant="other")
    sent = client.post("/v1/assets", files={"file": ("anna.jpg", SECRET)}, headers=acme)
    assert sent.status_code == 201
    job = finish(runs.add(control=Control(tenant="acme")))
    runs.jobs[job.id] = job
    return client, acme, other, sent.json()["uri"], job


def asks(reference, fine):
    """Bodies of every route that takes a media reference, with this one in it, and one that is there."""
    web = "https://example.org/a.wav"  # these routes take no paths, and look at nothing before it is queued
    yield "/v1/jobs/lip_sync", {"video": reference, "audio": fine}
    yield "/v1/jobs/lip_sync", {"video": fine, "audio": reference}
    yield "/v1/jobs/portrait", {"image": reference, "text": "Hello."}
    yield "/v1/jobs/transcribe", {"audio": reference}
    yield "/v1/jobs/analyze", {"image": reference}
    yield "/v1/jobs/caption", {"video": fine, "captions": reference}
    yield "/v1/jobs/prepare_avatar", {"video": reference}
    yield "/v1/avatars", {"video": reference}
    yield "/v1/jobs", {"type": "prepare_avatar", "video": reference}
    yield "/v1/pipelines/persona_sync", {"video": reference, "audio": fine}
    step = {"name": "one", "type": "prepare_avatar", "job": {"video": reference}}
    yield "/v1/pipelines", {"steps": [step]}
    yield "/v1/batches", {"job_type": "prepare_avatar", "manifest": reference}
    yield "/whisper", {"audio_url": reference}
    yield "/portrait", {"image_url": reference, "audio_url": web}
    yield "/analyze", {"image_url": reference}
    avatar = {"video_path": reference, "audio_clips": {"a": web}}
    yield "/inference?avatar_id=x&audio_id=a", {"avatars": {"x": avatar}}


@pytest.fixture
def fine(tmp_path):
    """A file that every tenant may read."""
    (tmp_path / "hello.wav").write_bytes(b"sound")
    return f"file://{tmp_path}/hello.wav"


def codes(client, headers, reference, fine):
    found = {}
    for path, body in asks(reference, fine):
        answer = client.post(path, json=body, headers=headers | {"Prefer": "respond-async"})
        found[path, *body] = (answer.status_code, answer.json().get("code"), answer.json().get("detail"))
    return found


def names(job, asset):
    """Return public URIs of files in the store."""
    output = job.result["video"]["uri"]
    root = output[: output.index("/outputs/")]
    key = asset.removeprefix("asset://")
    return [
        output,
        f"{root}/assets/{key}/data",
        f"{root}/assets/{key}/asset.json",
    ]


def test_a_public_name_of_what_is_in_the_store_is_refused_on_every_route(two, runs, fine):
    client, acme, other, asset, job = two
    for name in names(job, asset):
        for headers in (other, acme):
            for route, (status, code, _) in codes(client, headers, name, fine).items():
                takes_paths = route[0].startswith(("/v1", "/inference"))
                known = REFUSED if takes_paths else REFUSED | {"invalid_input"}
                assert code in known, (route, name)
                assert status in {400, 403, 422}
    assert runs.created == []


def test_and_by_a_dry_run_with_the_same_words(two, runs, fine):
    client, _, other, asset, job = two
    for name in names(job, asset):
        for path, body in asks(name, fine):
            if not path.startswith("/v1"):
                continue
            dry = client.post(path, json=body, headers=other, params={"dry_run": "true"})
            real = client.post(path, json=body, headers=other)
            assert (dry.status_code, dry.json()["code"]) == (real.status_code, real.json()["code"]), path
            assert dry.json()["detail"] == real.json()["detail"]


@pytest.mark.parametrize("dry", [{}, {"params": {"dry_run": "true"}}])
def test_what_is_another_s_and_what_is_not_there_get_one_answer(two, runs, dry, fine):
    client, _, other, asset, job = two
    for theirs, missing in [(asset, f"asset://{uuid4().hex}"), (f"job://{job.id}", f"job://{uuid4()}")]:
        for path, body in asks(theirs, fine):
            if dry and not path.startswith("/v1"):
                continue
            if dry and "manifest" in body and theirs.startswith("job://"):
                continue  # asks Prefect, which is not there
            absent = next(
                one for where, one in asks(missing, fine) if where == path and list(one) == list(body)
            )
            options = dict(dry) if "?" not in path else {}
            first = client.post(path, json=body, headers=other, **options)
            second = client.post(path, json=absent, headers=other, **options)
            assert first.json()["code"] == "input_not_found", (path, first.text)
            same = first.text.replace(theirs, "X").replace(theirs.split("://")[1], "X")
            assert first.status_code == second.status_code
            said = second.json()["detail"].replace(missing.split("://")[1], "X")
            assert first.json()["detail"].replace(theirs.split("://")[1], "X") == said, same
    assert runs.created == []


def test_rows_are_looked_at_like_jobs(two, runs):
    client, acme, other, asset, job = two
    rows = [{"video": "s3://media/b.mp4"}, {"video": asset}]
    body = {"job_type": "prepare_avatar", "rows": rows}
    refused = client.post("/v1/batches", json=body, headers=other)
    assert (refused.status_code, refused.json()["code"]) == (422, "input_not_found")
    assert [one["pointer"] for one in refused.json()["errors"]] == ["#/rows/1/video"]
    assert client.post("/v1/batches", json=body, headers=acme).status_code == 202
    own = {"job_type": "prepare_avatar", "rows": [{"video": job.result["video"]["uri"]}, rows[0]]}
    said = client.post("/v1/batches", json=own, headers=other, params={"dry_run": "true"}).json()
    assert (said["jobs"], [row["row"] for row in said["bad_rows"]]) == (1, [1])


def test_the_owner_and_the_operator_are_let_in(two, issue):
    client, acme, _, asset, job = two
    for headers in (acme, issue("operator")):
        for uri in (asset, f"job://{job.id}"):
            for options in ({}, {"params": {"dry_run": "true"}}):
                answer = client.post(
                    "/v1/jobs/prepare_avatar", json={"video": uri}, headers=headers, **options
                )
                assert answer.status_code in {200, 202}, answer.text


def test_an_upload_without_a_tenant_is_no_tenants(two, issue):
    client, acme, _, _, _ = two
    uri = client.post("/v1/assets", files={"file": ("a.jpg", b"x")}, headers=issue("operator")).json()["uri"]
    answer = client.post("/v1/jobs/prepare_avatar", json={"video": uri}, headers=acme)
    assert (answer.status_code, answer.json()["code"]) == (422, "input_not_found")


def test_a_direct_upload_has_its_owner_before_it_is_sent(two, store):
    client, acme, other, _, _ = two
    if store is None:
        pytest.skip("a folder takes no direct uploads")
    import httpx

    file = {"name": "anna.mp4", "size": 4, "content_type": "video/mp4"}
    made = client.post("/v1/assets/direct", json=file, headers=acme).json()
    httpx.put(made["upload"]["url"], content=b"data", headers=made["upload"]["headers"]).raise_for_status()
    answers = [
        client.post("/v1/jobs/prepare_avatar", json={"video": made["uri"]}, headers=headers).status_code
        for headers in (acme, other)
    ]
    assert answers == [202, 422]


def test_no_result_goes_into_the_store_by_its_name(two, store, runs):
    if store is None:
        pytest.skip("a folder has no bucket to name")
    client, acme, other, _, job = two
    key = job.result["video"]["uri"].removeprefix(f"s3://{store}/")
    folder, _, name = key.rpartition("/")
    before = b"".join(home_store().read(key.removeprefix("render/")))
    for prefix in (folder, f"/{folder}/", "render", "render/assets", "render//outputs"):
        place = {"bucket": store, "prefix": prefix, "name": name}
        step = {"name": "one", "type": "speech", "job": {"text": "Hi.", "output": place}}
        for path, body in [
            ("/v1/jobs/speech", {"text": "Hi.", "output": place}),
            ("/v1/pipelines", {"steps": [step]}),
            ("/v1/batches", {"job_type": "speech", "rows": [{"text": "Hi."}], "output": place}),
            ("/v1/batches", {"job_type": "speech", "rows": [{"text": "Hi."}], "defaults": {"output": place}}),
        ]:
            for options in ({}, {"params": {"dry_run": "true"}}):
                for headers in (acme, other):
                    answer = client.post(path, json=body, headers=headers, **options)
                    assert (answer.status_code, answer.json()["code"]) == (403, "bucket_not_allowed"), path
        avatar = {
            "video_path": "https://example.org/a.mp4",
            "audio_clips": {"a": "https://example.org/a.wav"},
        }
        body = {"avatars": {"x": avatar}, "s3_bucket": store, "s3_prefix": prefix.replace("//", "/")}
        answer = client.post("/inference?avatar_id=x&audio_id=a", json=body, headers=other)
        assert answer.json()["code"] == "bucket_not_allowed", answer.text
    assert runs.created == []
    assert b"".join(home_store().read(key.removeprefix("render/"))) == before


def test_no_folder_of_the_store_is_watched_or_listed(two, store, runs):
    if store is None:
        pytest.skip("a folder has no bucket to name")
    client, _, other, _, _ = two
    places = {"video": f"s3://{store}/render/assets/"}
    for path, more in [("/v1/batches", {}), ("/v1/jobs/render_new", {"name": "new"})]:
        for options in ({}, {"params": {"dry_run": "true"}}):
            body = {"job_type": "prepare_avatar", "places": places, **more}
            answer = client.post(path, json=body, headers=other, **options)
            assert (answer.status_code, answer.json()["code"]) == (403, "bucket_not_allowed"), (path, options)
    assert runs.created == []


def test_a_job_that_ran_is_not_done_again_with_the_name_of_the_store(two, store, runs):
    client, _, other, _, job = two
    old = runs.add(
        status="failed",
        type="prepare_avatar",
        control=Control(tenant="other"),
        parameters={"video": job.result["video"]["uri"]},
    )
    answer = client.post(f"/v1/jobs/{old.id}/retry", headers=other)
    assert answer.json()["code"] in {"bucket_not_allowed", "local_path_disabled"}


def test_results_name_what_is_in_the_store_by_the_job(two):
    client, acme, _, _, job = two
    said = client.get(f"/v1/jobs/{job.id}", headers=acme).json()
    assert said["result"]["video"]["uri"] == f"job://{job.id}/{job.result['name']}"
