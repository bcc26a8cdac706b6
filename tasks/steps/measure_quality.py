"""Prefect task that measures a finished video against its source and speech, in bounded time."""

import json
from fractions import Fraction
from math import ceil
from pathlib import Path
from typing import Any, Final, Literal

from prefect import task

from musetalk_core import CORE_VERSION
from musetalk_core.formats.float_rows import Float32RowFile
from musetalk_core.formats.pcm import PcmSilence, Samples
from musetalk_core.quality.card import QualityCard
from musetalk_core.quality.figures import FIGURES
from musetalk_core.quality.lip_movement import SpeechReference
from musetalk_core.quality.video_measurement import RenderedVideo, measure_video, measured_source_frames
from musetalk_core.speech.mouth_curves import mouth_curves
from musetalk_core.vision.draw_boxes import write_jpeg
from tasks.cache.artefacts import artefact_cache
from tasks.cache.content_keys import content_key
from tasks.models.engines import get_engine
from tasks.refs import Artefact, SourceFile
from tasks.run.reports import phase
from tasks.run.task_policies import CACHED_BY_CONTENT, RETRY_COMPUTE, traced
from tasks.steps.encode_video import VIDEO_FILE
from tasks.steps.picture_changes import mask_cache, picture_changes
from tasks.steps.render_chunk import RenderJob
from tasks.steps.sound import NO_SPEECH, decode_audio
from tasks.steps.speech_features import KnownSpeech, load_cached_phones

QUALITY_KIND: Final = "quality"
CARD_FILE, MOUTHS_FILE = "card.json", "mouths.jpg"
"""Files in the cache entry; the second is missing if no face was visible."""
_VERSION: Final = 2
"""Increase it when the same video gives other figures."""
_ENGINE_WITH_CURVES: Final = "viseme"
"""The engine whose features are mouth curves."""
_DIGITS: Final = 5


def quality_key(video: Artefact, talk: RenderJob) -> str:
    """Return the cache key of a quality card: the video, its speech features and the face to measure."""
    return content_key(
        kind=QUALITY_KIND,
        version=_VERSION,
        core=CORE_VERSION,
        video=video.key,
        avatar=talk.avatar.artefact.key,
        features=talk.features.artefact.key,
    )


@task(**CACHED_BY_CONTENT, **RETRY_COMPUTE)
@traced
def measure_quality(
    key: str, video: Artefact, talk: RenderJob, audio: SourceFile, known: KnownSpeech
) -> Artefact:
    """
    Measure a finished video and store its quality card as `card.json`, with a picture of mouths.

    Args:
        key:   `quality_key` of the other arguments.
        video: cache entry of the video.
        talk:  the render job that it was made by.
        audio: the fetched audio.
        known: what `resolve_speech` returned for the job.
    """
    with phase("quality") as report:
        speech, origin = _speech_reference(talk, audio, known)
        rendered = _rendered_video(video, talk)
        # a video of the cache may be older than the parts that its masks are in
        talk.encode_needed_faces(measured_source_frames(rendered, speech))

        def make(folder: Path) -> None:
            card = measure_video(rendered, speech, lambda done, total: report.advance("quality", done, total))
            (folder / CARD_FILE).write_text(json.dumps(_to_json(card, origin)))
            if card.strip is not None:
                write_jpeg(card.strip, folder / MOUTHS_FILE)

        return artefact_cache().get_or_create(QUALITY_KIND, key, make)


def _rendered_video(video: Artefact, talk: RenderJob) -> RenderedVideo:
    scene = talk.open_scene()
    folder, manifest = scene.avatar.folder, scene.avatar.manifest
    label, mark = picture_changes(talk, manifest.width, manifest.height)
    return RenderedVideo(
        artefact_cache().file(video, VIDEO_FILE),
        scene,
        get_engine(talk.engine),
        talk.idle_seed,
        masks=mask_cache(folder, folder.stat().st_ino, talk.engine),
        first=ceil(talk.card.seconds * scene.rate) if talk.card else 0,
        finish=lambda picture: mark(label(picture)),
    )


def _speech_reference(
    talk: RenderJob, audio: SourceFile, known: KnownSpeech
) -> tuple[SpeechReference, Literal["phonemes", "loudness", "silence"]]:
    """Return the mouth curves that the video should follow, and what they were made from."""
    features, rate = talk.features, Fraction(talk.rate)
    is_silent = NO_SPEECH in features.warnings
    phones = [] if is_silent else load_cached_phones(audio, known, features.phones)
    origin = "silence" if is_silent else "phonemes" if phones else "loudness"
    if talk.engine.name == _ENGINE_WITH_CURVES:
        rows = Float32RowFile.open(artefact_cache().path(features.artefact)).read(0, features.frames)
        return SpeechReference(rows, phones, follows_loudness=origin == "loudness"), origin
    samples: Samples = PcmSilence(features.samples) if is_silent else decode_audio(audio)
    curves = mouth_curves(samples, phones, features.frames, rate)
    return SpeechReference(curves, phones, follows_loudness=origin == "loudness"), origin


def _to_json(card: QualityCard, speech: str) -> dict[str, Any]:
    def rounded(value: float | None) -> float | None:
        return None if value is None else round(value, _DIGITS)

    return {
        "score": rounded(card.score),
        "defects": [reading.name for reading in card.defects()],
        "figures": {
            reading.name: {
                "value": rounded(reading.value),
                "unit": FIGURES[reading.name].unit,
                "limit": None if reading.grade is None else FIGURES[reading.name].limit,
                "grade": rounded(reading.grade),
            }
            for reading in card.readings
            if reading.value is not None
        },
        "frames": card.frames,
        "with_face": card.with_face,
        "speech": speech,
    }
