"""Translation of S3 responses and botocore exceptions to versions, sizes and errors. Sends nothing."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

from tasks.errors import BucketNotAllowed, ObjectMissing, OutputExists, StorageError, UploadFailed
from tasks.run.counters import STORE_ERRORS, count

AccessMode = Literal["read", "write"]
_MISSING_CODES = {"404", "NoSuchKey", "NoSuchVersion", "NotFound"}
_DENIED_CODES = {"403", "AccessDenied", "Forbidden", "AllAccessDisabled"}
_CREDENTIAL_CODES = {"InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken"}
CHANGED_CODES = {"412", "PreconditionFailed", "416", "InvalidRange"}
NO_VERSION_CODES = {"400", "BadRequest", "InvalidArgument", "405", "MethodNotAllowed"}
"""Codes, besides "missing", for a request of one version: a malformed id, or the id of a delete marker."""
NOT_IMPLEMENTED_CODES = {"501", "NotImplemented", "405", "MethodNotAllowed"}
_EXISTS_CODES = {"412", "PreconditionFailed", "ConditionalRequestConflict", "409"}


def translate_error(error: Exception, bucket: str, key: str, mode: AccessMode) -> StorageError:
    """
    Translate the error of a failed request, and count it unless an object is missing or exists.

    Args:
        error:  the exception of botocore or boto3.
        bucket: bucket of the request.
        key:    full key of the request.
        mode:   whether the request was reading or writing.

    Returns:
        The error to raise.
    """
    translated = _translate(error, bucket, key, mode)
    if not isinstance(translated, ObjectMissing | OutputExists):
        count(STORE_ERRORS, "s3", translated.code)
    return translated


def no_response_error(error: Exception, bucket: str, uri: str) -> StorageError:
    """Return, and count, the error for a request without a response: no connection, or no credentials."""
    count(STORE_ERRORS, "s3", StorageError.code)
    return StorageError(
        f"The storage of {uri} does not respond, or there are no credentials for it"
        f" ({type(error).__name__}). Check the MUSETALK_S3__ settings.",
        bucket=bucket,
    )


def _translate(error: Exception, bucket: str, key: str, mode: AccessMode) -> StorageError:
    code, uri = error_code(error), f"s3://{bucket}/{key}"
    details = {"bucket": bucket, "key": key, "answer": code}
    if code == "NoSuchBucket" and mode == "write":
        return BucketNotAllowed(f"There is no bucket {bucket}. Create it, or name another.", **details)
    if code in _MISSING_CODES or code == "NoSuchBucket":
        return ObjectMissing(f"There is no object {uri}.", **details)
    if code in _DENIED_CODES:
        action = "s3:GetObject and s3:ListBucket" if mode == "read" else "s3:PutObject"
        return BucketNotAllowed(
            f"The storage refused to {mode} {uri}. Grant this service {action} on bucket {bucket}.",
            **details,
        )
    if code in _CREDENTIAL_CODES:
        return BucketNotAllowed(
            f"The storage rejected this service's credentials for bucket {bucket} ({code}).", **details
        )
    if mode == "write" and code in _EXISTS_CODES:
        return OutputExists(f"{uri} exists and must not be overwritten.", **details)
    error_class = UploadFailed if mode == "write" else StorageError
    return error_class(f"The storage could not {mode} {uri} ({code}); try again later.", **details)


def version_of(response: Mapping[str, Any]) -> str:
    """
    Return the version in a response: `v:VERSION_ID` in a versioned bucket, else `e:ETAG`.

    Stores without ETags give `m:SECONDS`, the time of modification, or an empty text if they name no time
    either. An empty version matches only objects without any version.
    """
    version, etag, modified = response.get("VersionId"), response.get("ETag"), response.get("LastModified")
    if version and version != "null":
        return f"v:{version}"
    if etag and str(etag).strip('"'):
        return "e:" + str(etag).strip('"')
    # a HEAD and a GET give whole seconds, a list fractions
    return f"m:{int(modified.timestamp())}" if isinstance(modified, datetime) else ""


def version_condition(version: str | None) -> dict[str, Any]:
    """Return the arguments of a GET that succeeds only for this version from `version_of`."""
    kind, _, value = (version or "").partition(":")
    match kind:
        case "v":
            return {"VersionId": value}
        case "e":
            return {"IfMatch": f'"{value}"'}
        case "m":
            return {"IfUnmodifiedSince": datetime.fromtimestamp(int(value), UTC)}
        case _:
            return {}


def version_argument(version: str | None) -> dict[str, str]:
    """Return the argument that selects a version from `version_of`; empty unless the bucket is versioned."""
    kind, _, value = (version or "").partition(":")
    return {"VersionId": value} if kind == "v" else {}


def modified_at(response: Mapping[str, Any]) -> datetime:
    """Return when an object was stored; now if the store does not report it, so that it is not expired."""
    modified = response.get("LastModified")
    return modified if isinstance(modified, datetime) else datetime.now(UTC)


def total_size(response: Mapping[str, Any]) -> int | None:
    """
    Return the size of the whole object in bytes, from the response to a HEAD, or a GET of all or part of it.

    None if the store does not report it.
    """
    content_range, length = str(response.get("ContentRange") or ""), response.get("ContentLength")
    if content_range:
        total = content_range.rsplit("/", 1)[-1]
        return int(total) if total.isdigit() else None
    return None if length is None else int(length)


def error_code(error: BaseException | None) -> str:
    """Return the S3 error code in an exception or its causes, because boto3 wraps errors of uploads."""
    from botocore.exceptions import ClientError

    while error is not None:
        if isinstance(error, ClientError):
            return str(error.response.get("Error", {}).get("Code", "?"))
        error = error.__cause__ or error.__context__
    return "?"
