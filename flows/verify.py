"""The `verify` flow: check the Content Credentials of a file, and find an output without its manifest."""

from prefect import flow

from flows.media.context import job_context
from flows.prefect_state.flow_options import FLOW_OPTIONS
from flows.schemas.control import DEFAULT_CONTROL, Control
from flows.schemas.verify import CheckedManifest, FoundOutput, VerifyJob, VerifyResult
from tasks.steps.verify_media import check_credentials, fetch_file


@flow(name="verify", **FLOW_OPTIONS)
def verify(job: VerifyJob, control: Control = DEFAULT_CONTROL) -> VerifyResult:
    """Fetch the file and check its manifest. References in the manifest are not followed."""
    with job_context(job) as context:
        file = context.wait_for("fetch", fetch_file.submit(job.media, job.sidecar))
        context.record_input(job.media, file.source)
        checked = context.wait_for("verify", check_credentials.submit(file))
        result = VerifyResult(
            **checked.model_dump(include={"state", "problems", "embedded"}),
            manifest=CheckedManifest.model_validate(checked.manifest) if checked.manifest else None,
            sha256=file.source.sha256,
            media_type=file.media_type,
            found=[FoundOutput.model_validate(one.model_dump()) for one in checked.found],
            mark=checked.mark,
            cached=context.cached,
            timings_s=context.timings(),
            warnings=context.warnings,
        )
        context.finish(result)
    return result
