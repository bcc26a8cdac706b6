"""Grants: the S3 buckets and keys that jobs may read or write, without the system's own store."""

from dataclasses import dataclass
from fnmatch import fnmatchcase

from musetalk_core.errors import InputError
from tasks.errors import BucketNotAllowed
from tasks.run.tenancy import current_tenant
from tasks.settings import get_settings
from tasks.storage.home_store import home_store
from tasks.storage.object_store import ObjectStore, validate_key
from tasks.storage.protected_paths import is_bucket_alias, key_is_above, key_is_inside
from tasks.storage.s3_errors import AccessMode
from tasks.storage.s3_store import S3Store

_TENANT_PLACEHOLDER = "{tenant}"
"""Placeholder for the job's tenant in a grant. Such a grant matches no job without a tenant."""


@dataclass(frozen=True, slots=True)
class ObjectLocation:
    """A store and the key of one object in it."""

    objects: ObjectStore
    key: str


def locate(uri: str, mode: AccessMode) -> ObjectLocation:
    """
    Return the store and the key of an `s3://bucket/key` reference, if the grants allow access.

    Sends nothing. The system's own store is refused whatever the grants say. Every operation on
    `ObjectLocation.objects` is checked in the same way.

    Raises:
        InputError:       the reference does not have this form.
        BucketNotAllowed: no grant covers the key, or the key is part of the system's own store.
    """
    scheme, _, rest = uri.partition("://")
    bucket, _, key = rest.partition("/")
    if scheme.lower() != "s3" or not bucket or not key:
        raise InputError(f"{uri[:200]!r} is not an s3://bucket/key reference")
    _check_grant(bucket, key, mode)
    return ObjectLocation(_open_granted_bucket(bucket, mode), key)


def open_bucket(name: str, mode: AccessMode) -> ObjectStore:
    """
    Return a store for a bucket that a job names. Every key is checked against the grants before each use.

    Raises:
        BucketNotAllowed: raised by the store's methods for a key outside the grants.
    """
    return _open_granted_bucket(name, mode)


def _open_granted_bucket(bucket: str, mode: AccessMode) -> S3Store:
    return S3Store(bucket, check=lambda key: _check_grant(bucket, key, mode))


def _check_grant(bucket: str, key: str, mode: AccessMode) -> None:
    s3 = get_settings().s3
    allowed = s3.read_buckets if mode == "read" else s3.write_buckets
    _refuse_own_store(bucket, key, mode, allowed)
    if mode == "write":
        validate_key(key)
    _refuse_dot_segments_in_own_bucket(bucket, key)
    if allowed is not None and not any(_matches_grant(pattern, bucket, key) for pattern in allowed):
        setting = f"MUSETALK_S3__{mode.upper()}_BUCKETS"
        raise BucketNotAllowed(
            f"Jobs may not {mode} this part of bucket {bucket}; {setting} lists what is allowed.",
            bucket=bucket,
        )


def _matches_grant(pattern: str, bucket: str, key: str) -> bool:
    if _TENANT_PLACEHOLDER in pattern:
        tenant = current_tenant()
        if tenant is None:
            return False
        pattern = pattern.replace(_TENANT_PLACEHOLDER, tenant)
    bucket_pattern, _, prefix = pattern.removeprefix("s3://").partition("/")
    prefix = prefix.rstrip("/*")
    return fnmatchcase(bucket, bucket_pattern) and (
        not prefix or key == prefix or (key.startswith(f"{prefix}/") and not _has_dot_segments(key))
    )


def _has_dot_segments(key: str) -> bool:
    """
    Return whether a key has a segment `.` or `..`.

    S3 does not interpret such a key. A gateway in front of a file system may resolve it and leave the prefix.
    Therefore these keys are refused where only a prefix is granted, and in the bucket of the system's own
    store.
    """
    return any(part in (".", "..") for part in key.split("/"))


def _refuse_dot_segments_in_own_bucket(bucket: str, key: str) -> None:
    store = home_store() if _has_dot_segments(key) else None
    if isinstance(store, S3Store) and store.bucket == bucket:
        raise BucketNotAllowed(f"{key[:100]!r} in bucket {bucket} has a segment '.' or '..'", bucket=bucket)


def _refuse_own_store(bucket: str, key: str, mode: AccessMode, allowed: tuple[str, ...] | None) -> None:
    """
    Refuse keys of the system's own store, whatever the grants say.

    Endpoints are not compared, because one bucket has several. A bucket of the same name at another endpoint
    is refused too.
    """
    store = home_store()
    if not isinstance(store, S3Store):
        return
    if is_bucket_alias(bucket) and bucket not in {_bucket_in_grant(pattern) for pattern in allowed or ()}:
        raise BucketNotAllowed(
            f"{bucket} is an access point, which is an alias of a bucket. Name the bucket itself, or ask the"
            f" operator to list {bucket} in MUSETALK_S3__{mode.upper()}_BUCKETS.",
            bucket=bucket,
        )
    if bucket.casefold() != store.bucket.casefold():
        return
    if key_is_inside(key, store.prefix) or (mode == "write" and key_is_above(key, store.prefix)):
        raise BucketNotAllowed(
            f"This part of bucket {bucket} is the service's own store. Refer to an upload as asset://ID and"
            " to an output of a job as job://ID. To store a result there, name no bucket.",
            bucket=bucket,
        )


def _bucket_in_grant(pattern: str) -> str:
    return pattern.removeprefix("s3://").partition("/")[0]
