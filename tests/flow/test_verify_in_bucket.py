"""Outputs in a bucket are verified by their address, with the manifest inside the object or beside it."""

from uuid import uuid4

import pytest
from moto_s3 import KEYS

from flows.schemas.base import Output
from flows.schemas.speech import SpeechJob
from flows.schemas.verify import VerifyJob
from flows.speech import speech
from flows.verify import verify
from tasks.settings import get_settings
from tasks.storage.home_store import _open_store


@pytest.fixture
def bucket(home, s3_endpoint, monkeypatch):
    """An empty bucket: a client and its name."""
    import boto3

    for name, value in (KEYS | {"AWS_EC2_METADATA_DISABLED": "true"}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MUSETALK_S3__ENDPOINT_URL", s3_endpoint)
    monkeypatch.setenv("MUSETALK_S3__FORCE_PATH_STYLE", "true")
    monkeypatch.setenv("MUSETALK_S3__REGION", "us-east-1")
    get_settings.cache_clear()
    client, name = boto3.client("s3", endpoint_url=s3_endpoint), f"verify-{uuid4().hex[:12]}"
    client.create_bucket(Bucket=name)
    yield client, name
    _open_store.cache_clear()


@pytest.mark.parametrize("kind", ["mp3", "ogg"])
def test_an_object_is_verified_with_the_manifest_that_belongs_to_it(bucket, kind):
    client, name = bucket
    output = Output(bucket=name, prefix="out", name="said")
    state = speech(SpeechJob(text="Good morning.", format=kind, output=output), return_state=True)
    job, address = state.state_details.flow_run_id, f"s3://{name}/out/said.{kind}"
    state.result()

    by_address, by_job = (verify(VerifyJob(media=media)) for media in (address, f"job://{job}"))
    assert by_address.state == by_job.state == "valid"
    assert by_address.embedded is by_job.embedded is (kind == "mp3")
    assert by_address.manifest.facts["job"] == str(job)

    content = bytearray(client.get_object(Bucket=name, Key=f"out/said.{kind}")["Body"].read())
    content[-9] ^= 1
    client.put_object(Bucket=name, Key=f"out/said.{kind}", Body=bytes(content))
    assert verify(VerifyJob(media=address)).state == "altered"

    client.put_object(Bucket=name, Key="out/other.ogg", Body=b"OggS" + bytes(100))
    client.put_object(Bucket=name, Key="out/other.ogg.c2pa", Body=b"no manifest")
    assert verify(VerifyJob(media=f"s3://{name}/out/other.ogg")).state == "altered"
