"""A real S3 server on loopback. All of one process share their buckets: names should be a test's own."""

from contextlib import contextmanager

import boto3
import pytest

KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
"""Environment variables of its clients."""


@contextmanager
def moto_s3(*buckets):
    """Start one with these buckets; gives a client, whose `meta.endpoint_url` is its address."""
    server = pytest.importorskip("moto.server").ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    client = boto3.client(
        "s3",
        endpoint_url=f"http://{host}:{port}",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        region_name="us-east-1",
    )
    for bucket in buckets:
        client.create_bucket(Bucket=bucket)
    try:
        yield client
    finally:
        server.stop()
