"""
Errors of the outside world: object storage, foreign web servers, this machine's folders.

The codes and their place in the tree are listed in `musetalk_core/errors.py`.
"""

from musetalk_core.errors import InputError, ModelNotInstalled, RenderError


class StorageError(RenderError):
    """Object storage did not answer, or answered with a failure of its own."""

    code = "storage_unavailable"
    retryable = True


class ObjectMissing(StorageError):
    """The referenced object does not exist (any more)."""

    code = "input_not_found"
    retryable = False


class ResultReplaced(StorageError):
    """A result was replaced by another job's output (`overwrite: true`) or by a foreign object."""

    code = "result_replaced"
    retryable = False


class BucketNotAllowed(StorageError):
    """The bucket or prefix is outside the grants, or the storage itself refused."""

    code = "bucket_not_allowed"
    retryable = False


class UploadFailed(StorageError):
    """A finished file could not be stored."""

    code = "upload_failed"


class OutputExists(UploadFailed):
    """The key is taken and overwriting was not asked for."""

    retryable = False


class InputUnreachable(RenderError):
    """A web address gave no file."""

    code = "input_unreachable"


class InputBlocked(InputUnreachable):
    """
    A web address leads where we do not go.

    Code and text equal those of `InputUnreachable` on purpose, so that a caller cannot map our network
    with it; the reason is in the log.
    """


class LocalPathDisabled(RenderError):
    """A reference names a file of this machine outside the folders that the operator opened."""

    code = "local_path_disabled"


class AvatarNotPrepared(RenderError):
    """The avatar is not in the cache and the job forbids preparing it."""

    code = "avatar_not_prepared"


class PullFailed(ModelNotInstalled):
    """Weights could not be had from where the manifest says; the message says why and what to do."""


class NotOffered(PullFailed):
    """The source has no such file, or keeps it from us; another source may do."""


class SignatureInvalid(RenderError):
    """A webhook was not signed with one of our secrets, was changed, or is not of this time."""

    code = "signature_invalid"


class DeliveryFailed(RenderError):
    """A webhook was given up: its receiver is gone, or did not take it in any of the attempts."""

    code = "delivery_failed"


class SweepFailed(RenderError):
    """Part of the janitor's work could not be done; the rest was."""

    code = "sweep_failed"


class DirectNotOffered(StorageError):
    """Our store takes no direct uploads."""

    code = "direct_not_offered"
    retryable = False


class DeadlineExceeded(RenderError):
    """A job that waits for others has had its time."""

    code = "deadline_exceeded"


class StepFailed(RenderError):
    """A step of a pipeline failed; what the others made is kept."""

    code = "step_failed"


class PartFailed(RenderError):
    """A job that another flow asked for did not end well."""

    code = "part_failed"


class ManifestInvalid(InputError):
    """A batch has no rows, too many, or such that are no jobs where all have to be."""

    code = "manifest_invalid"
