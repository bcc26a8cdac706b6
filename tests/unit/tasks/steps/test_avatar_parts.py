"""Parts of avatars in a cache that machines share: found, fetched before they are read, and deleted."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from parts_engine import PartsEngine

from musetalk_core.avatar import prepare
from musetalk_core.engines.constant_engine import FakeEngine
from tasks.cache.artefacts import artefact_cache
from tasks.catalog.avatar_notes import AVATAR_KIND
from tasks.catalog.avatar_parts import (
    AVATAR_PART_KIND,
    avatar_part_key,
    avatar_parts_bytes,
    delete_avatar_parts,
)
from tasks.models.engines import EngineSpec
from tasks.refs import SourceFile
from tasks.steps import prepare_avatar as avatar_step
from tasks.steps.prepare_avatar import encode_needed_faces, open_avatar

ASSETS = Path(__file__).resolve().parents[3] / "assets"
KEY = "a" * 64
FAKE = EngineSpec(name="fake")


@pytest.fixture
def source(tmp_path, monkeypatch):
    """A still as the source of avatars."""
    still = tmp_path / "anna.png"
    cv2.imwrite(str(still), cv2.imread(str(ASSETS / "astronaut.jpg"))[:320, 60:380])
    monkeypatch.setattr(avatar_step, "source_path", lambda _: still)
    monkeypatch.setattr(avatar_step, "get_engine", lambda _: PartsEngine())
    return SourceFile(sha256="0" * 64, size=1, name="anna.png", uri="asset://anna", version=None)


def prepared(source):
    request = prepare.AvatarRequest(avatar_step.source_path(source), source.sha256)
    return artefact_cache().get_or_create(
        AVATAR_KIND, KEY, lambda folder: prepare.prepare_avatar(request, PartsEngine(), folder)
    )


def test_another_machine_uses_the_parts_of_the_bucket_and_deletes_them(
    bucket, configure, source, monkeypatch
):
    configure(store__url=f"s3://{bucket.name}/our", store__cache_folder=configure().home / "one")
    avatar = prepared(source)
    assert encode_needed_faces(avatar, source, FAKE, np.array([0, 0])) == 1
    blob = open_avatar(avatar).conditioning.blobs.read(0)
    size = avatar_parts_bytes(KEY)

    configure(store__cache_folder=configure().home / "two")
    monkeypatch.setattr(PartsEngine, "on_face", staticmethod(lambda _: pytest.fail("encoded twice")))
    assert avatar_parts_bytes(KEY) == size > 0
    assert encode_needed_faces(avatar, source, FAKE) == 0
    assert not artefact_cache().local_keys(AVATAR_PART_KIND), "nothing was read yet"
    assert encode_needed_faces(avatar, source, FAKE, np.array([0])) == 0
    bucket.watch()
    assert open_avatar(avatar).conditioning.blobs.read(0) == blob
    assert bucket.sent == [], "it was fetched before it was read"

    assert delete_avatar_parts(KEY)
    assert avatar_parts_bytes(KEY) == 0
    assert [key for key in bucket.listed() if AVATAR_PART_KIND in key] == []


def test_a_part_belongs_to_the_boxes_that_it_was_encoded_with(configure, source):
    configure()
    boxes = [[0, 0, 8, 8]] * 2
    keys = {
        avatar_part_key(KEY, 0, boxes, 0),
        avatar_part_key(KEY, 1, boxes, 0),
        avatar_part_key(KEY, 0, [[0, 0, 8, 8], [0, 0, 8, 10]], 0),
        avatar_part_key(KEY, 0, boxes, 1),
    }
    assert len(keys) == 4 and len({key[:32] for key in keys}) == 1
    assert avatar_part_key("b" * 64, 0, boxes, 0)[:32] not in {key[:32] for key in keys}
    assert avatar_part_key("b" * 64, 0, boxes, 0)[32:] in {key[32:] for key in keys}


def test_an_avatar_without_parts_needs_nothing(configure, source, monkeypatch):
    configure()
    request = prepare.AvatarRequest(avatar_step.source_path(source), source.sha256)
    avatar = artefact_cache().get_or_create(
        AVATAR_KIND, KEY, lambda folder: prepare.prepare_avatar(request, FakeEngine(), folder)
    )
    monkeypatch.setattr(avatar_step, "PartEncoder", lambda *_: pytest.fail("encodes"))

    assert encode_needed_faces(avatar, source, FAKE, np.array([0])) == 0
    assert not (artefact_cache().folder / "artefacts" / AVATAR_PART_KIND).exists()
