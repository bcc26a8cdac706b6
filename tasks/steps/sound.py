"""Decoded sound in the cache, what is wrong with it, and whether it holds speech."""

import json
from pathlib import Path

from musetalk_core import CORE_VERSION
from musetalk_core.formats.pcm import PcmFile
from musetalk_core.media.audio.decode import decode_speech
from musetalk_core.media.audio.levels import LevelMeter, load_level_warnings
from musetalk_core.warning_codes import WarningCode
from tasks.cache.artefacts import artefact_cache
from tasks.cache.content_keys import content_key
from tasks.inputs.sources import source_path
from tasks.models.install import pin
from tasks.models.whisper import VOICE_ACTIVITY_MODEL, load_voice_activity
from tasks.refs import SourceFile
from tasks.run.media_limits import media_limits

PCM_KIND, SPEECH_FOUND_KIND = "pcm", "speech-found"
_PCM_FILE, _LEVELS_FILE, _FOUND_FILE = "speech.f32", "levels.json", "found.json"

NO_SPEECH = WarningCode.NO_SPEECH("no speech was detected in the sound")


def decode_audio(audio: SourceFile) -> PcmFile:
    """
    Decode the audio of a file to 16 kHz mono float32 on disk, once per file.

    Raises:
        InputError: the file has no audio, is damaged, or exceeds a limit.
    """
    return PcmFile(_decoded_folder(audio) / _PCM_FILE)


def level_warnings(audio: SourceFile) -> tuple[str, ...]:
    """Return the warnings about the level of a sound: silent or overdriven."""
    return load_level_warnings(_decoded_folder(audio) / _LEVELS_FILE)


def _decoded_folder(audio: SourceFile) -> Path:
    def make(folder: Path) -> None:
        meter = LevelMeter()
        decode_speech(source_path(audio), folder / _PCM_FILE, media_limits(), meter=meter)
        meter.save(folder / _LEVELS_FILE)

    key = content_key(kind=PCM_KIND, core=CORE_VERSION, audio=audio.sha256)
    return artefact_cache().path(artefact_cache().get_or_create(PCM_KIND, key, make, shared=False))


def has_speech(audio: SourceFile) -> bool:
    """Return whether voice activity detection finds any speech in a sound; detected once per file."""
    model = pin(VOICE_ACTIVITY_MODEL)[0]

    def make(folder: Path) -> None:
        from musetalk_core.transcription.vad import detect_speech

        spans = detect_speech(decode_audio(audio), load_voice_activity(model))
        (folder / _FOUND_FILE).write_text(json.dumps(bool(spans)))

    key = content_key(kind=SPEECH_FOUND_KIND, core=CORE_VERSION, audio=audio.sha256, model=model.digest)
    artefact = artefact_cache().get_or_create(SPEECH_FOUND_KIND, key, make)
    return bool(json.loads(artefact_cache().file(artefact, _FOUND_FILE).read_text()))
