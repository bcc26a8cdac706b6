"""Prefect task that puts a spoken notice before the recording of a job."""

from pathlib import Path

from prefect import task

from musetalk_core import CORE_VERSION
from musetalk_core.media.audio.prepend import prepend_speech
from musetalk_core.speech.phones import Phone, load_phones, save_phones
from tasks.cache.artefacts import artefact_cache
from tasks.cache.content_keys import content_key
from tasks.inputs.sources import source_path
from tasks.refs import Artefact, SourceFile
from tasks.run.media_limits import media_limits
from tasks.run.reports import phase
from tasks.run.task_policies import CACHED_BY_CONTENT, RETRY_IO, traced
from tasks.steps.speech_features import PHONES_FILE, SPEECH_KIND, TEXT_FILE, WAV_FILE


def notice_key(notice: Artefact, recording: SourceFile, spoken: str | None, text: str | None) -> str:
    """
    Return the cache key of a recording with a notice before it.

    Args:
        notice:    cache entry of the synthesized notice.
        recording: the recording.
        spoken:    cache key of the spoken text, if a speech job of this system made the recording.
        text:      the words of the recording, if they are known.
    """
    return content_key(
        kind=SPEECH_KIND,
        core=CORE_VERSION,
        notice=notice.key,
        recording=recording.sha256,
        spoken=spoken,
        text=text,
    )


@task(**CACHED_BY_CONTENT, **RETRY_IO)
@traced
def prepend_notice(
    key: str, notice: Artefact, recording: SourceFile, spoken: str | None, text: str | None
) -> Artefact:
    """
    Write a notice and a recording as one speech: sound, words and phonemes, as far as both are known.

    Args:
        key:       `notice_key` of the other arguments.
        notice:    cache entry of the synthesized notice.
        recording: the recording.
        spoken:    cache key of the spoken text, if a speech job of this system made the recording.
        text:      the words of the recording, if they are known.
    """
    with phase("join"):
        made = artefact_cache().find(SPEECH_KIND, spoken) if spoken else None

        def make(folder: Path) -> None:
            start_s = prepend_speech(
                artefact_cache().file(notice, WAV_FILE),
                source_path(recording),
                folder / WAV_FILE,
                media_limits(),
            )
            words = text or (artefact_cache().file(made, TEXT_FILE).read_text() if made else "")
            said = artefact_cache().file(notice, TEXT_FILE).read_text()
            (folder / TEXT_FILE).write_text(f"{said} {words}" if words else "")
            if made and PHONES_FILE in made.files and PHONES_FILE in notice.files:
                opening = load_phones(artefact_cache().file(notice, PHONES_FILE))
                following = load_phones(artefact_cache().file(made, PHONES_FILE))
                pause = [Phone(opening[-1].end_s, start_s, "")] if opening else []
                shifted = [Phone(p.start_s + start_s, p.end_s + start_s, p.name) for p in following]
                save_phones([*opening, *pause, *shifted], folder / PHONES_FILE)

        return artefact_cache().get_or_create(SPEECH_KIND, key, make)
