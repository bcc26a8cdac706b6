"""Avatars over HTTP: listed, read, deleted, each tenant's own."""

import pytest
from avatar_examples import avatar_note
from entry_user import entry_in_use

from tasks.cache.artefacts import artefact_cache
from tasks.catalog.avatar_notes import read_note, save_note
from tasks.catalog.avatar_parts import AVATAR_PART_KIND, avatar_part_key
from tasks.storage.home_store import home_store

KEY = "{:064x}".format


@pytest.fixture
def prepared(environment):
    """Prepare an avatar, as far as the API can see: its files in the cache and its note."""

    def make(number, tenant=None):
        key = KEY(number)
        artefact_cache().get_or_create(
            "avatar", key, lambda folder: (folder / "boxes.npy").write_bytes(b"boxes")
        )
        artefact_cache().release()
        save_note(avatar_note(key, sha256=KEY(7)), tenant)
        return key

    return make


def listed(client, **asked):
    answer = client.get("/v1/avatars", **asked)
    assert answer.status_code == 200
    return [avatar["avatar"] for avatar in answer.json()["avatars"]]


def test_warming_up_is_a_job(client, runs):
    answer = client.post("/v1/avatars", json={"video": "s3://media/anna.mp4", "control": {"tags": ["cast"]}})
    assert answer.status_code == 202
    assert answer.headers["location"] == f"/v1/jobs/{answer.json()['id']}"
    ((job_type, job, _),) = runs.created
    assert (job_type.name, job.video) == ("prepare_avatar", "s3://media/anna.mp4")
    assert answer.json()["tags"] == ["cast"]


def test_list_read_delete(client, prepared):
    first, second = prepared(1), prepared(2)
    assert listed(client) == [first, second]
    said = client.get(f"/v1/avatars/{first}").json()
    assert (said["ready"], said["source"], said["with_face"]) == (True, "anna.mp4", 48)
    assert client.delete(f"/v1/avatars/{first}").status_code == 204
    assert client.get(f"/v1/avatars/{first}").json()["code"] == "not_found"
    assert client.delete(f"/v1/avatars/{first}").status_code == 404
    assert not artefact_cache().exists("avatar", first) and artefact_cache().exists("avatar", second)
    assert listed(client) == [second]


def test_the_size_counts_encoded_faces_and_deletion_removes_them(client, prepared):
    key, other = prepared(1), prepared(2)
    save_note(avatar_note(key, bytes=100, in_parts=True), None, JPEG)
    save_note(avatar_note(other, bytes=100), None, JPEG)
    parts = [avatar_part_key(avatar, part, [[0, 0, 8, 8]], 0) for avatar in (key, other) for part in (0, 1)]
    for part in parts:
        artefact_cache().get_or_create(
            AVATAR_PART_KIND, part, lambda folder: (folder / "plates.bin").write_bytes(b"1234567")
        )
    artefact_cache().release()
    assert client.get(f"/v1/avatars/{key}").json()["bytes"] == 114
    listed_notes = client.get("/v1/avatars").json()["avatars"]
    assert [(note["bytes"], note["in_parts"]) for note in listed_notes] == [(114, True), (100, False)]

    assert client.delete(f"/v1/avatars/{key}").status_code == 204
    assert artefact_cache().local_keys(AVATAR_PART_KIND) == set(parts[2:])


def test_pages(client, prepared):
    keys = [prepared(number) for number in range(5)]
    seen, cursor = [], None
    while True:
        answer = client.get("/v1/avatars", params={"limit": 2} | ({"cursor": cursor} if cursor else {}))
        seen += [avatar["avatar"] for avatar in answer.json()["avatars"]]
        cursor = answer.json()["next_cursor"]
        assert (cursor is None) == ("link" not in answer.headers)
        if cursor is None:
            break
    assert seen == keys


def test_an_evicted_one_is_listed_as_not_ready(client, prepared):
    key = prepared(1)
    assert artefact_cache().delete("avatar", key)
    assert client.get(f"/v1/avatars/{key}").json()["ready"] is False
    assert client.delete(f"/v1/avatars/{key}").status_code == 204


def test_tenants(connect, prepared, issue):
    client, acme, other, all_ = (
        connect(),
        issue("a", tenant="acme"),
        issue("b", tenant="other"),
        issue("c"),
    )
    shared, own = prepared(1, "acme"), prepared(2, "acme")
    prepared(1, "other")
    assert listed(client, headers=acme) == [shared, own]
    assert listed(client, headers=other) == [shared]
    assert client.get(f"/v1/avatars/{own}", headers=other).status_code == 404
    assert client.delete(f"/v1/avatars/{own}", headers=other).status_code == 404
    # what two tenants prepared goes with the second of them
    assert client.delete(f"/v1/avatars/{shared}", headers=acme).status_code == 204
    assert listed(client, headers=acme) == [own]
    assert client.get(f"/v1/avatars/{shared}", headers=other).json()["ready"] is True
    assert client.delete(f"/v1/avatars/{shared}", headers=other).status_code == 204
    assert not artefact_cache().exists("avatar", shared)
    assert listed(client, headers=all_) == [own]
    assert client.delete(f"/v1/avatars/{own}", headers=all_).status_code == 204
    assert listed(client, headers=acme) == []


def test_one_that_a_job_works_with_stays(client, prepared):
    key = prepared(1)
    with entry_in_use("avatar", key):
        refused = client.delete(f"/v1/avatars/{key}")
        assert (refused.status_code, refused.json()["code"]) == (409, "in_use")
        assert listed(client) == [key]
    assert client.delete(f"/v1/avatars/{key}").status_code == 204


def test_what_is_no_avatar(client):
    for name in ("x", "..%2f..%2fetc", KEY(1).upper() + "A", "_"):
        assert client.get(f"/v1/avatars/{name}").status_code in {400, 404}


JPEG = b"\xff\xd8\xff face"


def test_the_picture_of_a_face_is_its_tenants(connect, prepared, issue):
    client, acme, other = connect(), issue("a", tenant="acme"), issue("b", tenant="other")
    key = prepared(1, "acme")
    path = f"/v1/avatars/{key}/picture"
    assert client.get(path, headers=acme).json()["code"] == "not_found", "there is none yet"
    save_note(avatar_note(key, bytes=1234), "acme", JPEG)
    [listed_note] = client.get("/v1/avatars", headers=acme).json()["avatars"]
    assert listed_note["has_picture"] is True and listed_note["bytes"] == 1234

    answer = client.get(path, headers=acme)
    assert (answer.status_code, answer.content, answer.headers["content-type"]) == (200, JPEG, "image/jpeg")
    known = acme | {"If-None-Match": answer.headers["etag"]}
    assert client.get(path, headers=known).status_code == 304
    assert client.get(path, headers=other).json()["code"] == "not_found"
    assert client.delete(f"/v1/avatars/{key}", headers=acme).status_code == 204
    assert client.get(path, headers=acme).status_code == 404
    assert list(home_store().list("avatar-pictures/")) == []


def test_a_note_of_an_earlier_version_gets_its_picture_and_keeps_its_date(prepared):
    key = prepared(1)
    before = read_note(key, None)
    save_note(avatar_note(key, bytes=1), None)
    assert read_note(key, None) == before, "a note without a picture changes nothing"
    save_note(avatar_note(key, bytes=2), None, JPEG)
    after = read_note(key, None)
    assert after.has_picture and after.bytes == 2 and after.prepared_at == before.prepared_at
    save_note(avatar_note(key, bytes=3), None, JPEG)
    assert read_note(key, None).bytes == 2
