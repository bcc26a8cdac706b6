"""Storage of Prefect task results: an S3 block if the store of the jobs is in S3, else a local folder."""

from typing import Any

from tasks.settings import Settings

_BLOCK_NAME = "musetalk-results"


def results_block_name(settings: Settings) -> str | None:
    """
    Return the name of the Prefect block that stores task results.

    Returns:
        `block-type/name` if the store is in S3; None if results go to a local folder.
    """
    url = settings.store_url
    if url.startswith("s3://"):
        return f"s3-bucket/{_BLOCK_NAME}"
    return url if url.startswith("s3-bucket/") else None


def save_results_block(settings: Settings) -> None:
    """Save the S3 block named by `results_block_name`; do nothing for an existing block or a local folder."""
    if not settings.store_url.startswith("s3://"):
        return
    import prefect_aws

    library: Any = prefect_aws
    bucket, _, prefix = settings.store_url.removeprefix("s3://").partition("/")
    folder = "/".join(part for part in (prefix.strip("/"), "results") if part)
    block = library.S3Bucket(
        bucket_name=bucket, bucket_folder=folder, credentials=_credentials(settings, library)
    )
    block.save(_BLOCK_NAME, overwrite=True, _sync=True)


def _credentials(settings: Settings, library: Any) -> Any:
    """Load the credentials block; else use the AWS default chain, which stores no secret in Prefect."""
    s3 = settings.s3
    if s3.credentials_block:
        kind, _, name = s3.credentials_block.partition("/")
        block_class = library.MinIOCredentials if kind == "minio-credentials" else library.AwsCredentials
        return block_class.load(name, _sync=True)
    return library.AwsCredentials(
        region_name=s3.region,
        aws_client_parameters=library.AwsClientParameters(endpoint_url=s3.endpoint_url),
    )
