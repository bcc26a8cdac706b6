"""
Every error raised on purpose, here and in the layers above.

* RenderError               internal             no    (each line: class, code, retryable)
  + InputError              invalid_input        no    the caller must change something
    - NoFaceFound           no_face              no
    - NoAudioFound          no_audio             no
    - MediaUnreadable       unsupported_media    no
    - MediaTooLarge         input_too_large      no
    - ManifestInvalid       manifest_invalid     no    (tasks.errors)
    - ModelNotInstalled     model_not_installed  no    (also, when pulling: tasks.errors)
    - WeightsInvalid        model_invalid        no
  + ModelChanged            model_changed        yes   flows retry it a few times by themselves
  + EngineError             engine_failed        yes   another attempt may do better
    - EngineOutOfMemory     gpu_oom              yes
  + EncodeError             encode_failed        no
    - EncoderKilled         encode_failed        yes
    - DiskFull              disk_full            no    (also raised by tasks.artefacts)
  + StorageError            storage_unavailable  yes   (this and all below: tasks.errors)
    - ObjectMissing         input_not_found      no
    - ResultReplaced        result_replaced      no
    - BucketNotAllowed      bucket_not_allowed   no
    - UploadFailed          upload_failed        yes
    - DirectNotOffered      direct_not_offered   no
  + InputUnreachable        input_unreachable    no
  + LocalPathDisabled       local_path_disabled  no
  + AvatarNotPrepared       avatar_not_prepared  no
  + StepFailed              step_failed          no    (pipelines)
  + PartFailed              part_failed          no    (for flows that call jobs)
  + DeadlineExceeded        deadline_exceeded    no    (jobs that wait for others; others are stopped)
  + SignatureInvalid        signature_invalid    no    (webhooks)
  + DeliveryFailed          delivery_failed      no    (webhooks; the end of a notify run, of no job)
  + SweepFailed             sweep_failed         no    (the end of a janitor run, of no job)
  + Stopped                 canceled             no    (tasks.stopping; never reaches a caller)

The codes are public: they appear in job results and HTTP answers and are never renamed.
"""

from typing import Any, ClassVar


class RenderError(Exception):
    """Base of every error this system raises on purpose."""

    code: ClassVar[str] = "internal"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.details = details

    def __reduce__(self) -> tuple[Any, ...]:
        """Keep `details` when the error crosses a process border."""
        return _rebuild, (type(self), str(self), self.details)


def _rebuild(cls: type[RenderError], message: str, details: dict[str, Any]) -> RenderError:
    return cls(message, **details)


class InputError(RenderError):
    """The submitted media or parameters cannot be rendered; retrying is pointless."""

    code = "invalid_input"


class NoFaceFound(InputError):
    """No frame of the avatar shows a usable face."""

    code = "no_face"


class NoAudioFound(InputError):
    """The file that should carry the speech has no sound track."""

    code = "no_audio"


class MediaUnreadable(InputError):
    """A file is not the kind of media its field asks for, or is damaged."""

    code = "unsupported_media"


class MediaTooLarge(InputError):
    """A file is over one of the limits on bytes, pixels, seconds, frames or streams."""

    code = "input_too_large"


class ModelNotInstalled(InputError):
    """A named model has no weights on this machine; the message names what installs it."""

    code = "model_not_installed"


class WeightsInvalid(InputError):
    """A weight file is damaged or belongs to another model; the message names it."""

    code = "model_invalid"


class ModelChanged(RenderError):
    """The files of a model were replaced after the job had pinned their content."""

    code = "model_changed"
    retryable = True


class EngineError(RenderError):
    """The model runtime failed; another attempt, perhaps elsewhere, may succeed."""

    code = "engine_failed"
    retryable = True


class EngineOutOfMemory(EngineError):
    """The device ran out of memory even at the smallest batch."""

    code = "gpu_oom"


class EncodeError(RenderError):
    """The finished frames could not be written as a video."""

    code = "encode_failed"


class EncoderKilled(EncodeError):
    """Somebody ended the encoder, most likely the system for want of memory."""

    retryable = True


class DiskFull(EncodeError):
    """A file could not be written because the disk or a size limit is exhausted."""

    code = "disk_full"
