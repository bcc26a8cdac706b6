"""Render steps shared by `lip_sync` and `portrait`: from an avatar source and speech to a finished video."""

from collections import deque
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial

from prefect.futures import PrefectFuture

from flows.media.context import JobContext
from flows.media.preview import PreviewData, write_preview
from flows.media.quality import NOT_MEASURED, QualityRequest, finish_card
from flows.media.spoken_language import language_warnings
from flows.media.statements import talking_video
from flows.schemas.base import Output
from flows.schemas.video import (
    FaceChoice,
    FaceCoverage,
    NoFacePolicy,
    QualityCard,
    VideoOptions,
    VideoResult,
)
from musetalk_core.errors import InputError
from musetalk_core.media.image.corner_label import CornerLabel
from musetalk_core.media.image.opening_card import OpeningCard
from musetalk_core.rendering import chunking
from musetalk_core.warning_codes import WarningCode
from tasks.cache.artefacts import artefact_cache
from tasks.catalog.output_locations import check_output_location
from tasks.catalog.outputs import PublishedFile
from tasks.file_names import output_name
from tasks.inputs.internal_files import InternalFile
from tasks.models.engines import EngineSpec, describe_engine, pin_engine
from tasks.models.install import pin_where_installed
from tasks.refs import Artefact
from tasks.settings import get_settings
from tasks.steps.encode_video import (
    CLIP_KIND,
    VIDEO_FILE,
    VIDEO_KIND,
    clip_key,
    encode_chunk,
    encode_sound,
    join,
    sound_key,
    video_key,
    video_tags,
)
from tasks.steps.fetch import FetchedInput, fetch
from tasks.steps.measure_quality import measure_quality, quality_key
from tasks.steps.prepare_avatar import (
    PreparedAvatar,
    avatar_key,
    note_avatar,
    prepare_avatar,
    require_prepared,
)
from tasks.steps.render_chunk import ChunkRef, RenderJob, crops_key, render_chunk
from tasks.steps.speech_features import (
    KnownSpeech,
    SpeechFeatures,
    features_key,
    load_cached_phones,
    phone_models,
    resolve_speech,
    speech_features,
)

DEFAULT_STILL_FPS = "25"
"""Frame rate of a video made from a still image, in frames per second."""
_MAX_PENDING_CHUNKS = 2
"""Rendered chunks that may wait for the encoder; limits the disk space that crops take."""


@dataclass(frozen=True, slots=True)
class RenderRequest:
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
    source_name: str | None = None
    """Name of the image for output names, if the image was produced by an earlier step."""
    audio_name: str | None = None
    """Name of the recording for output names, if an earlier step put a notice before it."""
    speech: Artefact | None = None
    """Synthesized speech, if the job spoke a text."""
    warnings: tuple[str, ...] = ()
    tenant: str | None = None
    """Tenant of the job."""
    mark: str | None = None
    """Id of the key with which the pictures are marked; None = no mark."""
    label: CornerLabel | None = None
    """Text in a corner of the pictures; None = none."""
    card: OpeningCard | None = None
    """Card over the first seconds; None = none."""
    quality: QualityRequest = NOT_MEASURED
    """Whether the finished video is measured, and the gate."""


def render_talking_video(request: RenderRequest, context: JobContext) -> VideoResult:
    """Fetch, prepare, render, encode, mux and upload a talking-head video, with one pinned set of models."""
    return context.run_with_pinned_models(
        lambda: _render_request(replace(request, engine=pin_engine(request.engine)), context)
    )


def _render_request(request: RenderRequest, context: JobContext) -> VideoResult:
    picture, audio = _fetch_inputs(request, context)
    context.record_models(*request.engine.weights)
    context.record_choice(engine=describe_engine(request.engine))
    context.record_engine(request.engine.name)
    if request.mark is not None:  # else the mark of synthesized speech, if any, is the mark of the video
        context.record_choice(imperceptible_mark=request.mark)
    name = _output_name(request, picture, audio)
    check_output_location(name, request.output)
    rate = request.fps or picture.rate or DEFAULT_STILL_FPS
    known = resolve_speech(request.text, audio.phones_of, request.engine)
    prepared, features, audio_track = _prepare(request, context, picture, audio, known, rate)
    context.record_models(*pin_where_installed(*phone_models(features.phones)))
    context.warn(*request.warnings, *prepared.warnings, *features.warnings)
    context.warn(*language_warnings(audio.source, features))
    context.record_choice(fps=rate, phones=features.phones)
    avatar_note = note_avatar.submit(
        prepared, picture.source, request.engine, request.tenant, request.source_name
    )
    talk = RenderJob(
        source=picture.source,
        avatar=prepared,
        features=features,
        engine=request.engine,
        rate=rate,
        no_face=request.no_face,
        idle_seed=request.idle_seed if prepared.is_still else None,
        crf=request.encode.crf,
        preset=request.encode.preset,
        label=request.label,
        card=request.card,
        mark=request.mark,
    )
    video = _render_video(talk, audio, audio_track, context)
    measuring = _start_measuring(request, talk, video, audio, known)
    is_gated = request.quality.choice == "gate"  # nothing is published that does not pass
    card = finish_card(context, request.quality, measuring) if measuring and is_gated else None
    kind = talking_video(request.engine.name, has_synthetic_speech=audio.phones_of is not None)
    [stored] = context.publish(video, {VIDEO_FILE: name}, request.output, kind)
    if measuring and not is_gated:
        card = finish_card(context, request.quality, measuring)
    result = _build_result(talk, request, stored, context, avatar_note, card)
    phones = partial(load_cached_phones, audio.source, known, features.phones)
    preview_data = PreviewData(video, result, request.face, phones, context.timings)
    context.finalizers.append(partial(write_preview, preview_data))
    return result


def _fetch_inputs(request: RenderRequest, context: JobContext) -> tuple[FetchedInput, FetchedInput]:
    picture, audio = fetch.submit(request.picture, "video"), fetch.submit(request.audio, "audio")
    return context.wait_for_input(picture), context.wait_for_input(audio)


def _output_name(request: RenderRequest, picture: FetchedInput, audio: FetchedInput) -> str:
    """Return the output name. It is computed before any work, so that an invalid name fails at once."""
    try:
        return output_name(
            request.source_name or picture.source.name,
            request.audio_name or audio.source.name,
            request.output.name,
        )
    except ValueError as error:
        raise InputError(str(error)) from error


def _prepare(
    request: RenderRequest,
    context: JobContext,
    picture: FetchedInput,
    audio: FetchedInput,
    known: KnownSpeech,
    rate: str,
) -> tuple[PreparedAvatar, SpeechFeatures, Artefact]:
    """Prepare the avatar, the speech features and the audio track in parallel."""
    key = avatar_key(picture.source, request.engine, request.face)
    if not (request.preparation or request.refresh):
        require_prepared(key, picture.source)
    step = prepare_avatar.with_options(refresh_cache=request.refresh)
    prepared = step.submit(
        key,
        picture.source,
        request.engine,
        request.face,
        picture.frames,
        request.preparation,
        request.refresh,
    )
    features = speech_features.submit(
        features_key(audio.source, known, request.engine, rate),
        audio.source,
        known,
        request.engine,
        rate,
    )
    audio_track = encode_sound.submit(sound_key(audio.source), audio.source)
    return (
        context.wait_for("prepare", prepared),
        context.wait_for("features", features),
        context.wait_for("sound", audio_track),
    )


def _render_video(
    talk: RenderJob, audio: FetchedInput, audio_track: Artefact, context: JobContext
) -> Artefact:
    rate = Fraction(talk.rate)
    chunks = chunking.plan_chunks(talk.features.samples, rate, get_settings().render.chunk_seconds).chunks
    crops = [crops_key(talk, chunk) for chunk in chunks]
    clips = [clip_key(key, talk) for key in crops]
    key = video_key(clips, audio.source, video_tags(talk.engine.name))
    is_cached = artefact_cache().has(VIDEO_KIND, key)
    encoded_chunks = [] if is_cached else _render_chunks(talk, chunks, crops, clips, context)
    if context.report.encoded_faces:
        context.count_as_made("prepare")
    return context.wait_for("join", join.submit(key, talk, encoded_chunks, audio_track))


def _render_chunks(
    talk: RenderJob,
    chunks: tuple[chunking.Chunk, ...],
    crops: list[str],
    clips: list[str],
    context: JobContext,
) -> list[Artefact]:
    """Render chunks in this thread while the encoder works on the previous ones."""
    encoding: deque[PrefectFuture[Artefact]] = deque()
    encoded_chunks: list[Artefact] = []
    for chunk, crop, clip in zip(chunks, crops, clips, strict=True):
        ref = ChunkRef(number=chunk.number, start=chunk.start, stop=chunk.stop)
        rendered = None
        if not artefact_cache().has(CLIP_KIND, clip):
            rendered = context.wait_for("render", render_chunk.submit(crop, talk, ref))
        encoding.append(encode_chunk.submit(clip, talk, ref, rendered))
        if len(encoding) > _MAX_PENDING_CHUNKS:
            encoded_chunks.append(context.wait_for("encode", encoding.popleft()))
    encoded_chunks.extend(context.wait_for("encode", future) for future in encoding)
    return encoded_chunks


def _start_measuring(
    request: RenderRequest, talk: RenderJob, video: Artefact, audio: FetchedInput, known: KnownSpeech
) -> PrefectFuture[Artefact] | None:
    """Measure the video while it is signed and published; None if the job wants no quality card."""
    if request.quality.choice == "off":
        return None
    return measure_quality.submit(quality_key(video, talk), video, talk, audio.source, known)


def _build_result(
    talk: RenderJob,
    request: RenderRequest,
    stored: PublishedFile,
    context: JobContext,
    avatar_note: PrefectFuture[None],
    card: QualityCard | None,
) -> VideoResult:
    prepared, features = talk.avatar, talk.features
    context.warn(*_avatar_note_warnings(avatar_note))
    return VideoResult.model_validate(
        {
            "video": stored.ref,
            "name": stored.name,
            "engine": talk.engine.name,
            "version": talk.engine.options.version if talk.engine.name == "musetalk" else None,
            "rendering": context.report.rendering,
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
            "cached": context.cached,
            "provenance": context.provenance,
            "quality": card,
            "timings_s": context.timings(),
            "speech": request.speech,
            "warnings": context.warnings,
        }
    )


def _avatar_note_warnings(avatar_note: PrefectFuture[None]) -> list[str]:
    """Return a warning if the avatar could not be added to the list of avatars; the video is not affected."""
    avatar_note.wait()
    if avatar_note.state.is_completed():
        return []
    return [
        WarningCode.AVATAR_NOT_LISTED(
            "the avatar was not added to the list of avatars:"
            f" {avatar_note.state.message or avatar_note.state.name}"
        )
    ]
