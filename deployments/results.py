"""Where Prefect keeps task results: beside the store they speak of, in S3 when that is in S3."""

from typing import Any

from tasks.settings import Settings

_NAME = "musetalk-results"


def results_block(settings: Settings) -> str | None:
    """
    Name the Prefect block that stores task results.

    Returns:
        `kind/name` for a store in S3, None for a folder of this machine.
    """
    url = settings.store_url
    if url.startswith("s3://"):
        return f"s3-bucket/{_NAME}"
    return url if url.startswith("s3-bucket/") else None


def save_results_block(settings: Settings) -> None:
    """Save the block that `results_block` names, when it is ours to make."""
    if not settings.store_url.startswith("s3://"):
        return
    import prefect_aws

    library: Any = prefect_aws
    bucket, _, prefix = settings.store_url.removeprefix("s3://").partition("/")
    folder = "/".join(part for part in (prefix.strip("/"), "results") if part)
    block = library.S3Bucket(
        bucket_name=bucket, bucket_folder=folder, credentials=_credentials(settings, library)
    )
    block.save(_NAME, overwrite=True, _sync=True)


def _credentials(settings: Settings, library: Any) -> Any:
    """Without a block: the AWS default chain. No secret is written into Prefect's database."""
    s3 = settings.s3
    if s3.credentials_block:
        kind, _, name = s3.credentials_block.partition("/")
        found = library.MinIOCredentials if kind == "minio-credentials" else library.AwsCredentials
        return found.load(name, _sync=True)
    return library.AwsCredentials(
        region_name=s3.region,
        aws_client_parameters=library.AwsClientParameters(endpoint_url=s3.endpoint_url),
    )
