"""Grants that contain {tenant} apply inside the tasks of a job, for its tenant only."""

import pytest

from flows.prepare_avatar import prepare_avatar
from flows.schemas.control import Control
from flows.schemas.video import PrepareAvatarJob
from tasks.errors import BucketNotAllowed, StorageError
from tasks.run.tenancy import current_tenant
from tasks.settings import get_settings
from tasks.steps.fetch import fetch

JOB = PrepareAvatarJob(video="s3://media/acme/anna.mp4", engine="fake")


@pytest.fixture
def granted(home, monkeypatch):
    """Grant each tenant its media in one bucket, on an S3 endpoint that refuses connections."""
    monkeypatch.setenv("MUSETALK_S3__READ_BUCKETS", "media/{tenant}")
    monkeypatch.setenv("MUSETALK_S3__ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("MUSETALK_S3__MAX_ATTEMPTS", "1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    get_settings.cache_clear()


@pytest.mark.parametrize("tenant", ["other", None])
def test_what_is_another_s_is_refused_before_anything_is_sent(granted, tenant):
    with pytest.raises(BucketNotAllowed):
        prepare_avatar(JOB, Control(tenant=tenant))


def test_what_is_its_own_is_asked_for(granted, monkeypatch):
    monkeypatch.setattr(fetch, "retry_delay_seconds", [0.1] * fetch.retries)  # instead of half a minute
    with pytest.raises(StorageError, match="does not respond"):
        prepare_avatar.with_options(retries=0)(JOB, Control(tenant="acme"))
    assert current_tenant() is None
