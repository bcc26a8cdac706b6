"""Render steps shared by `lip_sync` and `portrait`: from an avatar source and speech to a finished video."""

from collections import deque
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial

from prefect.futures import PrefectFuture

from flows.preview import Shown, show_video
from flows.schemas import FaceChoice, FaceCoverage, NoFacePolicy, Output, VideoOptions, VideoResult
from flows.steps import Steps
from musetalk_core import plan
from musetalk_core.errors import InputError
from tasks.artefacts import artefacts
from tasks.avatar import PreparedAvatar, avatar_key, note_avatar, prepare_avatar, require_prepared
from tasks.encode import (
    CLIP,
    VIDEO,
    VIDEO_FILE,
    clip_key,
    encode_chunk,
    encode_sound,
    join,
    sound_key,
    video_key,
)
from tasks.fetch import Fetched, fetch
from tasks.file_names import output_name
from tasks.inference import ChunkRef, Talk, crops_key, render_chunk
from tasks.internal_files import InternalFile
from tasks.models import EngineSpec, engine_facts, pinned_engine
from tasks.output_locations import check_output_location
from tasks.publish import Published, upload
from tasks.refs import Artefact
from tasks.settings import get_settings
from tasks.speech import SpeechFeatures, features_key, known_phones, models_of_phones, speech_features
from tasks.weights import pin_known

STILL_RATE = "25"
"""Frame rate of a video made from a still image, in frames per second."""
_AHEAD = 2
"""Rendered chunks that may wait for the encoder; limits the disk space that crops take."""


@dataclass(frozen=True, slots=True)
class Order:
    """A video to render: inputs, engine and output of a lip_sync or portrait job."""

    picture: str | InternalFile
    audio: str | InternalFile
    text: str | None
    fps: str | None
    engine: EngineSpec
    face: FaceChoice
    encode: VideoOptions
    output: Output
    no_face: NoFacePolicy = "passthrough"
    preparation: bool = True
    refresh: bool = False
    idle_seed: int | None = None
    called: str | None = None
    """Name of the image for output names, if the image was produced by an earlier step."""
    speech: Artefact | None = None
    """Synthesized speech, if the job spoke a text."""
    warnings: tuple[str, ...] = ()
    tenant: str | None = None
    """Tenant of the job."""


def talking_video(order: Order, steps: Steps) -> VideoResult:
    """Fetch, prepare, render, encode, mux and upload a talking-head video, with one pinned set of models."""
    return steps.run_with_pinned_models(
        lambda: _made(replace(order, engine=pinned_engine(order.engine)), steps)
    )


def _made(order: Order, steps: Steps) -> VideoResult:
    picture, audio = _fetch(order, steps)
    steps.used(*order.engine.weights)
    steps.settled(engine=engine_facts(order.engine))
    name = _name(order, picture, audio)
    check_output_location(name, order.output)
    rate = order.fps or picture.rate or STILL_RATE
    prepared, features, sound = _prepare(order, steps, picture, audio, rate)
    steps.used(*pin_known(*models_of_phones(features.phones)))
    steps.settled(fps=rate, phones=features.phones)
    noted = note_avatar.submit(prepared, picture.source, order.engine, order.tenant, order.called)
    talk = Talk(
        source=picture.source,
        avatar=prepared,
        features=features,
        engine=order.engine,
        rate=rate,
        no_face=order.no_face,
        idle_seed=order.idle_seed if prepared.is_still else None,
        crf=order.encode.crf,
        preset=order.encode.preset,
    )
    made = _video(talk, audio, sound, steps)
    result = _result(talk, order, upload(made, VIDEO_FILE, name, order.output), steps, noted)
    phones = partial(known_phones, audio.source, order.text, audio.phones_of, features.phones)
    shown = Shown(made, result, order.face, phones, steps.timings)
    steps.afterwards.append(partial(show_video, shown))
    return result


def _fetch(order: Order, steps: Steps) -> tuple[Fetched, Fetched]:
    picture, audio = fetch.submit(order.picture, "video"), fetch.submit(order.audio, "audio")
    return steps.fetched(picture), steps.fetched(audio)


def _name(order: Order, picture: Fetched, audio: Fetched) -> str:
    """Return the output name. It is computed before any work, so that an invalid name fails at once."""
    try:
        return output_name(order.called or picture.source.name, audio.source.name, order.output.name)
    except ValueError as error:
        raise InputError(str(error)) from error


def _prepare(
    order: Order, steps: Steps, picture: Fetched, audio: Fetched, rate: str
) -> tuple[PreparedAvatar, SpeechFeatures, Artefact]:
    """Prepare the avatar, the speech features and the audio track in parallel."""
    key = avatar_key(picture.source, order.engine, order.face)
    if not (order.preparation or order.refresh):
        require_prepared(key, picture.source)
    step = prepare_avatar.with_options(refresh_cache=order.refresh)
    prepared = step.submit(
        key, picture.source, order.engine, order.face, picture.frames, order.preparation, order.refresh
    )
    heard = speech_features.submit(
        features_key(audio.source, order.text, audio.phones_of, order.engine, rate),
        audio.source,
        order.text,
        audio.phones_of,
        order.engine,
        rate,
    )
    sound = encode_sound.submit(sound_key(audio.source), audio.source)
    return (
        steps.result("prepare", prepared),
        steps.result("features", heard),
        steps.result("sound", sound),
    )


def _video(talk: Talk, audio: Fetched, sound: Artefact, steps: Steps) -> Artefact:
    rate = Fraction(talk.rate)
    chunks = plan.plan(talk.features.samples, rate, get_settings().render.chunk_seconds).chunks
    crops = [crops_key(talk, chunk) for chunk in chunks]
    clips = [clip_key(key, talk) for key in crops]
    key = video_key(clips, audio.source)
    known = artefacts().has(VIDEO, key)
    made = [] if known else _chunks(talk, chunks, crops, clips, steps)
    return steps.result("join", join.submit(key, talk, made, sound))


def _chunks(
    talk: Talk, chunks: tuple[plan.Chunk, ...], crops: list[str], clips: list[str], steps: Steps
) -> list[Artefact]:
    """Render chunks in this thread while the encoder works on the previous ones."""
    encoding: deque[PrefectFuture[Artefact]] = deque()
    made: list[Artefact] = []
    for chunk, crop, clip in zip(chunks, crops, clips, strict=True):
        ref = ChunkRef(number=chunk.number, start=chunk.start, stop=chunk.stop)
        rendered = None
        if not artefacts().has(CLIP, clip):
            rendered = steps.result("render", render_chunk.submit(crop, talk, ref))
        encoding.append(encode_chunk.submit(clip, talk, ref, rendered))
        if len(encoding) > _AHEAD:
            made.append(steps.result("encode", encoding.popleft()))
    made.extend(steps.result("encode", future) for future in encoding)
    return made


def _result(
    talk: Talk, order: Order, stored: Published, steps: Steps, noted: PrefectFuture[None]
) -> VideoResult:
    prepared, features = talk.avatar, talk.features
    return VideoResult.model_validate(
        {
            "video": steps.stored(stored),
            "name": stored.name,
            "engine": talk.engine.name,
            "version": talk.engine.options.version if talk.engine.name == "musetalk" else None,
            "rendering": steps.report.rendering,
            "width": prepared.width,
            "height": prepared.height,
            "fps": talk.rate,
            "frames": features.frames,
            "duration_s": round(float(features.frames / Fraction(talk.rate)), 6),
            "speech_s": round(features.samples / 16_000, 6),
            "phones": features.phones,
            "avatar": prepared.artefact.key,
            "faces": FaceCoverage(
                frames=prepared.frames, with_face=prepared.with_face, gaps=list(prepared.gaps)
            ),
            "cached": steps.cached,
            "timings_s": steps.timings(),
            "speech": order.speech,
            "warnings": [*order.warnings, *_warnings(prepared), *_unlisted(noted)],
        }
    )


def _unlisted(noted: PrefectFuture[None]) -> list[str]:
    """Return a warning if the avatar could not be added to the list of avatars; the video is not affected."""
    noted.wait()
    if noted.state.is_completed():
        return []
    return [f"the avatar was not added to the list of avatars: {noted.state.message or noted.state.name}"]


def _warnings(prepared: PreparedAvatar) -> list[str]:
    missing = prepared.frames - prepared.with_face
    return [f"{missing} of {prepared.frames} source frames show no face"] if missing else []
