"""Grants: the buckets and keys that jobs may read or write by name, which never include the own store."""

from dataclasses import dataclass
from fnmatch import fnmatchcase

from musetalk_core.errors import InputError
from tasks.errors import BucketNotAllowed
from tasks.objects import Objects, checked_key
from tasks.protected_paths import is_bucket_alias, key_is_above, key_is_inside
from tasks.s3_answers import Mode
from tasks.settings import get_settings
from tasks.storage import S3Objects, home_store
from tasks.tenancy import current_tenant

_TENANT_PLACEHOLDER = "{tenant}"
"""Replaced by the job's tenant in a grant; such a grant matches no job without a tenant."""


@dataclass(frozen=True, slots=True)
class Place:
    """An object by its store and its key there."""

    objects: Objects
    key: str


def locate(uri: str, mode: Mode) -> Place:
    """
    Find the store and key behind an `s3://bucket/key` reference, if the grants allow it.

    Sends nothing. The system's own store is refused whatever the grants say. Every operation on
    `Place.objects` is checked the same way.

    Raises:
        InputError:       it is not such a reference.
        BucketNotAllowed: the bucket or prefix is not on the list, or it is part of our own store.
    """
    scheme, _, rest = uri.partition("://")
    bucket, _, key = rest.partition("/")
    if scheme.lower() != "s3" or not bucket or not key:
        raise InputError(f"{uri[:200]!r} is not an s3://bucket/key reference")
    _check_grant(bucket, key, mode)
    return Place(_granted(bucket, mode), key)


def bucket(name: str, mode: Mode) -> Objects:
    """
    Open a bucket that a job named. Every key is checked against the grants before it is used.

    Raises:
        BucketNotAllowed: on use, for a key outside the grants.
    """
    return _granted(name, mode)


def _granted(bucket: str, mode: Mode) -> S3Objects:
    return S3Objects(bucket, check=lambda key: _check_grant(bucket, key, mode))


def _check_grant(bucket: str, key: str, mode: Mode) -> None:
    s3 = get_settings().s3
    allowed = s3.read_buckets if mode == "read" else s3.write_buckets
    _refuse_own_store(bucket, key, mode, allowed)
    if mode == "write":
        checked_key(key)
    _refuse_dots_in_own(bucket, key)
    if allowed is not None and not any(_matches(pattern, bucket, key) for pattern in allowed):
        setting = f"MUSETALK_S3__{mode.upper()}_BUCKETS"
        raise BucketNotAllowed(
            f"Jobs may not {mode} this part of bucket {bucket}; {setting} lists what they may.", bucket=bucket
        )


def _matches(pattern: str, bucket: str, key: str) -> bool:
    if _TENANT_PLACEHOLDER in pattern:
        tenant = current_tenant()
        if tenant is None:
            return False
        pattern = pattern.replace(_TENANT_PLACEHOLDER, tenant)
    wanted_bucket, _, prefix = pattern.removeprefix("s3://").partition("/")
    prefix = prefix.rstrip("/*")
    return fnmatchcase(bucket, wanted_bucket) and (
        not prefix or key == prefix or (key.startswith(f"{prefix}/") and not _has_dots(key))
    )


def _has_dots(key: str) -> bool:
    """
    Tell whether a key has `.` or `..` as a part.

    S3 takes such a key as it is. A gateway in front of a file system may not, and would then lead out of a
    prefix: where only a prefix is granted, and in our own bucket, these keys are refused.
    """
    return any(part in (".", "..") for part in key.split("/"))


def _refuse_dots_in_own(bucket: str, key: str) -> None:
    store = home_store() if _has_dots(key) else None
    if isinstance(store, S3Objects) and store.bucket == bucket:
        raise BucketNotAllowed(f"{key[:100]!r} in bucket {bucket} has '.' or '..' as a part", bucket=bucket)


def _refuse_own_store(bucket: str, key: str, mode: Mode, allowed: tuple[str, ...] | None) -> None:
    """
    Refuse names of objects in the own store, whatever the grants say.

    Endpoints are not compared, because one bucket has many. A bucket of the same name at another endpoint is
    refused too.
    """
    store = home_store()
    if not isinstance(store, S3Objects):
        return
    if is_bucket_alias(bucket) and bucket not in {_bucket_of(pattern) for pattern in allowed or ()}:
        raise BucketNotAllowed(
            f"{bucket} is another name of some bucket (an access point). Name the bucket itself, or have the"
            f" operator list {bucket} in MUSETALK_S3__{mode.upper()}_BUCKETS.",
            bucket=bucket,
        )
    if bucket.casefold() != store.bucket.casefold():
        return
    if key_is_inside(key, store.prefix) or (mode == "write" and key_is_above(key, store.prefix)):
        raise BucketNotAllowed(
            f"This part of bucket {bucket} is the service's own store. Name an upload as asset://ID and an"
            " output of a job as job://ID; a result without a bucket is kept there.",
            bucket=bucket,
        )


def _bucket_of(pattern: str) -> str:
    return pattern.removeprefix("s3://").partition("/")[0]
