"""Put a spoken notice before the recording that a video is rendered to, in the bundled voice."""

from collections.abc import Sequence
from dataclasses import replace

from flows.media.context import JobContext
from flows.media.speech_synthesis import synthesize_text
from flows.media.talking_video import RenderRequest
from flows.schemas.speech import VoiceOptions
from tasks.inputs.internal_files import artefact_file
from tasks.steps.fetch import fetch
from tasks.steps.notice import notice_key, prepend_notice
from tasks.steps.speech_features import WAV_FILE


def with_notice(
    request: RenderRequest, notice: Sequence[str], mark: str | None, context: JobContext
) -> RenderRequest:
    """
    Return the request with the notice before its recording; without a notice, the request itself.

    Args:
        request: a video to render to a given recording.
        notice:  texts to speak.
        mark:    id of the key with which the notice is marked; None = no mark.
        context: context of the run.
    """
    if not notice:
        return request
    recording = context.wait_for_input(fetch.submit(request.audio, "audio"))
    spoken = synthesize_text(notice, VoiceOptions(engine="starter"), context, mark=mark)
    made, known = spoken.audio.artefact, recording.phones_of
    key = notice_key(made, recording.source, known, request.text)
    joined = context.wait_for("join", prepend_notice.submit(key, made, recording.source, known, request.text))
    return replace(
        request,
        audio=artefact_file(joined, WAV_FILE),
        audio_name=recording.source.name,
        text=None,
        warnings=(*request.warnings, *spoken.warnings),
    )
