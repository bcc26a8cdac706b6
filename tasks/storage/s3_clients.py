"""S3 clients of boto3, from the settings or from a prefect-aws block; one per process and configuration."""

import threading
from functools import lru_cache
from typing import Any, Final

from tasks.errors import StorageError
from tasks.settings import S3Settings
from tasks.tracing.spans import begin_child, is_on

_SPAN_END: Final = "musetalk_span_end"
_FIRST_ERROR_STATUS: Final = 400
_build_lock = threading.Lock()
"""Creating a boto3 client is not thread-safe; using one is."""


@lru_cache(maxsize=16)
def client(s3: S3Settings, only_new: bool, pid: int) -> Any:
    """
    Return the client for the S3 settings.

    Args:
        s3:       the settings.
        only_new: make every write conditional: it fails if the key exists.
        pid:      id of this process, part of the cache key: a client must not be used after a fork.
    """
    import boto3

    library: Any = boto3
    if s3.credentials_block:
        return block_client(s3, load_block(s3.credentials_block), only_new, pid)
    with _build_lock:
        session: Any = library.Session(region_name=s3.region)
        return _build_client(session, s3, {}, only_new)


@lru_cache(maxsize=16)
def block_client(s3: S3Settings, credentials: Any, only_new: bool, pid: int) -> Any:
    """Return the client of a loaded prefect-aws credentials block; arguments as for `client`."""
    with _build_lock:
        overrides: dict[str, Any] = credentials.aws_client_parameters.get_params_override()
        return _build_client(credentials.get_boto3_session(), s3, overrides, only_new)


def _build_client(session: Any, s3: S3Settings, overrides: dict[str, Any], only_new: bool) -> Any:
    """Create a client. Parameters of the block take precedence over the settings."""
    from botocore.config import Config

    checksums = "when_required" if s3.endpoint_url or "endpoint_url" in overrides else "when_supported"
    config = Config(
        request_checksum_calculation=checksums,  # many S3-compatible stores reject trailing checksums
        response_checksum_validation=checksums,
        # version 2 URLs do not sign the size and type of uploads, and newer regions reject them
        signature_version="s3v4",
        connect_timeout=s3.connect_timeout_s,
        read_timeout=s3.read_timeout_s,
        retries={"total_max_attempts": s3.max_attempts, "mode": "standard"},
        max_pool_connections=20,
        s3={"addressing_style": s3.force_path_style},
    )
    if "config" in overrides:
        config = config.merge(overrides["config"])
    endpoint: dict[str, Any] = {"endpoint_url": s3.endpoint_url}
    if s3.region or not session.region_name:
        endpoint["region_name"] = s3.region or "us-east-1"
    s3_client = session.client("s3", **(endpoint | overrides | {"config": config}))
    if is_on():
        s3_client.meta.events.register("before-call.s3", _begin_span)
        s3_client.meta.events.register("after-call.s3", _end_span)
        s3_client.meta.events.register("after-call-error.s3", _end_failed_span)
    if only_new:
        for call in ("PutObject", "CompleteMultipartUpload"):
            s3_client.meta.events.register(f"provide-client-params.s3.{call}", _if_none_match)
    return s3_client


def _if_none_match(params: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Make a write conditional with `If-None-Match: *`."""
    return params | {"IfNoneMatch": "*"}


def _begin_span(model: Any, context: dict[str, Any], **_: Any) -> None:
    """Begin the span of a request; botocore passes the same context to the events of one request."""
    operation = str(model.name)
    context[_SPAN_END] = begin_child(f"S3 {operation}", {"aws.operation": operation}, kind="client")


def _end_span(http_response: Any, context: dict[str, Any], **_: Any) -> None:
    if end := context.pop(_SPAN_END, None):
        end(http_response.status_code < _FIRST_ERROR_STATUS)


def _end_failed_span(context: dict[str, Any], **_: Any) -> None:
    if end := context.pop(_SPAN_END, None):
        end(False)


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
        raise StorageError(f"{reference!r} is not a supported block; use KIND/NAME with {', '.join(kinds)}.")
    try:
        return kinds[kind].load(name, _sync=True)
    except ValueError as error:
        raise StorageError(
            f"Prefect has no block {reference}. Create it, or change the setting that names it."
        ) from error
