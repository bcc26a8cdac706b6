"""Jobs called from another project's flow, in a process of its own: typed results, typed failures."""

import json
import sys
import textwrap

import pytest
from chain_stage import Stage
from fork_server import run_program

pytestmark = pytest.mark.stack

CALLER = textwrap.dedent(
    """
    import json
    from prefect import flow
    from flows.client import run_job, start_job
    from flows.schemas.speech import SpeechJob
    from flows.schemas.transcribe import TranscribeJob
    from tasks.errors import PartFailed

    @flow
    def campaign():
        spoken = run_job(SpeechJob(text="Good morning."), idempotency_key="campaign one")
        again = start_job(SpeechJob(text="Good morning."), idempotency_key="campaign one")
        try:
            run_job(TranscribeJob(audio="file:///nowhere.wav"))
        except PartFailed as failed:
            return {"name": spoken.name, "seconds": spoken.duration_s, "again": str(again), **failed.details}

    print("TOLD", json.dumps(campaign()))
    """
)


def test_a_flow_of_another_process_has_jobs_done(server, tmp_path):
    stage = Stage(server, tmp_path)
    try:
        stage.worker("gpu")
        environment = stage.workers["gpu-0"].environment
        ran = run_program([sys.executable, "-c", CALLER], env=environment, cwd=tmp_path, text=True)
        assert ran.returncode == 0, ran.stderr[-3000:]
        told = json.loads(next(line for line in ran.stdout.splitlines() if line.startswith("TOLD"))[5:])
        assert told["name"].endswith(".mp3") and told["seconds"] > 0.3
        assert told["code"] == "local_path_disabled" and told["job"]
        with server.client() as client:
            assert client.read_flow_run(told["again"]).state.is_completed()
    finally:
        stage.stop()
