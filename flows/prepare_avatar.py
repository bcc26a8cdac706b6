"""The `prepare_avatar` flow: prepare an avatar ahead of time."""

from prefect import flow

from flows.control import USUAL, Control
from flows.engines import engine_of
from flows.options import JOB
from flows.schemas import FaceCoverage, PrepareAvatarJob, PrepareAvatarResult
from flows.steps import Steps, job_steps
from tasks import avatar
from tasks.fetch import Fetched, fetch
from tasks.models import EngineSpec, engine_facts, pinned_engine


@flow(name="prepare_avatar", **JOB)
def prepare_avatar(job: PrepareAvatarJob, control: Control = USUAL) -> PrepareAvatarResult:
    """Fetch a video or image and prepare its avatar, so that later jobs start without that delay."""
    with job_steps(job) as steps:
        spec = engine_of(job)
        picture = steps.fetched(fetch.submit(job.video, "video"))
        made = steps.run_with_pinned_models(lambda: _prepared(job, picture, pinned_engine(spec), steps))
        avatar.note_avatar(made, picture.source, spec, control.tenant)
        result = PrepareAvatarResult(
            avatar=made.artefact.key,
            engine=spec.name,
            width=made.width,
            height=made.height,
            fps=made.rate,
            frames=made.frames,
            faces=FaceCoverage(frames=made.frames, with_face=made.with_face, gaps=list(made.gaps)),
            cached=steps.cached,
            timings_s=steps.timings(),
        )
        steps.finish(result)
    return result


def _prepared(
    job: PrepareAvatarJob, picture: Fetched, spec: EngineSpec, steps: Steps
) -> avatar.PreparedAvatar:
    steps.used(*spec.weights)
    steps.settled(engine=engine_facts(spec))
    key = avatar.avatar_key(picture.source, spec, job.face)
    step = avatar.prepare_avatar.with_options(refresh_cache=job.refresh)
    return steps.result(
        "prepare", step.submit(key, picture.source, spec, job.face, picture.frames, refresh=job.refresh)
    )
