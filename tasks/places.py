"""Where a job's result goes, checked before any work. Light: the REST shim imports what uses it."""

from tasks.storage import locate


def output_key(prefix: str, name: str) -> str:
    """Return the key of a result in a bucket that its job names."""
    return "/".join(part for part in (prefix.strip("/"), name) if part)


def check_place(name: str, to_bucket: str | None, prefix: str) -> None:
    """
    Refuse a place that `tasks.publish.upload` would refuse: before hours of work are done for it.

    Nothing is sent.

    Args:
        name:      the public name, with extension.
        to_bucket: S3 bucket, or None for the system's own store.
        prefix:    folder inside the bucket.

    Raises:
        BucketNotAllowed: jobs may not write there.
    """
    if to_bucket:
        locate(f"s3://{to_bucket}/{output_key(prefix, name)}", "write")
