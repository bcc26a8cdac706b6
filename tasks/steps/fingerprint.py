"""Fingerprints of files: of outputs, stored after the result, and of files to verify."""

import logging
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import numpy as np

from musetalk_core.errors import InputError
from musetalk_core.fingerprints.matching import Fingerprint
from musetalk_core.fingerprints.picture import Hashes, image_hash, picture_hashes
from musetalk_core.fingerprints.sound import Words, sound_words
from musetalk_core.media.probe import probe
from tasks.cache.artefacts import artefact_cache
from tasks.cache.content_keys import content_key
from tasks.catalog.fingerprint_index import save_fingerprint
from tasks.catalog.output_index import IndexedOutput
from tasks.refs import Artefact
from tasks.run.media_limits import media_limits

_KIND: Final = "fingerprint"
_VERSION: Final = 1
_PICTURE_FILE, _SOUND_FILE = "picture.u64", "sound.u32"
_log = logging.getLogger(__name__)


def fingerprint_of(path: Path) -> Fingerprint:
    """Return the fingerprint of a file; parts that it does not have or that cannot be read are empty."""
    picture: Hashes = np.zeros(0, np.uint64)
    sound: Words = np.zeros(0, np.uint32)
    with ignore_damage():
        info = probe(path, media_limits())
        if info.video is not None:
            with ignore_damage():
                read = picture_hashes if info.kind == "video" else image_hash
                picture = read(path, media_limits())
        if info.audio is not None:
            with ignore_damage():
                sound = sound_words(path, media_limits())
    return Fingerprint(picture, sound)


@contextmanager
def ignore_damage() -> Generator[None]:
    """Ignore the errors of damaged media in the `with` block, those that FFmpeg reports itself included."""
    from av.error import FFmpegError

    with suppress(InputError, FFmpegError, ArithmeticError, ValueError):
        yield


def record_fingerprint(made: Artefact, file: str, output: IndexedOutput) -> None:
    """
    Store the fingerprint of an output. An error is logged and does not fail the job, whose result is stored.

    Args:
        made:   cache entry of the file before it was signed.
        file:   its name in the entry.
        output: the published output.
    """
    try:
        key = content_key(kind=_KIND, version=_VERSION, made=[made.kind, made.key], file=file)
        path = artefact_cache().file(made, file)
        artefact = artefact_cache().get_or_create(
            _KIND, key, lambda folder: _write(path, folder), shared=False
        )
        save_fingerprint(output, _read(artefact_cache().path(artefact)))
    except Exception as error:
        _log.warning("the fingerprint of %s was not stored: %s", output.name, error)


def _write(path: Path, folder: Path) -> None:
    fingerprint = fingerprint_of(path)
    fingerprint.picture.astype("<u8").tofile(folder / _PICTURE_FILE)
    fingerprint.sound.astype("<u4").tofile(folder / _SOUND_FILE)


def _read(folder: Path) -> Fingerprint:
    return Fingerprint(np.fromfile(folder / _PICTURE_FILE, "<u8"), np.fromfile(folder / _SOUND_FILE, "<u4"))
