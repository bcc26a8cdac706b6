"""
Error classes of musetalk_core and the layers above: code and retryability of every expected error.

* RenderError               internal             no    (each line: class, code, retryable)
  + InputError              invalid_input        no    the caller must change something
    - NoFaceFound           no_face              no
    - NoAudioFound          no_audio             no
    - MediaUnreadable       unsupported_media    no
    - MediaTooLarge         input_too_large      no
    - ManifestInvalid       manifest_invalid     no    (tasks.errors)
    - ModelNotInstalled     model_not_installed  no    (also raised while pulling: tasks.errors)
    - WeightsInvalid        model_invalid        no
    - LicenceNotAccepted    licence_not_accepted no    (installing models: tasks.errors)
  + ModelChanged            model_changed        yes   flows retry it a few times
  + EngineError             engine_failed        yes   another attempt may succeed
    - EngineOutOfMemory     gpu_oom              yes
  + EncodeError             encode_failed        no
    - EncoderKilled         encode_failed        yes
    - LengthMismatch        length_mismatch      no
    - DiskFull              disk_full            no    (also raised by tasks.cache.artefacts)
  + SigningFailed           signing_failed       yes
    - SigningKeyInvalid     signing_key_invalid  no
  + StorageError            storage_unavailable  yes   (this and all below: tasks.errors)
    - ObjectMissing         input_not_found      no
    - ResultReplaced        result_replaced      no
    - BucketNotAllowed      bucket_not_allowed   no
    - UploadFailed          upload_failed        yes
    - DirectUploadUnavailable  direct_not_offered  no
  + UploadMissing           not_found            no    (resumable uploads)
  + UploadExpired           expired              no    (resumable uploads)
  + UploadLimitReached      concurrency_limited  yes   (resumable uploads)
  + OffsetMismatch          offset_mismatch      no    (resumable uploads)
  + UploadLocked            upload_locked        yes   (resumable uploads)
  + LinkInvalid             link_invalid         no    (download links)
  + LinkExpired             expired              no    (download links)
  + InputUnreachable        input_unreachable    no
  + LocalPathDisabled       local_path_disabled  no
  + AvatarNotPrepared       avatar_not_prepared  no
  + QualityBelowThreshold   quality_below_threshold  no
  + StepFailed              step_failed          no    (pipelines)
  + PartFailed              part_failed          no    (a child job failed)
  + DeadlineExceeded        deadline_exceeded    no    (jobs that wait for child jobs; other jobs are stopped)
  + SignatureInvalid        signature_invalid    no    (webhooks)
  + DeliveryFailed          delivery_failed      no    (webhook deliveries; ends a notify run, not a job)
  + MaintenanceFailed       sweep_failed         no    (maintenance tasks; ends a janitor run, not a job)
  + Cancelled               canceled             no    (tasks.run.cancellation; never reaches a caller)

The codes are public: they appear in job results and HTTP responses and are never renamed.
"""

from typing import Any, ClassVar


class RenderError(Exception):
    """Base class of all expected errors."""

    code: ClassVar[str] = "internal"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.details = details

    def __reduce__(self) -> tuple[Any, ...]:
        """Keep `details` when the error is pickled into another process."""
        return _rebuild, (type(self), str(self), self.details)


def _rebuild(cls: type[RenderError], message: str, details: dict[str, Any]) -> RenderError:
    return cls(message, **details)


class InputError(RenderError):
    """The submitted media or parameters cannot be rendered. A retry cannot succeed."""

    code = "invalid_input"


class NoFaceFound(InputError):
    """No usable face was found in a picture or in any frame of a video."""

    code = "no_face"


class NoAudioFound(InputError):
    """The speech file has no audio track, or the track is empty."""

    code = "no_audio"


class MediaUnreadable(InputError):
    """A file is damaged or is not of an accepted media type."""

    code = "unsupported_media"


class MediaTooLarge(InputError):
    """A file exceeds a limit on bytes, pixels, seconds, frames or streams."""

    code = "input_too_large"


class ModelNotInstalled(InputError):
    """The weights of a model are not installed; the message names the command that installs them."""

    code = "model_not_installed"


class WeightsInvalid(InputError):
    """A weight file is damaged or belongs to another model; the message names the file."""

    code = "model_invalid"


class ModelChanged(RenderError):
    """The files of a model were replaced after the job pinned their content."""

    code = "model_changed"
    retryable = True


class EngineError(RenderError):
    """The model runtime failed. A retry, possibly on another machine, may succeed."""

    code = "engine_failed"
    retryable = True


class EngineOutOfMemory(EngineError):
    """The device ran out of memory at the smallest batch size."""

    code = "gpu_oom"


class EncodeError(RenderError):
    """The video or its sound could not be encoded or written."""

    code = "encode_failed"


class EncoderKilled(EncodeError):
    """The encoder was killed by a signal, most likely by the system because memory was exhausted."""

    retryable = True


class LengthMismatch(EncodeError):
    """Picture and sound of a finished video are not equally long."""

    code = "length_mismatch"


class DiskFull(EncodeError):
    """A file could not be written because the disk is full or a file size limit or quota is reached."""

    code = "disk_full"


class SigningFailed(RenderError):
    """A file could not be signed: the signer did not respond or refused."""

    code = "signing_failed"
    retryable = True


class SigningKeyInvalid(SigningFailed):
    """The signing certificate or key cannot be used: expired, not for signing, or not a pair."""

    code = "signing_key_invalid"
    retryable = False
