"""The `prepare_avatar` flow: prepare an avatar ahead of time."""

from prefect import flow

from flows.media.context import JobContext, job_context
from flows.media.model_selection import resolve_engine
from flows.prefect_state.flow_options import FLOW_OPTIONS
from flows.schemas.control import DEFAULT_CONTROL, Control
from flows.schemas.video import FaceCoverage, PrepareAvatarJob, PrepareAvatarResult
from tasks.models.engines import EngineSpec, describe_engine, pin_engine
from tasks.steps import prepare_avatar as avatar_step
from tasks.steps.fetch import FetchedInput, fetch


@flow(name="prepare_avatar", **FLOW_OPTIONS)
def prepare_avatar(job: PrepareAvatarJob, control: Control = DEFAULT_CONTROL) -> PrepareAvatarResult:
    """Fetch a video or image and prepare its avatar, so that later jobs start without that delay."""
    with job_context(job) as context:
        spec, warnings = resolve_engine(job)
        picture = context.wait_for_input(fetch.submit(job.video, "video"))
        prepared = context.run_with_pinned_models(lambda: _prepare(job, picture, pin_engine(spec), context))
        context.warn(*warnings, *prepared.warnings)
        avatar_step.note_avatar(prepared, picture.source, spec, control.tenant)
        result = PrepareAvatarResult(
            avatar=prepared.artefact.key,
            engine=spec.name,
            width=prepared.width,
            height=prepared.height,
            fps=prepared.rate,
            frames=prepared.frames,
            faces=FaceCoverage(
                frames=prepared.frames, with_face=prepared.with_face, gaps=list(prepared.gaps)
            ),
            cached=context.cached,
            timings_s=context.timings(),
            warnings=context.warnings,
        )
        context.finish(result)
    return result


def _prepare(
    job: PrepareAvatarJob, picture: FetchedInput, spec: EngineSpec, context: JobContext
) -> avatar_step.PreparedAvatar:
    context.record_models(*spec.weights)
    context.record_choice(engine=describe_engine(spec))
    context.record_engine(spec.name)
    key = avatar_step.avatar_key(picture.source, spec, job.face)
    step = avatar_step.prepare_avatar.with_options(refresh_cache=job.refresh)
    prepared = context.wait_for(
        "prepare", step.submit(key, picture.source, spec, job.face, picture.frames, refresh=job.refresh)
    )
    if prepared.in_parts and avatar_step.encode_all_faces(prepared.artefact, picture.source, spec):
        context.count_as_made("prepare")
    return prepared
