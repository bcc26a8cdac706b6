"""
Errors of storage, downloads, model installation, webhooks and orchestration.

`musetalk_core/errors.py` lists all problem codes and the tree of error classes.
"""

from musetalk_core.errors import InputError, ModelNotInstalled, RenderError


class StorageError(RenderError):
    """Object storage did not respond, or responded with a server error."""

    code = "storage_unavailable"
    retryable = True


class ObjectMissing(StorageError):
    """The referenced object does not exist, or was deleted."""

    code = "input_not_found"
    retryable = False


class ResultReplaced(StorageError):
    """A result was replaced by the output of another job (`overwrite: true`) or by another program."""

    code = "result_replaced"
    retryable = False


class BucketNotAllowed(StorageError):
    """The bucket or prefix is not covered by the grants, or the storage refused access."""

    code = "bucket_not_allowed"
    retryable = False


class UploadFailed(StorageError):
    """A finished file could not be stored."""

    code = "upload_failed"


class OutputExists(UploadFailed):
    """An object with this key exists, and the job does not overwrite."""

    retryable = False


class LinkInvalid(RenderError):
    """The signature of a download link is not valid."""

    code = "link_invalid"


class LinkExpired(RenderError):
    """A download link has expired."""

    code = "expired"


class InputUnreachable(RenderError):
    """A URL could not be fetched."""

    code = "input_unreachable"


class InputBlocked(InputUnreachable):
    """
    A URL is not allowed by the egress rules.

    Code and message equal those of `InputUnreachable` on purpose, so that a caller cannot scan the internal
    network; the reason is logged.
    """


class LocalPathDisabled(RenderError):
    """A reference names a local file outside the folders that the operator allowed."""

    code = "local_path_disabled"


class AvatarNotPrepared(RenderError):
    """The avatar is not in the cache, and the job does not allow preparing it."""

    code = "avatar_not_prepared"


class PullFailed(ModelNotInstalled):
    """Model files could not be downloaded; the message states the reason and the next step."""


class LicenceNotAccepted(InputError):
    """The licence of a model forbids commercial use and was not accepted; the message quotes it."""

    code = "licence_not_accepted"


class NotAvailable(PullFailed):
    """The source has no such file, or denies access to it; another source may have it."""


class SignatureInvalid(RenderError):
    """The signature of a webhook does not match, or its timestamp is out of range."""

    code = "signature_invalid"


class DeliveryFailed(RenderError):
    """All attempts to deliver a webhook failed, or its receiver responded with 410 Gone."""

    code = "delivery_failed"


class MaintenanceFailed(RenderError):
    """One or more maintenance tasks of the janitor failed; the others were completed."""

    code = "sweep_failed"


class DirectUploadUnavailable(StorageError):
    """The system's own store accepts no direct uploads."""

    code = "direct_not_offered"
    retryable = False


class UploadMissing(RenderError):
    """A resumable upload does not exist, was deleted, or belongs to another tenant."""

    code = "not_found"


class UploadExpired(RenderError):
    """A resumable upload was not completed in time."""

    code = "expired"


class UploadLimitReached(RenderError):
    """The tenant has too many unfinished uploads."""

    code = "concurrency_limited"
    retryable = True


class OffsetMismatch(RenderError):
    """The bytes sent do not begin where the stored part of an upload ends."""

    code = "offset_mismatch"


class UploadLocked(RenderError):
    """Another request is writing to the same upload."""

    code = "upload_locked"
    retryable = True


class DeadlineExceeded(RenderError):
    """The deadline of a job that waits for child jobs passed."""

    code = "deadline_exceeded"


class QualityBelowThreshold(RenderError):
    """The quality score of a rendered video is below the limit that the job sets."""

    code = "quality_below_threshold"


class StepFailed(RenderError):
    """A step of a pipeline failed; the outputs of the other steps are kept."""

    code = "step_failed"


class PartFailed(RenderError):
    """A child job failed, crashed or was canceled."""

    code = "part_failed"


class ManifestInvalid(InputError):
    """A batch has no rows, too many rows, or invalid rows where every row must be valid."""

    code = "manifest_invalid"
