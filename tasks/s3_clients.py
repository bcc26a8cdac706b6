"""Clients of S3: built once for each way of reaching it, from the settings or from a Prefect block."""

import threading
from functools import lru_cache
from typing import Any

from tasks.errors import StorageError
from tasks.settings import S3Settings

_building = threading.Lock()
"""Building a client is not safe in threads; using one is."""


@lru_cache(maxsize=16)
def client(s3: S3Settings, only_new: bool, pid: int) -> Any:
    """Give the client that the settings describe; `pid` because none survives a fork."""
    import boto3

    library: Any = boto3
    if s3.credentials_block:
        return block_client(s3, load_block(s3.credentials_block), only_new, pid)
    with _building:
        session: Any = library.Session(region_name=s3.region)
        return _built(session, s3, {}, only_new)


@lru_cache(maxsize=16)
def block_client(s3: S3Settings, credentials: Any, only_new: bool, pid: int) -> Any:
    """Give the client of a loaded prefect-aws credentials block."""
    with _building:
        own: dict[str, Any] = credentials.aws_client_parameters.get_params_override()
        return _built(credentials.get_boto3_session(), s3, own, only_new)


def _built(session: Any, s3: S3Settings, own: dict[str, Any], only_new: bool) -> Any:
    """Build a client: the block's own parameters, then the settings where the block says nothing."""
    from botocore.config import Config

    checksums = "when_required" if s3.endpoint_url or "endpoint_url" in own else "when_supported"
    config = Config(
        request_checksum_calculation=checksums,  # many S3-compatible stores know no trailing checksums
        response_checksum_validation=checksums,
        # links of the older kind do not sign what is sent, and newer regions know none
        signature_version="s3v4",
        connect_timeout=s3.connect_timeout_s,
        read_timeout=s3.read_timeout_s,
        retries={"total_max_attempts": s3.max_attempts, "mode": "standard"},
        max_pool_connections=20,
        s3={"addressing_style": "path"} if s3.force_path_style else None,
    )
    if "config" in own:
        config = config.merge(own["config"])
    named: dict[str, Any] = {"endpoint_url": s3.endpoint_url}
    if s3.region or not session.region_name:
        named["region_name"] = s3.region or "us-east-1"
    made = session.client("s3", **(named | own | {"config": config}))
    if only_new:
        for call in ("PutObject", "CompleteMultipartUpload"):
            made.meta.events.register(f"provide-client-params.s3.{call}", _if_none_match)
    return made


def _if_none_match(params: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Write only where nothing is; boto3's transfers take no such argument."""
    return params | {"IfNoneMatch": "*"}


def load_block(reference: str) -> Any:
    """Load a prefect-aws block by `kind/name` from the Prefect server of this environment."""
    import prefect_aws

    kind, _, name = reference.partition("/")
    kinds: dict[str, Any] = {
        "s3-bucket": prefect_aws.S3Bucket,
        "aws-credentials": prefect_aws.AwsCredentials,
        "minio-credentials": prefect_aws.MinIOCredentials,
    }
    if kind not in kinds or not name:
        raise StorageError(f"{reference!r} is not a block we know; use {', '.join(kinds)} and /NAME.")
    try:
        return kinds[kind].load(name, _sync=True)
    except ValueError as error:
        raise StorageError(
            f"Prefect has no block {reference}; make it, or change the setting that names it."
        ) from error
